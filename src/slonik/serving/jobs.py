"""One request on its way through the queue: its texts, what has come of them so far, and who waits for it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from slonik.core.protocols import LongTexts

Item: TypeAlias = str | tuple[str, str] | Sequence[int]
"""A text, two that are read together, or token ids without specials."""


@dataclass(frozen=True)
class Tokens:
    """One text as its engine takes it.

    Attributes:
        count: tokens the model reads, prefix and specials included.
        content: token ids with specials, or the text itself (or a pair) for a model that takes no ids.
        long_texts: what is to happen if it is longer than the model takes.
        prompt: how many of its first tokens are those of a prefix, as the encoder counts them.
        cut: the model does not read all of it.
    """

    count: int
    content: Any
    long_texts: LongTexts = "truncate"
    prompt: int = 0
    cut: bool = False


@dataclass(eq=False)
class Job:
    """The texts of one request, each different text once.

    Attributes:
        texts: all different.
        places: for each text of the request, its position in `texts`.
        prefix: text put before each string.
        long_texts: what happens to a text that is longer than the model takes.
        done: resolved with the results of the request's texts, in their order, on the loop that made the job.
        field: what the request calls its texts, for messages.
        taken: texts that a worker has taken from the queue.
        turn_characters: how much of it has been taken in its present turn.
        begun: texts that are in a batch or past it; the others still wait.
        tokens: tokens of the request's texts, as far as they have been taken. cut: those that are not read whole.
        cancelled: nobody waits any more; texts that have not begun are dropped.
    """

    texts: Sequence[Item]
    places: Sequence[int]
    prefix: str
    long_texts: LongTexts
    done: asyncio.Future[list[Any]]
    field: str = "input"
    taken: int = 0
    turn_characters: int = 0
    begun: int = 0
    tokens: int = 0
    cut: int = 0
    cancelled: bool = False
    error: Exception | None = None
    _results: list[Any] = dataclasses.field(init=False)
    _missing: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self._missing = len(self.texts)
        self._results = [None] * len(self.texts)

    @classmethod
    def of(
        cls,
        texts: Sequence[Item],
        prefix: str,
        long_texts: LongTexts,
        done: asyncio.Future[list[Any]],
        name: str = "input",
    ) -> Job:
        """The job of a request for `texts`, which may repeat; `name` is what the request calls them."""
        seen: dict[Any, int] = {}
        places = [seen.setdefault(text if isinstance(text, str) else tuple(text), len(seen)) for text in texts]
        return cls(list(seen), places, prefix, long_texts, done, name)

    def name_of(self, index: int) -> str:
        """What the request calls one of the different texts: `input[3]`, of a single one `input`."""
        return self.field if len(self.places) == 1 else f"{self.field}[{self.places.index(index)}]"

    def characters(self, index: int) -> int:
        """About how much one of the different texts is to read."""
        text = self.texts[index]
        return sum(map(len, text)) if isinstance(text, tuple) and isinstance(text[0], str) else len(text)

    def count(self, index: int, tokens: Tokens) -> None:
        """Add the tokens of one different text, as often as the request holds it."""
        times = 1 if len(self.places) == len(self.texts) else self.places.count(index)
        self.tokens += tokens.count * times
        self.cut += tokens.cut * times

    def store(self, index: int, result: Any) -> bool:
        """Keep what came of one text; True when it was the last one missing."""
        self._results[index] = result
        self._missing -= 1
        return self._missing == 0

    def resolve(self) -> None:
        """Hand the results, or the error, to whoever waits. Runs on the loop."""
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result([self._results[place] for place in self.places])


def cut_header(job: Job) -> dict[str, str]:
    """How many texts of an answer were not read whole, where there are any: answers have no field for it."""
    return {"x-cut-texts": str(job.cut)} if job.cut else {}


@dataclass(eq=False)
class Unit:
    """One tokenised text of a job, waiting for a batch."""

    job: Job
    index: int
    tokens: Tokens
