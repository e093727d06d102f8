"""Cuts a stream of pieces at the first of several stop texts, holding back what may be the start of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Until:
    """Iterates over `pieces` up to, and without, the stop text that is complete first.

    The joined output depends on the joined input alone, not on how it is divided into pieces.

    Attributes:
        read: pieces read so far.
        stopped: a stop text was met.
    """

    def __init__(self, pieces: Iterator[str], stops: Sequence[str]) -> None:
        self._pieces = pieces
        self._stops = stops
        self.read = 0
        self.stopped = False

    def __iter__(self) -> Iterator[str]:
        held = ""
        for piece in self._pieces:
            self.read += 1
            held += piece
            found = [(place + len(stop), place) for stop in self._stops if (place := held.find(stop)) >= 0]
            if found:
                self.stopped = True
                yield held[: min(found)[1]]
                return
            safe = len(held) - self._open(held)
            yield held[:safe]
            held = held[safe:]
        if held:
            yield held

    def _open(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop text."""
        longest = max((len(stop) for stop in self._stops), default=1)
        for size in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0
