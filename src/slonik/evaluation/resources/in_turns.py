"""Several encoders timed in turns, the clock and the processor's time side by side, and whether to trust the clock.

Each round takes the texts in small groups; every encoder does a group before the next group begins, and another one
begins each time, so that a busy spell of the machine falls on all alike. Before its group an encoder does one text that
does not count: its weights are in the caches then, as they are where it runs alone.

A clock that runs far ahead of the processor's time has measured waiting. Two loads of the same weights still differ by
a few per cent, for good, by where their pages lie: `REPEATABLE` says how far, and no smaller difference is called one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.evaluation.statistics import Interval, median_interval

GROUP = 10
"""Texts that one encoder does before the next one's turn."""
WAITING = 1.15
"""The clock over the processor's time, above which the machine was doing other things."""
DISAGREEMENT = 1.25
"""The greatest over the least paired ratio of the rounds, above which they tell nothing."""
REPEATABLE = 0.03
"""Share by which times of equal weights, loaded twice, may differ without a reason that anybody is interested in."""

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Turns:
    """Milliseconds of R rounds of N texts, of M encoders.

    Attributes:
        wall: (R, M, N) by the clock. cpu: (R, M, N) of all the process's threads.
    """

    wall: Times
    cpu: Times

    def ratio(self, own: int, reference: int, *, cpu: bool = False) -> list[float]:
        """How many times faster `own` was than `reference`, round by round."""
        sums = (self.cpu if cpu else self.wall).sum(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return [float(value) for value in sums[:, reference] / sums[:, own]]


def take_turns(
    calls: Sequence[Callable[[str], Any]],
    texts: Sequence[str],
    rounds: int,
    *,
    group: int = GROUP,
    on_round: Callable[[], None] = lambda: None,
) -> Turns:
    """Time every call on every text, one text a call.

    Args:
        calls: encoders, as functions of one text.
        rounds: passes over the texts that count.
        on_round: called after each.
    """
    wall, cpu = np.zeros((2, rounds, len(calls), len(texts)))
    with _no_collection():
        for turn in range(rounds):
            for place, start in enumerate(range(0, len(texts), group)):
                numbers = range(start, min(start + group, len(texts)))
                for shift in range(len(calls)):
                    which = (turn + place + shift) % len(calls)
                    calls[which](texts[numbers[0]])
                    for number in numbers:
                        wall[turn, which, number], cpu[turn, which, number] = _timed(calls[which], texts[number])
            on_round()
    return Turns(wall, cpu)


def _timed(call: Callable[[str], Any], text: str) -> tuple[float, float]:
    """Milliseconds by the clock and of the processor."""
    spent, began = time.process_time(), time.perf_counter()
    call(text)
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - spent)


@contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def distrust(wall: Sequence[float], cpu: Sequence[float], ratios: Sequence[float] = ()) -> str:
    """Why the clock is not to be trusted; "" where nothing speaks against it.

    Args:
        wall, cpu: milliseconds of everything that is compared, by round.
        ratios: of two systems, round by round.
    """
    waited = sum(wall) / max(sum(cpu), 1e-9)
    if waited > WAITING and sum(cpu) > 0:
        return f"the machine was busy with other work (the clock ran {waited:.2f} times the processor's time)"
    known = [value for value in ratios if np.isfinite(value) and value > 0]
    if len(known) > 1 and max(known) / min(known) > DISAGREEMENT:
        return f"the rounds disagree (from {min(known):.2f} to {max(known):.2f} times as fast)"
    return ""


def about(ratios: Sequence[float]) -> Interval:
    """The median of paired ratios with its interval, which is never narrower than what loading twice changes."""
    value = float(np.median(ratios))
    low, high = median_interval(ratios) or (value, value)
    return Interval(value, low / (1 + REPEATABLE), high * (1 + REPEATABLE))
