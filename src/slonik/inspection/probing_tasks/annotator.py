"""Russian text to sentences with morphology, syntax and lemmas, by slovnet and pymorphy2 (natasha carries both).

The models were trained on news and their labels are automatic: `noise` estimates how often they are wrong. Only
annotation happens here; about 600 sentences a second on one core, in the memory of one chunk.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from slonik.core.errors import MissingExtra
from slonik.data.conllu import Sentence, Unit, Word

NAME = "slovnet news v1"
_CHUNK = 256
_LONGEST_WORDS = 60  # longer sentences make no task, and cost the most
# pymorphy2's tags of parts of speech that differ from the universal ones slovnet gives
_POS = {"VERB": {"VERB", "INFN", "GRND", "PRTF", "PRTS"}, "AUX": {"VERB", "INFN"}, "ADJ": {"ADJF", "ADJS"},
        "NOUN": {"NOUN"}, "PROPN": {"NOUN"}, "ADV": {"ADVB", "PRED"}}  # fmt: skip


class Annotator:
    """slovnet's morphology and syntax with pymorphy2's lemmas.

    Raises:
        MissingExtra: natasha is not installed.
    """

    name = NAME

    def __init__(self) -> None:
        natasha = _natasha()
        embedding = natasha.NewsEmbedding()
        self._morph = natasha.NewsMorphTagger(embedding)
        self._syntax = natasha.NewsSyntaxParser(embedding)
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


def _natasha() -> Any:
    try:
        return importlib.import_module("natasha")
    except ModuleNotFoundError:
        raise MissingExtra("annotating Russian text", "embedded", "natasha") from None


@contextmanager
def _old_inspect() -> Iterator[None]:
    """pymorphy2 0.9 asks for `inspect.getargspec`, which Python 3.11 no longer has, while it is being built."""
    module: Any = inspect
    if hasattr(module, "getargspec"):
        yield
        return
    module.getargspec = lambda function: inspect.getfullargspec(function)[:4]
    try:
        yield
    finally:
        del module.getargspec


def _lemmatizer() -> Callable[[str, str], str]:
    """(form, universal part of speech) -> lemma."""
    try:
        pymorphy2, dictionary = (importlib.import_module(name) for name in ("pymorphy2", "pymorphy2_dicts_ru"))
    except ModuleNotFoundError:
        raise MissingExtra("annotating Russian text", "embedded", "pymorphy2") from None
    with _old_inspect():
        analyzer = pymorphy2.MorphAnalyzer(path=dictionary.get_path())

    @lru_cache(maxsize=100_000)
    def lemma(form: str, pos: str) -> str:
        parses = analyzer.parse(form)
        wanted = _POS.get(pos)
        fitting = [parse for parse in parses if wanted and parse.tag.POS in wanted]
        return str((fitting or parses)[0].normal_form)

    return lemma
