"""What the offsets of other programs count: which of several ways of counting fits the words that they quote.

Does: recognise offsets that count UTF-16 units (JavaScript, Java, Windows) or bytes of UTF-8, that take a CR LF for one
character, or that leave out a byte-order mark, and any of these together; turn them into code points. Where no words
are quoted, borders decide: a span neither begins nor ends inside a word if any way of counting lets it.
Does not: guess where ways differ and neither words nor borders tell; code points are taken then.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LINE_ENDS = re.compile(r"[\r\n]")
_FAR = 0xFFFF  # the last character that UTF-16 writes in one unit


@dataclass(frozen=True)
class Stretch:
    """Stretches of a text as somebody else counted them, in order, and the words that they are said to hold.

    Attributes:
        fragments: (start, end) of each.
        words: of all of them, with a space between two; None where nothing was quoted.
    """

    fragments: tuple[tuple[int, int], ...]
    words: str | None = None


@dataclass(frozen=True)
class Counting:
    """A way of counting.

    Attributes:
        name: what it does, for a sentence "offsets that NAME"; empty for code points.
        table: place of each counted unit among the code points; None for code points.
        size: code points of the text.
    """

    name: str
    table: tuple[int, ...] | None
    size: int

    def place(self, fragment: tuple[int, int]) -> tuple[int, int]:
        """(start, end) in code points; an end beyond the text where the fragment goes beyond it."""
        if self.table is None:
            return fragment
        start, last = fragment[0], fragment[1] - 1
        if last >= len(self.table):
            return start, self.size + 1
        return self.table[start], self.table[last] + 1


def points(text: str) -> Counting:
    """Code points, as Python counts."""
    return Counting("", None, len(text))


def ways(text: str) -> Iterator[Counting]:
    """Ways of counting that differ on this text, the likeliest first: code points, then one oddity, then several."""
    size = len(text)
    yield points(text)
    far = any(ord(sign) > _FAR for sign in text)
    units = ["code points", *(["UTF-16 units"] if far else []), *([] if text.isascii() else ["bytes of UTF-8"])]
    oddities = [(False, False)]
    oddities += [(True, False)] if "\r\n" in text else []
    oddities += [(False, True)] if text.startswith("\ufeff") else []
    oddities += [(True, True)] if len(oddities) == 3 else []
    # "code points" without any oddity is the first way, above; the rarest unit stands last
    for unit, (one_line_end, no_mark) in itertools.product(units, oddities):
        if unit == "code points" and not one_line_end and not no_mark:
            continue
        parts = [f"count {unit}"] if unit != "code points" else []
        parts += ["count CR LF as one character"] if one_line_end else []
        parts += ["leave out the byte-order mark"] if no_mark else []
        yield Counting(" and ".join(parts), _table(text, unit, one_line_end, no_mark), size)


def _table(text: str, unit: str, one_line_end: bool, no_mark: bool) -> tuple[int, ...]:
    places: list[int] = []
    for index, sign in enumerate(text):
        if one_line_end and sign == "\r" and text[index + 1 : index + 2] == "\n":
            continue
        if no_mark and index == 0:
            continue
        wide = 1
        if unit == "UTF-16 units":
            wide = 2 if ord(sign) > _FAR else 1
        elif unit == "bytes of UTF-8":
            wide = len(sign.encode("utf-8", "surrogatepass"))
        places += [index] * wide
    return tuple(places)


def fitting(text: str, stretches: Sequence[Stretch]) -> Counting | None:
    """The first way of counting under which every stretch lies in the text and on the words it quotes; None = none.

    Where nothing is quoted and borders cut words, one under which none does; bytes are not thought of there: by chance
    too many of them would fit.
    """
    first = points(text)
    fits = not any(wrong(text, one, first) for one in stretches)
    quoted = any(one.words is not None for one in stretches)
    if fits and (quoted or not _cut_words(text, stretches, first)):
        return first
    for way in ways(text):
        if way.table is None or (not quoted and "bytes" in way.name) or any(wrong(text, one, way) for one in stretches):
            continue
        if quoted or not _cut_words(text, stretches, way):
            return way
    return first if fits else None


def wrong(text: str, stretch: Stretch, way: Counting) -> bool:
    """Whether a stretch goes beyond the text, or does not hold the words that it quotes, under that way of counting."""
    places = [way.place(fragment) for fragment in stretch.fragments]
    if max(end for _, end in places) > len(text):
        return True
    return stretch.words is not None and _flat(" ".join(text[a:b] for a, b in places)) != _flat(stretch.words)


def _cut_words(text: str, stretches: Sequence[Stretch], way: Counting) -> int:
    """Borders that fall inside a word, and spans that begin or end with white space."""
    count = 0
    for stretch in stretches:
        for start, end in map(way.place, stretch.fragments):
            count += _inside(text, start) + _inside(text, end)
            count += text[start].isspace() + text[end - 1].isspace()
    return count


def _inside(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()


def _flat(words: str) -> str:
    """A line end within a span is written as a space by BRAT, as backslash and n by some; runs of them are as one."""
    plain = _LINE_ENDS.sub(" ", words.replace("\\r\\n", " ").replace("\\n", " ").lstrip("\ufeff"))
    return " ".join(plain.split(" ")).strip(" ")
