"""Russian names in other cases, by pymorphy3: "Лаборатория Касперского" is "Лабораторией Касперского" after "с".

A name is its head, the words that agree with it, and the rest. The head is the first noun in the nominative; adjectives
before it agree, of a person's name the surnames and patronymics after it too; what else follows stays as it is. Words
that pymorphy3 does not know as Russian (Latin letters, digits) never change. Nothing disambiguates: the likeliest
reading of each word is taken.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from slonik.core.errors import MissingExtra

CASES = ("nomn", "gent", "datv", "accs", "ablt", "loct")
_WORD = re.compile(r"[А-Яа-яЁё]+(?:-[А-Яа-яЁё]+)*")
_AGREEING = frozenset(("ADJF", "PRTF"))
_PERSON = ("Name", "Surn", "Patr")
_LIKELY = 0.2
_MOST_WORDS = 50_000


class Inflector:
    """Puts names into cases.

    Raises:
        MissingExtra: pymorphy3 is not installed.
    """

    def __init__(self) -> None:
        try:
            import pymorphy3
        except ModuleNotFoundError as error:
            raise MissingExtra("names in other cases", "ner", error.name) from None
        self._analyzer: Any = pymorphy3.MorphAnalyzer(lang="ru")
        self._parses = functools.lru_cache(_MOST_WORDS)(self._analyzer.parse)

    def case_of(self, name: str) -> str:
        """The case that a name stands in: the likeliest one that its head and the words that agree with it share.

        These are the adjectives before the first noun, that noun, and of a person's name what follows. "nomn" where
        nothing says a case.
        """
        likely: dict[str, float] = dict.fromkeys(CASES, 0.0)
        person: bool | None = None
        for word in _WORD.findall(name):
            readings = [one for one in self._parses(word.lower()) if one.tag.case]
            if (word.isupper() and len(word) > 1) or not readings:
                continue
            known = any(_person(one) for one in readings)
            if person is None or (person and known):
                for one in readings:
                    likely[_usual(str(one.tag.case))] += one.score
            if person is None and any(one.tag.POS == "NOUN" for one in readings):
                person = known
            elif person is not None and not (person and known):
                break
        best = max(CASES, key=lambda case: likely[case])
        return best if likely[best] else "nomn"

    def inflected(self, name: str, case: str) -> str:
        """A name that stands in the nominative, in another case; itself where no word of it changes."""
        if case == "nomn":
            return name
        changing = self._changing(name)
        pieces, at = [], 0
        for place, match in enumerate(_WORD.finditer(name)):
            pieces.append(name[at : match.start()])
            pieces.append(_in_case(changing[place], match[0], case) if place in changing else match[0])
            at = match.end()
        return "".join([*pieces, name[at:]])

    def forms(self, name: str) -> list[str]:
        """The name in all cases, each form once, itself first."""
        return list(dict.fromkeys([name, *(self.inflected(name, case) for case in CASES)]))

    def is_nominative(self, name: str) -> bool:
        """Whether a name stands in the nominative, or has no case to tell."""
        return self.case_of(name) == "nomn"

    def _changing(self, name: str) -> dict[int, Any]:
        """Place of a word -> its reading in the nominative, for words that change with the case."""
        found: dict[int, Any] = {}
        adjectives: dict[int, Any] = {}
        head: Any = None
        for place, match in enumerate(_WORD.finditer(name)):
            if match[0].isupper() and len(match[0]) > 1:
                continue  # an abbreviation stays
            reading = self._nominative(match[0].lower())
            if head is None and reading is None:
                return {}  # it begins in another case: it is no name in the nominative
            if reading is None:
                continue
            if head is None and reading.tag.POS in _AGREEING:
                adjectives[place] = reading
            elif head is None:
                head, found[place] = reading, reading
            elif _person(head) and _person(reading):
                found[place] = reading
        return adjectives | found if found else {}

    def _nominative(self, word: str) -> Any:
        for reading in self._parses(word):
            declined = reading.tag.POS == "NOUN" or reading.tag.POS in _AGREEING
            if declined and reading.tag.case == "nomn" and reading.score >= _LIKELY:
                return reading
        return None


def _person(reading: Any) -> bool:
    return any(kind in reading.tag for kind in _PERSON)


def _in_case(reading: Any, word: str, case: str) -> str:
    made = reading.inflect({case})
    if made is None:
        return word
    parts = str(made.word).split("-")  # "Санкт-Петербурга"
    raised = [part[:1].isupper() for part in word.split("-")]
    raised += [False] * (len(parts) - len(raised))
    return "-".join(
        part[:1].upper() + part[1:] if capital else part for part, capital in zip(parts, raised, strict=False)
    )


def _usual(case: str) -> str:
    """One of CASES: the second genitive, the second prepositional and the vocative are forms of these."""
    return {"gen1": "gent", "gen2": "gent", "acc2": "accs", "loc1": "loct", "loc2": "loct", "voct": "nomn"}.get(
        case, case
    )
