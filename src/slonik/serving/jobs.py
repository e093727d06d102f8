"""One embedding request on its way through the queue: its texts, its answer so far, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from slonik.core.protocols import FloatArray

LongText = Literal["refuse", "truncate", "average"]
Texts = Sequence[str] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Tokens:
    """One text as its engine takes it.

    Attributes:
        count: tokens the model reads, prefix and specials included.
        content: token ids with specials, or the text itself for an encoder that takes no ids.
        windows: the text is longer than the model takes, and the vectors of its windows are to be averaged.
    """

    count: int
    content: list[int] | str
    windows: bool = False


@dataclass(eq=False)
class Job:
    """The texts of one request, each different text once.

    Attributes:
        texts: strings, or token ids without specials; all different.
        places: for each text of the request, its position in `texts`.
        prefix: text put before each string.
        long_text: what happens to a text that is longer than the model takes.
        done: resolved with the vectors (N, D) of the request's texts, on the loop that made the job.
        taken: texts that a worker has taken from the queue.
        turn_characters: how much of it has been taken in its present turn.
        begun: texts that are in a batch or past it; the others still wait.
        tokens: tokens of the request's texts, as far as they have been taken.
        cancelled: nobody waits any more; texts that have not begun are dropped.
    """

    texts: Texts
    places: Sequence[int]
    prefix: str
    long_text: LongText
    done: asyncio.Future[FloatArray]
    taken: int = 0
    turn_characters: int = 0
    begun: int = 0
    tokens: int = 0
    cancelled: bool = False
    error: Exception | None = None
    _rows: FloatArray | None = None
    _missing: int = field(init=False)

    def __post_init__(self) -> None:
        self._missing = len(self.texts)

    @classmethod
    def of(cls, texts: Texts, prefix: str, long_text: LongText, done: asyncio.Future[FloatArray]) -> Job:
        """The job of a request for `texts`, which may repeat."""
        seen: dict[Any, int] = {}
        places = [seen.setdefault(text if isinstance(text, str) else tuple(text), len(seen)) for text in texts]
        return cls(list(seen), places, prefix, long_text, done)

    def count(self, index: int, tokens: int) -> None:
        """Add the tokens of one different text, as often as the request holds it."""
        self.tokens += tokens * (1 if len(self.places) == len(self.texts) else self.places.count(index))

    def store(self, index: int, vector: FloatArray) -> bool:
        """Keep the vector (D,) of one text; True when it was the last one missing."""
        if self._rows is None:
            self._rows = np.empty((len(self.texts), vector.shape[-1]), dtype=np.float32)
        self._rows[index] = vector
        self._missing -= 1
        return self._missing == 0

    def resolve(self) -> None:
        """Hand the vectors, or the error, to whoever waits. Runs on the loop."""
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            assert self._rows is not None
            repeats = len(self.places) != len(self.texts)
            self.done.set_result(self._rows[self.places] if repeats else self._rows)


@dataclass(eq=False)
class Unit:
    """One tokenised text of a job, waiting for a batch."""

    job: Job
    index: int
    tokens: Tokens
