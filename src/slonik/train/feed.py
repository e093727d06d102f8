"""Batches one after another from any position, the next ones prepared beside the computation: in a thread, or in
processes (torch's DataLoader), where one thread is too slow for the accelerator.

Position p of the endless stream is batch (epoch, index). A step has a fixed number of batches, whatever the number of
processes: process r of w takes batches r, r + w, r + 2w, ... of the step. So the steps are the same with one process,
with four or eight, and no two processes read the same batch. Where the number does not divide, a process without a
batch in the last round repeats one that does not count, for all must take part in a round.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

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
        ahead: batches prepared in advance, of each process that prepares some.
        pin: put batches into page-locked memory, from which an accelerator copies without waiting.
        patience: seconds that `next` waits for a batch.
        processes: that prepare batches; 0 = a thread.

    Attributes:
        rounds: turns of a process in a step.

    Raises:
        SlonikError: processes cannot be had on this system.
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
        processes: int = 0,
    ) -> None:
        self._loader = loader
        self._patience, self._rank, self._world = patience, rank, world
        self._next = (epoch, index)
        self._batches = batches
        self.rounds = -(-batches // world)
        self._plan: tuple[int, Sequence[IntArray]] = (-1, [])
        self._ordered: deque[_Order] = deque()
        self._source: _Thread | _Processes
        if processes:
            self._source = _Processes(loader, self._orders(), processes, max(1, ahead), pin=pin, patience=patience)
        else:
            self._source = _Thread(loader, self._orders(), max(1, ahead), pin=pin, patience=patience)

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, index) of the first batch of the step whose turns are handed out next; to be asked between steps."""
        return self._ordered[0].start if self._ordered else self._next

    def __iter__(self) -> Iterator[Turn]:
        return self

    def __next__(self) -> Turn:
        """The next turn.

        Raises:
            Lost: the batch is not there in time, or the process that prepared it is gone.
        """
        try:
            batch = next(self._source)
        except _Late:
            epoch, index = self._ordered[0].start
            raise Lost(
                f"process {self._rank} has waited {(self._patience or 0) / 60:.0f} minutes for a batch of the step at "
                f"(epoch {epoch}, batch {index}): the file system with the corpus does not answer or is too "
                "slow; look at it and run the same command again (train.timeout_minutes raises the limit)"
            ) from None
        order = self._ordered.popleft()
        return Turn(order.place, batch, order.number % self._batches, counts=order.number < self._batches)

    def _orders(self) -> Iterator[Place]:
        """Places of this process's batches without end; what is ordered is remembered until it is handed out."""
        while True:
            start, step = self._next, [self._advance() for _ in range(self._batches)]
            for number in range(self._rank, self.rounds * self._world, self._world):
                order = _Order(start, step[number % self._batches], number)
                self._ordered.append(order)
                yield order.place

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

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Order:
    """A batch that is on its way: of which step (by its first batch), where it stands, its number in the step."""

    start: tuple[int, int]
    place: Place
    number: int


class _Late(Exception):
    """A batch did not come in time."""


class _Thread:
    """Batches prepared by a thread, in order."""

    def __init__(
        self, loader: Loader, places: Iterator[Place], ahead: int, *, pin: bool, patience: float | None
    ) -> None:
        self._loader, self._places, self._ahead, self._pin, self._patience = loader, places, ahead, pin, patience
        self._pool, self._stuck = ThreadPoolExecutor(max_workers=1), False
        self._waiting: deque[Future[Batch]] = deque()

    def __next__(self) -> Batch:
        while len(self._waiting) < self._ahead:
            self._waiting.append(self._pool.submit(self._read, next(self._places)))
        coming = self._waiting.popleft()
        try:
            return coming.result(self._patience)
        except TimeoutError:
            if coming.done():  # the loader's own
                raise
            self._stuck = True
            raise _Late from None

    def _read(self, place: Place) -> Batch:
        batch = self._loader.batch(place.epoch, place.index, place.texts)
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self._pin else batch

    def close(self) -> None:
        self._pool.shutdown(wait=not self._stuck, cancel_futures=True)


class _Processes:
    """Batches prepared by torch's DataLoader: forked processes, which share what the loader has mapped into memory."""

    def __init__(
        self,
        loader: Loader,
        places: Iterator[Place],
        count: int,
        ahead: int,
        *,
        pin: bool,
        patience: float | None,
    ) -> None:
        if "fork" not in multiprocessing.get_all_start_methods():
            raise SlonikError(f"train.loader_processes is {count}, and this system forks no processes: leave it at 0")
        self._loaded: DataLoader[Any] = DataLoader(
            _Batches(loader), batch_size=None, sampler=_Sampler(places), num_workers=count, prefetch_factor=ahead,
            pin_memory=pin, timeout=patience or 0, multiprocessing_context="fork",
        )  # fmt: skip
        self._found: Iterator[Any] | None = None

    def __next__(self) -> Batch:
        if self._found is None:  # processes are started where the first batch is wanted
            self._found = iter(self._loaded)
        try:
            batch = next(self._found)
        except RuntimeError as error:
            if "timed out" in str(error):
                raise _Late from None
            if "exited unexpectedly" in str(error):
                raise Lost(
                    "a process that prepares batches is gone (out of memory, or killed): run the same command again, "
                    "with fewer train.loader_processes if it happens again"
                ) from None
            raise
        if isinstance(batch, _Failed):
            raise batch.error
        return batch  # type: ignore[no-any-return]

    def close(self) -> None:
        self._found = None


@dataclass(frozen=True)
class _Failed:
    """What a process met with: raised as it is where the batch was wanted."""

    error: Exception


class _Batches(Dataset[Any]):
    """A loader as torch's DataLoader asks: by place."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getitem__(self, place: Place) -> Any:
        try:
            return self._loader.batch(place.epoch, place.index, place.texts)
        except Exception as error:
            return _Failed(error)


class _Sampler(Sampler[Place]):
    """Places in the order in which they are wanted."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return self._places


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
