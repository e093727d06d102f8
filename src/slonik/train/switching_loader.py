"""One loader for the first steps, another one afterwards: a schedule of corpora as one stream of batches.

FRED-T5 saw a small part of its corpus for two thirds of the steps and everything afterwards; this is that schedule.
Each loader goes through its own epochs; the whole run is one epoch of the stream, so positions can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slonik.core.hashing import sha256_json
from slonik.train.protocols import Batch, IntArray, Loader


class SwitchingLoader:
    """Batches of several loaders one after another.

    Args:
        parts: (loader, how many batches of it), in order; a loader starts anew where its epoch ends.
    """

    def __init__(self, parts: Sequence[tuple[Loader, int]]) -> None:
        self._parts = list(parts)
        self._places: list[tuple[int, int, int]] = []  # (part, epoch, index) of each batch
        self._texts: list[IntArray] = []
        for part, (loader, batches) in enumerate(self._parts):
            for (epoch, index, texts), _ in zip(_endless(loader), range(batches), strict=False):
                self._places.append((part, epoch, index))
                self._texts.append(texts)
        self.fingerprint = sha256_json([[loader.fingerprint, batches] for loader, batches in self._parts])

    def plan(self, epoch: int) -> list[IntArray]:
        """The texts of every batch; the same in every epoch of the whole."""
        del epoch
        return self._texts

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of the loader whose turn it is."""
        del epoch
        part, own_epoch, own_index = self._places[index]
        return self._parts[part][0].batch(own_epoch, own_index, texts)

    @property
    def epochs(self) -> list[int]:
        """How many passes (begun) each loader makes."""
        return [
            1 + max((epoch for part, epoch, _ in self._places if part == number), default=-1)
            for number in range(len(self._parts))
        ]


def _endless(loader: Loader) -> Iterator[tuple[int, int, IntArray]]:
    epoch = 0
    while True:
        for index, texts in enumerate(loader.plan(epoch)):
            yield epoch, index, texts
        epoch += 1
