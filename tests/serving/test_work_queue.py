"""What every queue promises: bounds, every job done once, nothing left behind when it stops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from slonik.serving.errors import ApiError
from slonik.serving.metrics import Metrics
from slonik.serving.work_queue import WorkQueue, hand_over


class Tally(WorkQueue[str]):
    """Writes down the letters of words, one letter a step; waits for `open` before each."""

    def __init__(self, max_queue: int = 10, workers: int = 1, seconds_each: float = 0.0, inertia: float = 0.9) -> None:
        self.metrics = Metrics()
        super().__init__(
            "tally", "letters", max_queue, self.metrics.of_model("tally"), workers=workers, seconds_each=seconds_each,
            inertia=inertia,
        )  # fmt: skip
        self.open = threading.Event()
        self.written: list[str] = []
        self.seconds = 1.0

    def put(self, word: str) -> None:
        self._put(word, len(word))

    def cancel(self, word: str) -> None:
        with self._changed:
            self._forget(word, len(word))

    def _step(self) -> None:
        with self._changed:
            if not self._jobs:
                return
            word = self._jobs.popleft()
            if word[1:]:
                self._jobs.appendleft(word[1:])
            self._waiting -= 1
        self.open.wait(60)  # a test that failed must not hang
        self.written.append(word[0])
        self._done(1, 1, self.seconds)


@pytest.fixture
def tally() -> Iterator[Tally]:
    """A queue that has not started; stopped at the end."""
    queue = Tally()
    yield queue
    queue.open.set()
    queue.stop()


def depth(queue: Tally) -> str:
    page = queue.metrics.exposition().decode()
    return next(line for line in page.splitlines() if line.startswith("slonik_queue_depth{")).rsplit(" ", 1)[1]


@pytest.mark.parametrize("workers", [1, 3])
def test_everything_that_waits_is_done_before_the_end(workers: int) -> None:
    queue = Tally(max_queue=100, workers=workers)
    for word in ("слон", "снег", "мост"):
        queue.put(word)
    queue.start()
    queue.put("да")
    queue.open.set()
    queue.stop()
    assert sorted(queue.written) == sorted("слонснегмостда")
    assert not any(thread.is_alive() for thread in threading.enumerate() if thread.name == "tally")
    assert depth(queue) == "0.0"


def test_units_are_bounded_but_a_large_job_is_taken_when_nothing_waits(tally: Tally) -> None:
    tally.put("абвгдежзиклмн")
    with pytest.raises(ApiError, match="13 letters are waiting and at most 10 may") as refused:
        tally.put("о")
    assert refused.value.status == 429
    tally.cancel("абвгдежзиклмн")
    assert depth(tally) == "0.0"
    tally.put("абвгдежзик")
    with pytest.raises(ApiError):
        tally.put("л")
    tally.start()
    tally.open.set()
    tally.stop()
    assert tally.written == list("абвгдежзик")


def test_how_long_a_unit_takes_decides_when_to_come_back() -> None:
    queue = Tally(max_queue=4, seconds_each=2.0, inertia=0.5)
    queue.open.set()
    queue.put("да")
    assert queue._retry_seconds() == 4
    queue.seconds = 6.0
    queue.start()
    queue.stop()
    assert queue._seconds_each == pytest.approx(0.5 * (0.5 * 2 + 0.5 * 6) + 0.5 * 6)
    queue.put("абв")
    assert queue._retry_seconds() == 15  # three letters of five seconds
    queue._seconds_each = 1000.0
    assert queue._retry_seconds() == 60


def test_an_answer_to_a_loop_that_is_gone_is_let_go() -> None:
    loop = asyncio.new_event_loop()
    got: list[int] = []
    assert hand_over(loop, got.append, 1)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert got == [1]
    assert not hand_over(loop, got.append, 2)
