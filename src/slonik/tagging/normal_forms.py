"""Names as a dictionary would have them: "Лаборатории Касперского" as "Лаборатория Касперского", by pymorphy3.

Does: put the head of a name and the adjectives that agree with it into the nominative, keeping number and capitals;
what follows the head (a genitive, a title in quotes, digits, Latin words) stays as it is. Words of a person's name
agree in case and gender and are all inflected.
Does not: parse sentences. Of readings of a form that a name alone cannot tell apart the likeliest is taken, so that
"Новости" may become "Новость"; the form is for joining mentions, not for print.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any

from slonik.core.errors import MissingExtra

_WORD = re.compile(r"[А-Яа-яЁё]+(?:-[А-Яа-яЁё]+)*")
_NAMES = ("Name", "Surn", "Patr")
_AGREEING = ("ADJF", "PRTF", "NUMR")
_LIKELY = 0.02
_PERSONS = frozenset({"PER", "PERSON", "PERS", "B-PER", "HACKER"})


def normal_form(name: str, label: str = "") -> str:
    """A name in the nominative case; as it is where nothing in it can be inflected.

    Args:
        label: of its span: the words of a person's name are all inflected.

    Raises:
        MissingExtra: pymorphy3 is not installed.
    """
    words = list(_WORD.finditer(name))
    if not words:
        return name
    readings = [_readings(word.group()) for word in words]
    forms = _person(readings) if label.upper() in _PERSONS else None
    if forms is None:
        forms = _phrase(readings, [name[a.end() : b.start()] for a, b in itertools.pairwise(words)])
    parts, place = [], 0
    for word, form in zip(words, forms, strict=False):
        parts += [name[place : word.start()], _as_written(word.group(), form) if form else word.group()]
        place = word.end()
    return "".join([*parts, name[place:]])


def _readings(word: str) -> list[Any]:
    """Readings that are believed at all, the likeliest first."""
    found = _analyzer().parse(word)
    return [one for one in found if one.score >= _LIKELY] or found[:1]


def _phrase(readings: Sequence[Sequence[Any]], gaps: Sequence[str]) -> list[str | None]:
    """Forms of the words up to the head: adjectives, then a noun; None where a word stays as it is."""
    before: list[int] = []
    for index, found in enumerate(readings):
        nouns = [one for one in found if one.tag.POS == "NOUN"]
        agreeing = [one for one in found if one.tag.POS in _AGREEING]
        last = index + 1 == len(readings) or gaps[index].strip() != ""
        if nouns and not (agreeing and agreeing[0].score > nouns[0].score and not last):
            return _inflected(readings, before, index, nouns)
        if not agreeing or last:
            return _inflected(readings, before[:-1], before[-1], readings[before[-1]]) if before else [None] * index
        before.append(index)
    return []


def _inflected(
    readings: Sequence[Sequence[Any]], before: Sequence[int], head: int, candidates: Sequence[Any]
) -> list[str | None]:
    """The head and the words that agree with it, in the nominative of the likeliest common number and case."""

    def agreement(reading: Any) -> float:
        return sum(max((one.score for one in _agreeing(readings[index], reading)), default=-1.0) for index in before)

    best = max(candidates, key=lambda one: (agreement(one), one.score))
    forms: list[str | None] = [None] * (head + 1)
    number = best.tag.number
    forms[head] = _word(best, {"nomn", number} if number else {"nomn"})
    for index in before:
        found = _agreeing(readings[index], best)
        if found:
            grammemes = {"nomn", "plur"} if number == "plur" else {"nomn", "sing", best.tag.gender or "masc"}
            forms[index] = _word(max(found, key=lambda one: one.score), grammemes)
    return forms


def _agreeing(readings: Sequence[Any], head: Any) -> list[Any]:
    """Readings as an adjective that have the case, number and (singular) gender of the head."""
    tag = head.tag
    return [
        one
        for one in readings
        if one.tag.POS in _AGREEING
        and (one.tag.case == tag.case or tag.case is None)
        and one.tag.number in (tag.number, None)
        and (tag.number == "plur" or one.tag.gender in (tag.gender, None))
    ]


def _person(readings: Sequence[Sequence[Any]]) -> list[str | None] | None:
    """Forms of the words of a person's name under the case and gender that fit them best; None where none is a name."""
    named = [[one for one in found if any(kind in one.tag for kind in _NAMES)] for found in readings]
    if not any(named):
        return None
    ways = {(one.tag.case, one.tag.gender) for found in named for one in found if one.tag.number != "plur"}
    if not ways:
        return None

    def fit(way: tuple[str, str]) -> float:
        return sum(max((one.score for one in found if _fits(one, way)), default=-1.0) for found in named if found)

    best = max(sorted(ways, key=str), key=fit)
    forms: list[str | None] = []
    for found in named:
        chosen = [one for one in found if _fits(one, best)]
        forms.append(_word(max(chosen, key=lambda one: one.score), {"nomn", "sing"}) if chosen else None)
    return forms


def _fits(reading: Any, way: tuple[str, str]) -> bool:
    case, gender = way
    tag = reading.tag
    return tag.number != "plur" and tag.case in (case, None) and (tag.gender == gender or "ms-f" in str(tag))


def _word(reading: Any, grammemes: set[str]) -> str | None:
    if "Fixd" in reading.tag:
        return None
    found = reading.inflect(grammemes)
    return str(found.word) if found is not None else None


def _as_written(word: str, form: str) -> str:
    """A form with the capitals of the word: ALL, First, or those of each part between hyphens."""
    if len(word) > 1 and word.isupper():
        return form.upper()
    parts, forms = word.split("-"), form.split("-")
    if len(parts) == len(forms):
        form = "-".join(
            one[:1].upper() + one[1:] if part[:1].isupper() else one for part, one in zip(parts, forms, strict=True)
        )
    elif word[:1].isupper():
        form = form[:1].upper() + form[1:]
    return form if "ё" in word.lower() else form.replace("ё", "е")


@functools.cache
def _analyzer() -> Any:
    try:
        import pymorphy3
    except ModuleNotFoundError as error:
        raise MissingExtra("normal forms of names", "russian", error.name) from None
    return pymorphy3.MorphAnalyzer(lang="ru")
