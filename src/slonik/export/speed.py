"""Is a file faster? Contenders take turns on the same texts, and the medians' ratio is the answer.

One text at a time, one thread. Until this has run, an export calls nothing faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from slonik.export.torch_graph import SentenceGraph

_ROUNDS = 5
_TEXTS = 12
Run = Callable[[NDArray[np.int64]], object]


@dataclass(frozen=True)
class Speed:
    """Median milliseconds per text by contender, over `texts` texts and `rounds` alternating rounds."""

    milliseconds: dict[str, float]
    texts: int
    rounds: int

    def ratio(self, name: str, against: str = "torch") -> float:
        """How many times faster `name` is than `against`."""
        return self.milliseconds[against] / self.milliseconds[name]

    def sentence(self, name: str, against: str = "torch") -> str:
        """What may be said about `name`."""
        ratio = self.ratio(name, against)
        word = "faster" if ratio > 1.03 else "slower" if ratio < 0.97 else None
        if word is None:
            return f"{name} is as fast as {against}"
        return f"{name} is {max(ratio, 1 / ratio):.2f} times {word} than {against}"


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
    medians = {name: float(np.mean([np.median(t) for t in texts])) * 1000 for name, texts in times.items()}
    return Speed(medians, len(chosen), _ROUNDS)


def _torch_run(graph: SentenceGraph) -> Run:
    def run(ids: NDArray[np.int64]) -> object:
        tensor = torch.from_numpy(ids)
        with torch.inference_mode():
            return graph(tensor, torch.ones_like(tensor))[1]

    return run


def _session_run(session: onnxruntime.InferenceSession) -> Run:
    return lambda ids: session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
