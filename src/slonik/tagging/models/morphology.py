"""Lemma, part of speech and kinds of names of single words, by pymorphy3, each different word analysed once.

Words without Cyrillic letters are not looked up: the dictionary knows none of them. Nothing here disambiguates: the
likeliest analysis is taken, and the kinds of names (Surn, Geox, ...) that any likely analysis has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from slonik.core.errors import MissingExtra

_KINDS = ("Name", "Surn", "Patr", "Geox", "Orgn", "Trad", "Abbr")
_LIKELY = 0.05  # score of an analysis below which its kind of name is not believed
_MOST_WORDS = 200_000  # kept at once; a text in which every word differs must not fill the memory


class Analysis(NamedTuple):
    """What is known of a word; empty strings where nothing is."""

    lemma: str
    part: str
    case: str
    kinds: tuple[str, ...]
    known: bool


class Morphology:
    """A cached pymorphy3.

    Raises:
        MissingExtra: pymorphy3 is not installed.
    """

    def __init__(self) -> None:
        try:
            import pymorphy3
        except ModuleNotFoundError as error:
            raise MissingExtra("a tagger over hand features", "ner", error.name) from None
        self._analyzer: Any = pymorphy3.MorphAnalyzer(lang="ru")
        self._known: dict[str, Analysis] = {}

    def __call__(self, word: str) -> Analysis:
        """The analysis of a word in lower case, without stress accents."""
        found = self._known.get(word)
        if found is None:
            if len(self._known) >= _MOST_WORDS:
                self._known.clear()
            found = self._known[word] = self._analyse(word)
        return found

    def _analyse(self, word: str) -> Analysis:
        if not any("\u0400" <= sign <= "\u04ff" for sign in word) or len(word) > 60:
            return Analysis(word, "", "", (), False)
        parses = self._analyzer.parse(word)
        best = parses[0]
        kinds = {kind for parse in parses if parse.score >= _LIKELY for kind in _KINDS if kind in parse.tag}
        return Analysis(
            lemma=best.normal_form,
            part=str(best.tag.POS or ""),
            case=str(best.tag.case or ""),
            kinds=tuple(sorted(kinds)),
            known=bool(best.is_known),
        )
