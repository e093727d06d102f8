"""Russian text to sentences with morphology, syntax and lemmas, by slovnet (models that natasha carries) and pymorphy3.

The models were trained on news and their labels are automatic: `label_errors` estimates on a treebank how often they
are wrong. About 600 sentences a second on one core, in the memory of one chunk.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from slonik.core.errors import MissingExtra
from slonik.data.conllu import Sentence, Unit, Word
from slonik.data.natasha_package import MORPHOLOGY, NAVEC, SYNTAX, natasha_file
from slonik.inspection.intervals import wilson
from slonik.inspection.probing.labels import LABELLERS, refused
from slonik.inspection.probing.tasks import UNTOUCHED

NAME = "slovnet news v1"
_CHUNK = 256
_LONGEST_WORDS = 60  # longer sentences make no task, and cost the most
# pymorphy3's tags of parts of speech that differ from the universal ones slovnet gives
_POS = {"VERB": {"VERB", "INFN", "GRND", "PRTF", "PRTS"}, "AUX": {"VERB", "INFN"}, "ADJ": {"ADJF", "ADJS"},
        "NOUN": {"NOUN"}, "PROPN": {"NOUN"}, "ADV": {"ADVB", "PRED"}}  # fmt: skip


class Annotator:
    """slovnet's morphology and syntax with pymorphy3's lemmas.

    Raises:
        MissingExtra, SlonikError: as `natasha_file`.
    """

    name = NAME

    def __init__(self) -> None:
        paths = [natasha_file(name, "annotating Russian text") for name in (NAVEC, MORPHOLOGY, SYNTAX)]
        from navec import Navec
        from slovnet import Morph, Syntax

        embedding = Navec.load(paths[0])
        self._morph, self._syntax = Morph.load(paths[1]), Syntax.load(paths[2])
        self._morph.navec(embedding)
        self._syntax.navec(embedding)
        self._lemma = _lemmatizer()

    def sentences(self, texts: Iterable[str]) -> Iterator[Sentence]:
        """Sentences of running text; those of more than 60 words are left out."""
        from razdel import sentenize, tokenize

        def units() -> Iterator[tuple[str, tuple[Unit, ...]]]:
            for text in texts:
                for sentence in sentenize(text):
                    tokens = list(tokenize(sentence.text))
                    if 0 < len(tokens) <= _LONGEST_WORDS:
                        yield sentence.text, _units(sentence.text, tokens)

        yield from self._annotate(units())

    def again(self, sentences: Iterable[Sentence]) -> Iterator[Sentence]:
        """The same sentences, their words as they are split, with automatic annotation instead of their own."""
        words = ((s.text, tuple(Unit(w.form, (w.id, w.id)) for w in s.words)) for s in sentences)
        yield from self._annotate(words)

    def _annotate(self, sentences: Iterator[tuple[str, tuple[Unit, ...]]]) -> Iterator[Sentence]:
        while chunk := list(itertools.islice(sentences, _CHUNK)):
            forms = [[unit.form for unit in units] for _, units in chunk]
            for (text, units), morph, syntax in zip(
                chunk, self._morph.map(forms), self._syntax.map(forms), strict=True
            ):
                words = tuple(
                    self._word(index, tag, link)
                    for index, (tag, link) in enumerate(zip(morph.tokens, syntax.tokens, strict=True), 1)
                )
                yield Sentence(words, units, "", text)

    def _word(self, index: int, tag: Any, link: Any) -> Word:
        lemma = self._lemma(tag.text, tag.pos)
        return Word(index, tag.text, lemma, tag.pos, dict(tag.feats or {}), int(link.head_id), link.rel)


def _units(text: str, tokens: Sequence[Any]) -> tuple[Unit, ...]:
    ends = [token.start for token in tokens[1:]] + [len(text)]
    return tuple(
        Unit(token.text, (index, index), token.stop < following)
        for index, (token, following) in enumerate(zip(tokens, ends, strict=True), 1)
    )


def _lemmatizer() -> Callable[[str, str], str]:
    """(form, universal part of speech) -> lemma."""
    try:
        from pymorphy3 import MorphAnalyzer
    except ModuleNotFoundError:
        raise MissingExtra("annotating Russian text", "russian", "pymorphy3") from None
    analyzer = MorphAnalyzer(lang="ru")

    @lru_cache(maxsize=100_000)
    def lemma(form: str, pos: str) -> str:
        parses = analyzer.parse(form)
        wanted = _POS.get(pos)
        fitting = [parse for parse in parses if wanted and parse.tag.POS in wanted]
        return str((fitting or parses)[0].normal_form)

    return lemma


def label_errors(
    gold: Iterable[Sentence], again: Callable[[Iterable[Sentence]], Iterable[Sentence]]
) -> dict[str, dict[str, Any]]:
    """How often automatic annotation gives a wrong label: gold sentences annotated again and labelled twice.

    Args:
        again: the same words in the same order with automatic annotation, as `Annotator.again` gives them.

    Returns:
        Task -> `taken`: sentences by automatic annotation; `label_error`: share of those that gold takes too but labels
        otherwise, with Wilson's 95 % interval in `low` and `high`; `not_taken_by_gold`: share of those that gold would
        not take at all; `found`: share of gold's that are taken.
    """
    counts = {name: dict.fromkeys(("taken", "both", "wrong", "gold"), 0) for name in LABELLERS if name not in UNTOUCHED}
    stream = iter(gold)
    while chunk := list(itertools.islice(stream, _CHUNK)):
        kept = [sentence for sentence in chunk if not refused(sentence)]
        for true, found in zip(kept, again(kept), strict=True):
            for name, count in counts.items():
                right = LABELLERS[name](true)
                guess = None if refused(found) else LABELLERS[name](found)
                count["gold"] += right is not None
                count["taken"] += guess is not None
                if right is not None and guess is not None:
                    count["both"] += 1
                    count["wrong"] += right.label != guess.label
    return {name: _rates(count) for name, count in counts.items()}


def _rates(count: dict[str, int]) -> dict[str, Any]:
    taken, both, wrong, gold = (count[name] for name in ("taken", "both", "wrong", "gold"))
    low, high = wilson(wrong, both)
    return {
        "taken": taken,
        "label_error": round(wrong / both, 4) if both else None,
        "low": round(low, 4),
        "high": round(high, 4),
        "not_taken_by_gold": round(1 - both / taken, 4) if taken else None,
        "found": round(both / gold, 4) if gold else None,
    }
