"""Cut the tokens of a text into sequences about a sentence long, so that any text is tagged in bounded memory.

A cut is made after a full stop, question or exclamation mark, or ellipsis (with closing quotes and brackets) before a
word that begins with a capital, at line ends, and after `LONGEST` tokens. A full stop after a single letter or a usual
abbreviation does not cut. A missed or a wrong border costs little: features look over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slonik.data.annotations.tags import Offsets

LONGEST = 200
_STOPS = frozenset(".!?…")
_CLOSING = frozenset("»”\"')]}")
_ABBREVIATIONS = frozenset(
    ["г", "гг", "ул", "им", "тыс", "млн", "млрд", "руб", "долл", "см", "рис", "табл", "стр", "проф", "акад", "ст", "п"]
)


def sentences(text: str, offsets: Sequence[Offsets]) -> Iterator[tuple[int, int]]:
    """(first, after the last) token of each sequence; together they are all tokens, in order."""
    first = 0
    for index in range(1, len(offsets)):
        if index - first >= LONGEST or _ends(text, offsets, index):
            yield first, index
            first = index
    if first < len(offsets):
        yield first, len(offsets)


def _ends(text: str, offsets: Sequence[Offsets], index: int) -> bool:
    """Whether a sequence ends before token `index`."""
    start = offsets[index][0]
    gap = text[offsets[index - 1][1] : start]
    if not gap:
        return False
    if "\n" in gap:
        return True
    last = index - 1
    while last >= 0 and text[offsets[last][0]] in _CLOSING:
        last -= 1
    if last < 0 or text[offsets[last][0]] not in _STOPS or not _opens(text[start]):
        return False
    if last == 0 or text[offsets[last][0]] != ".":
        return True
    before = text[offsets[last - 1][0] : offsets[last - 1][1]].lower()
    return not (len(before) == 1 and before.isalpha()) and before not in _ABBREVIATIONS


def _opens(sign: str) -> bool:
    return sign.isupper() or sign.isdigit() or sign in "«„“\"'([—–-•"
