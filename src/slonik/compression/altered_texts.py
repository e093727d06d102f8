"""Texts made of other texts, without a label: near pairs, and sentences whose words are replaced.

What separates a good encoder from a fair one is the order of *very similar* texts, and random sentences of a corpus
hold no such pair. Translation memories translate one English sentence twice, and an altered copy is made by dropping,
swapping, replacing or negating words. A corpus of novels and manuals lacks most names and topics that a student will
meet, and its teacher can say of any text what it would make of it: grammatical nonsense with the right words, drawn as
often as a newspaper prints them, teaches the student those words.
Does not: say whether the meaning stayed (a teacher's vectors do), read corpora, or know other languages than Russian.

Source of replaced words: Krishna et al. 2020, "Thieves on Sesame Street!" (a model is learned well from nonsense that
another labels); TinyBERT (Jiao et al. 2020), section 4.2 (words of a text replaced before distillation).
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import MissingExtra
from slonik.data.sampling import normalised, text_hash

Pair = tuple[str, str]

_DROP, _SWAP, _REPLACE, _NEGATE = range(4)
_MIN_WORDS = 4


def twice_translated(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Two different Russian translations of the same English text; each English text gives one pair at most.

    Keeps the first translation of every English text in memory.
    """
    first: dict[int, str | None] = {}
    for english, russian in pairs:
        mark = text_hash(english)
        if mark not in first:
            first[mark] = russian
            continue
        known = first[mark]
        if known is not None and normalised(known) != normalised(russian):
            first[mark] = None
            yield known, russian


def altered_copy(text: str, words: Sequence[str], seed: int = 0) -> str | None:
    """`text` with one or two words dropped, swapped, replaced or negated; the same for the same text and seed.

    Args:
        words: to take replacements from (words of the corpus, repeated as they occur).

    Returns:
        None for a text of fewer than four words, or when the change happens to change nothing.
    """
    parts = text.split()
    if len(parts) < _MIN_WORDS:
        return None
    rng = np.random.default_rng(text_hash(text, f"alter {seed}"))
    for _ in range(1 if len(parts) < 8 else int(rng.integers(1, 3))):
        _change(parts, words, rng)
    changed = " ".join(parts)
    return changed if normalised(changed) != normalised(text) else None


def _change(parts: list[str], words: Sequence[str], rng: np.random.Generator) -> None:
    """One random change in place."""
    kind, place = int(rng.integers(4)), int(rng.integers(len(parts)))
    if kind == _DROP and len(parts) > _MIN_WORDS - 1:
        del parts[place]
    elif kind == _SWAP:
        other = (place + 1 + int(rng.integers(len(parts) - 1))) % len(parts)
        parts[place], parts[other] = parts[other], parts[place]
    elif kind == _NEGATE:
        parts.insert(place, "не")
    elif words:
        parts[place] = words[int(rng.integers(len(words)))]


_PART = re.compile(r"[а-яё-]+|\d+|[^а-яё\d-]+", re.IGNORECASE)
_WORD = re.compile(r"[а-яё-]{3,}")
_SHARES = (0.3, 0.5, 0.8)  # of the words of a text; one of them for each text
_FLATTER = 0.6  # power of the counts: rare words come more often than in the newspaper
_OPEN = frozenset(("NOUN", "ADJF", "ADJS", "VERB", "INFN", "PRTF", "PRTS", "ADVB", "GRND"))
_NAMES = frozenset(("Name", "Surn", "Patr", "Geox", "Orgn", "Trad"))
_NOT_FORM = _NAMES | {"Sgtm", "Fixd", "Abbr", "Infr", "Slng", "Arch", "V-sh", "V-be", "Prnt", "Erro"}


class WordForms:
    """Words by grammatical form (part of speech, gender, number, case, ...), with how often each occurs.

    Args:
        counted: words in lower case, and their counts.
        fewest: words that a form must have to be drawn from; words of rarer forms stay in their texts.

    Raises:
        MissingExtra: pymorphy3 is not installed.
    """

    def __init__(self, counted: Iterable[tuple[str, int]], fewest: int = 20) -> None:
        try:
            import pymorphy3
        except ModuleNotFoundError as error:
            raise MissingExtra("texts with substituted words", "russian", error.name) from None
        self._analyzer: Any = pymorphy3.MorphAnalyzer(lang="ru")
        self._forms: dict[str, str | None] = {}
        found: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for word, count in counted:
            analysis = self._analyzer.parse(word)[0] if _WORD.fullmatch(word) else None
            if analysis is not None and str(analysis.tag.POS) in _OPEN:
                spelt = word.capitalize() if _NAMES & analysis.tag.grammemes else word
                found[_form(analysis.tag)].append((spelt, count**_FLATTER))
        self._words = {form: [word for word, _ in some] for form, some in found.items() if len(some) >= fewest}
        self._sums = {form: list(itertools.accumulate(weight for _, weight in found[form])) for form in self._words}

    def form(self, word: str) -> str | None:
        """The form of a word in lower case; None where no other word of it is known."""
        if word not in self._forms:
            form = _form(self._analyzer.parse(word)[0].tag) if _WORD.fullmatch(word) else ""
            self._forms[word] = form if form in self._words else None
        return self._forms[word]

    def draw(self, form: str, rng: np.random.Generator) -> str:
        """A word of this form."""
        sums = self._sums[form]
        return self._words[form][bisect.bisect_right(sums, rng.random() * sums[-1], hi=len(sums) - 1)]


def substituted(text: str, forms: WordForms, seed: int = 0) -> str:
    """`text` with a third, half or most of its words and all numbers replaced; always the same for a text and seed."""
    rng = np.random.default_rng(text_hash(text, f"substitute {seed}"))
    share = _SHARES[int(rng.integers(len(_SHARES)))]
    parts = [match[0] for match in _PART.finditer(text)]
    return "".join(_replaced(part, forms, share, rng) for part in parts)


def newspaper_words(path: Path) -> Iterator[tuple[str, int]]:
    """The words of a navec file with their counts (navec news: 250,000 words counted over a billion).

    Raises MissingExtra without navec.
    """
    try:
        from navec import Navec
    except ModuleNotFoundError as error:
        raise MissingExtra("texts with substituted words", "russian", error.name) from None
    vocabulary = Navec.load(path).vocab
    yield from zip(vocabulary.words, (int(count) for count in vocabulary.counts), strict=False)


def _replaced(part: str, forms: WordForms, share: float, rng: np.random.Generator) -> str:
    if part.isdigit():
        return str(rng.integers(10 ** (len(part) - 1), 10 ** len(part))) if len(part) < 18 else part
    form = forms.form(part.lower())
    if form is None or rng.random() >= share:
        return part
    word = forms.draw(form, rng)
    return word[0].upper() + word[1:] if part[0].isupper() else word


def _form(tag: Any) -> str:
    return ",".join(sorted(tag.grammemes - _NOT_FORM))
