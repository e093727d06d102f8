"""Is a file faster? Contenders take turns on the same texts, and the ratio is the answer, with its range over rounds.

One text at a time, one thread. Until this has run, an export calls nothing faster; nor where the rounds disagree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from slonik.exporting.torch_graph import SentenceGraph

_ROUNDS = 6  # the least and the most of six hold the median with 96.9 %
_TEXTS = 12
Run = Callable[[NDArray[np.int64]], object]


@dataclass(frozen=True)
class Speed:
    """Milliseconds per text of every contender in every one of the alternating rounds, means over `texts` texts."""

    by_round: dict[str, tuple[float, ...]]
    texts: int

    @property
    def rounds(self) -> int:
        """How often everyone took a turn."""
        return len(next(iter(self.by_round.values())))

    @property
    def milliseconds(self) -> dict[str, float]:
        """Median over rounds by contender."""
        return {name: float(np.median(rounds)) for name, rounds in self.by_round.items()}

    def spread(self, name: str) -> tuple[float, float]:
        """Milliseconds per text of its fastest and slowest round."""
        return min(self.by_round[name]), max(self.by_round[name])

    def ratio(self, name: str, against: str = "torch") -> tuple[float, float, float]:
        """How many times faster `name` is than `against`: median, least and most of the rounds, each within itself."""
        pairs = zip(self.by_round[against], self.by_round[name], strict=True)
        ratios = [other / own for other, own in pairs]
        return float(np.median(ratios)), min(ratios), max(ratios)

    def sentence(self, name: str, against: str = "torch") -> str:
        """What may be said about `name`."""
        ratio, low, high = self.ratio(name, against)
        if low > 1:
            return (
                f"{name} is {ratio:.2f} times faster than {against} ({low:.2f} to {high:.2f} in {self.rounds} rounds)"
            )
        if high < 1:
            slower = f"{1 / ratio:.2f} times slower than {against} ({1 / high:.2f} to {1 / low:.2f}"
            return f"{name} is {slower} in {self.rounds} rounds)"
        return f"{name} is not surely faster or slower than {against} ({low:.2f} to {high:.2f} times its speed)"


def measure(
    sessions: Mapping[str, onnxruntime.InferenceSession], graph: SentenceGraph, rows: Sequence[list[int]]
) -> Speed:
    """Time torch and each session on up to 12 of `rows`, alternating after every text."""
    chosen = [np.array([row], dtype=np.int64) for row in rows[:: max(1, len(rows) // _TEXTS)][:_TEXTS]]
    runs: dict[str, Run] = {"torch": _torch_run(graph)}
    runs |= {name: _session_run(session) for name, session in sessions.items()}
    times: dict[str, list[list[float]]] = {name: [[] for _ in chosen] for name in runs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(_ROUNDS + 1):
            for place, ids in enumerate(chosen):
                for name, run in runs.items():
                    started = time.perf_counter()
                    run(ids)
                    if turn:  # the first round warms up
                        times[name][place].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    by_round = {name: tuple((np.mean(texts, axis=0) * 1000).tolist()) for name, texts in times.items()}
    return Speed(by_round, len(chosen))


def _torch_run(graph: SentenceGraph) -> Run:
    def run(ids: NDArray[np.int64]) -> object:
        tensor = torch.from_numpy(ids)
        with torch.inference_mode():
            return graph(tensor, torch.ones_like(tensor))[1]

    return run


def _session_run(session: onnxruntime.InferenceSession) -> Run:
    return lambda ids: session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
