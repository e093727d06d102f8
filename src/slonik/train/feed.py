"""Batches one after another from any position, with the next ones prepared in a thread beside the computation.

Position p of the endless stream is batch (epoch, index). A step has a fixed number of batches, whatever the number of
processes: process r of w takes batches r, r + w, r + 2w, ... of the step. So the steps are the same with one process,
with four or eight, and no two processes read the same batch. Where the number does not divide, a process without a
batch in the last round repeats one that does not count, for all must take part in a round.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch

from slonik.core.errors import Lost, SlonikError
from slonik.train.processes import Processes
from slonik.train.protocols import Batch, IntArray, Loader

_TURNS = 4


@dataclass(frozen=True)
class Place:
    """Where in the data a batch stands."""

    epoch: int
    index: int
    texts: IntArray

    def __str__(self) -> str:
        some = ", ".join(str(text) for text in self.texts[:5])
        more = ", ..." if len(self.texts) > 5 else ""
        return f"epoch {self.epoch}, batch {self.index} (texts {some}{more})"


@dataclass(frozen=True)
class Turn:
    """What a process works on in one round of a step.

    Attributes:
        place, batch: of the data.
        number: of the batch in its step, from 0, the same whatever the number of processes.
        counts: False for a batch that another process has too.
    """

    place: Place
    batch: Batch
    number: int
    counts: bool


class Feed:
    """An iterator over the turns of one process from a given position on.

    Args:
        loader: gives batches by number.
        epoch, index: position of the first batch of a step, as `position` gave it.
        batches: of a step, over all processes.
        rank, world: this process and how many there are.
        ahead: batches prepared in advance.
        pin: put batches into page-locked memory, from which an accelerator copies without waiting.
        patience: seconds that `next` waits for a batch.

    Attributes:
        rounds: turns of a process in a step.
    """

    def __init__(
        self,
        loader: Loader,
        epoch: int = 0,
        index: int = 0,
        *,
        batches: int = 1,
        rank: int = 0,
        world: int = 1,
        ahead: int = 2,
        pin: bool = False,
        patience: float | None = None,
    ) -> None:
        self._loader = loader
        self._pin, self._patience, self._stuck = pin, patience, False
        self._next = (epoch, index)
        self._batches, self._rank, self._world = batches, rank, world
        self.rounds = -(-batches // world)
        self._plan: tuple[int, Sequence[IntArray]] = (-1, [])
        self._step: list[Place] = []
        self._numbers: Iterator[int] = iter(())
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._waiting: deque[tuple[tuple[int, int], Future[Turn]]] = deque()
        self._ahead = max(1, ahead)

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, index) of the first batch of the step whose turns are handed out next; to be asked between steps."""
        return self._waiting[0][0] if self._waiting else self._next

    def __iter__(self) -> Iterator[Turn]:
        return self

    def __next__(self) -> Turn:
        """The next turn.

        Raises:
            Lost: the batch is not there in time.
        """
        while len(self._waiting) < self._ahead:
            number = next(self._numbers, None)
            if number is None:
                self._start, self._step = self._next, [self._advance() for _ in range(self._batches)]
                self._numbers = iter(range(self._rank, self.rounds * self._world, self._world))
                continue
            self._waiting.append((self._start, self._pool.submit(self._read, self._step, number)))
        (epoch, index), coming = self._waiting.popleft()
        try:
            return coming.result(self._patience)
        except TimeoutError:
            if coming.done():  # the loader's own
                raise
            self._stuck = True
            raise Lost(
                f"process {self._rank} has waited {(self._patience or 0) / 60:.0f} minutes for a batch of the step at "
                f"(epoch {epoch}, batch {index}): the file system with the corpus does not answer or is too "
                "slow; look at it and run the same command again (train.timeout_minutes raises the limit)"
            ) from None

    def _advance(self) -> Place:
        """The next place of the stream."""
        epoch, index = self._next
        if self._plan[0] != epoch:
            self._plan = (epoch, self._loader.plan(epoch))
        if index >= len(self._plan[1]):
            epoch, index = epoch + 1, 0
            self._plan = (epoch, self._loader.plan(epoch))
        self._next = (epoch, index + 1)
        return Place(epoch, index, self._plan[1][index])

    def _read(self, step: Sequence[Place], number: int) -> Turn:
        place = step[number % self._batches]
        batch = self._loader.batch(place.epoch, place.index, place.texts)
        if self._pin:
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        return Turn(place, batch, number % self._batches, counts=number < self._batches)

    def close(self) -> None:
        self._pool.shutdown(wait=not self._stuck, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_disjoint(processes: Processes, loader: Loader, epoch: int, index: int, batches: int) -> None:
    """Compare the processes' hashes of the corpus (must agree) and of their next batches (must differ).

    The accident to rule out is FRED-T5's: every GPU read the same shard, and the model saw 3.5 GB two hundred times.
    Batches of different epochs may hold the same texts: a corpus smaller than a step is read again.

    Args:
        epoch, index: where the next step begins. batches: of a step.

    Raises:
        SlonikError: the corpora differ, or two processes would train on the same batch.
    """
    if processes.world == 1:
        return
    fingerprints = processes.gather(loader.fingerprint)
    if len(set(fingerprints)) > 1:
        raise SlonikError(
            "the processes read different corpora: give every node the same files, so that each takes its own part "
            f"(fingerprints {', '.join(sorted({value[:12] for value in fingerprints}))})"
        )
    with Feed(
        loader, epoch, index, batches=batches, rank=processes.rank, world=processes.world, ahead=1
    ) as feed:  # fmt: skip
        turns = [next(feed) for _ in range(_TURNS)]
    # By content and by the numbers of the texts: the same texts under other masks are the same texts.
    mine = [
        (turn.place.epoch, turn.place.index, found)
        for turn in turns
        if turn.counts
        for found in (batch_hash(turn.batch), hashlib.sha256(turn.place.texts.tobytes()).hexdigest())
    ]
    owners: dict[tuple[int, str], int] = {}
    for rank, read in enumerate(processes.gather(mine)):
        for at_epoch, at_index, found in read:
            other = owners.setdefault((at_epoch, found), rank)
            if other != rank:
                raise SlonikError(
                    f"processes {other} and {rank} would read the same batch (epoch {at_epoch}, batch {at_index} of "
                    f"process {rank}): each must read its own part of the corpus"
                )


def batch_hash(batch: Batch) -> str:
    """SHA-256 of the content of a batch."""
    digest = hashlib.sha256()
    for name in sorted(batch):
        tensor = batch[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
