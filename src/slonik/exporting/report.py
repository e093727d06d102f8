"""What an export wrote and measured, as an object, as sentences, and as passport records.

Is a file faster? Torch and the files take turns on the same texts, one text at a time on one thread, and the ratio is
the answer, with its range over rounds. Until this has run, an export calls nothing faster; nor where the rounds
disagree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from slonik.core.records import Record
from slonik.exporting.parity import Agreement, Difference
from slonik.exporting.torch_graph import SentenceGraph

_ROUNDS = 6  # the least and the most of six hold the median with 96.9 %
_TEXTS = 12
_Encode = Callable[[NDArray[np.int64]], object]


@dataclass(frozen=True)
class Speed:
    """Milliseconds per text of torch and of every file in each of the alternating rounds, means over `texts` texts."""

    by_round: dict[str, tuple[float, ...]]
    texts: int

    @property
    def rounds(self) -> int:
        """How often each took a turn."""
        return len(next(iter(self.by_round.values())))

    @property
    def milliseconds(self) -> dict[str, float]:
        """Median over rounds by name."""
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


def time_files(
    sessions: Mapping[str, onnxruntime.InferenceSession], graph: SentenceGraph, rows: Sequence[list[int]]
) -> Speed:
    """Time torch and each session on up to 12 of `rows`, alternating after every text."""
    chosen = [np.array([row], dtype=np.int64) for row in rows[:: max(1, len(rows) // _TEXTS)][:_TEXTS]]
    runs: dict[str, _Encode] = {"torch": _torch_run(graph)}
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


def _torch_run(graph: SentenceGraph) -> _Encode:
    def run(ids: NDArray[np.int64]) -> object:
        tensor = torch.from_numpy(ids)
        with torch.inference_mode():
            return graph(tensor, torch.ones_like(tensor))[1]

    return run


def _session_run(session: onnxruntime.InferenceSession) -> _Encode:
    return lambda ids: session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})


SUITE = "export"


@dataclass(frozen=True)
class ExportReport:
    """What was written and measured.

    Attributes:
        folder: where.
        sizes: bytes of each ONNX file by precision: "fp32", "int8", "fp16".
        difference: fp32 against torch.
        agreement: cosines of "int8" and "fp16" against fp32.
        speed: None when it was not measured.
        counts: matrices, smoothed inputs and tables in int8.
        hashes: sha256 of each ONNX file and of the calibration texts.
        limits: what the files cannot do, in sentences.
        judged: what a judge of the whole folder measured.
        scheme: of "int8": "dynamic" or "static"; "none" where there is no such file.
    """

    folder: Path
    sizes: dict[str, int]
    difference: Difference
    agreement: dict[str, Agreement]
    speed: Speed | None
    counts: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    judged: tuple[Record, ...] = ()
    scheme: str = "none"

    def speed_sentences(self) -> list[str]:
        """One sentence per file; nothing is called faster unless it has been measured to be."""
        if self.speed is None:
            return ["speed was not measured, so no file is said to be faster"]
        return [self.speed.sentence(name) for name in self.speed.milliseconds if name != "torch"]

    def records(self, model: str) -> list[Record]:
        """Everything measured, for a passport or --json."""

        def record(task: str, metric: str, value: float, n: int | None, **more: Any) -> Record:
            detail = more.pop("detail", {}) | ({"scheme": self.scheme} if task == "int8" else {})
            return Record(
                suite=SUITE, task=task, model=model, metric=metric, value=value, n=n, detail=detail,
                hashes=self.hashes, **more,
            )  # fmt: skip

        found = [record("fp32", "max_difference", self.difference.largest, len(self.difference.batches))]
        for name, agreed in self.agreement.items():
            metrics = agreed.as_dict()
            found += [record(name, metric, metrics[metric], agreed.texts) for metric in ("mean_cosine", "min_cosine")]
        found += [record(name, "bytes", size, None) for name, size in self.sizes.items()]
        if self.speed is not None:
            for name, milliseconds in self.speed.milliseconds.items():
                low, high = self.speed.spread(name)
                ratio, least, most = self.speed.ratio(name)
                detail = {
                    "threads": 1,
                    "rounds": self.speed.rounds,
                    "interval": "range of the rounds, 96.9 % for their median",
                }
                detail |= {"times_faster_than_torch": ratio, "least_times": least, "most_times": most}
                texts = self.speed.texts
                found.append(record(name, "ms_per_text", milliseconds, texts, low=low, high=high, detail=detail))
        return [*found, *(one.model_copy(update={"model": f"{model} ({one.model})"}) for one in self.judged)]
