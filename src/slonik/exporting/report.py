"""What an export wrote and measured, as an object, as sentences, and as passport records.

Is a file faster? Torch and the files take turns on the same texts, one text at a time on one thread, and the ratio is
the answer, with its range over rounds. Until this has run, an export calls nothing faster; nor where the rounds
disagree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from slonik.core.records import Record
from slonik.core.run import Result
from slonik.exporting.parity import Agreement, Difference
from slonik.exporting.torch_graph import SentenceGraph
from slonik.reporting.table import Cell, Content, Table

_ROUNDS = 6  # the least and the most of six hold the median with 96.9 %
_TEXTS = 12
SUITE = "export"
_Run = Callable[[Any], object]


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

    def cell(self, name: str) -> Content:
        """Milliseconds per text with their range, for a table; nothing of what was not timed."""
        if name not in self.by_round:
            return ""
        low, high = self.spread(name)
        return Cell(f"{self.milliseconds[name]:.2f}", f"[{low:.2f}, {high:.2f}]")

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

    def in_torch(ids: NDArray[np.int64]) -> object:
        tensor = torch.from_numpy(ids)
        with torch.inference_mode():
            return graph(tensor, torch.ones_like(tensor))[1]

    def in_session(session: onnxruntime.InferenceSession, ids: NDArray[np.int64]) -> object:
        return session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    runs: dict[str, _Run] = {"torch": in_torch}
    runs |= {name: partial(in_session, session) for name, session in sessions.items()}
    return time_in_turns(runs, chosen)


def time_in_turns(runs: Mapping[str, _Run], items: Sequence[Any]) -> Speed:
    """Time each of `runs` on each of `items`, alternating after every item, torch on one thread."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in items] for name in runs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(_ROUNDS + 1):
            for place, item in enumerate(items):
                for name, run in runs.items():
                    started = time.perf_counter()
                    run(item)
                    if turn:  # the first round warms up
                        times[name][place].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    by_round = {name: tuple((np.mean(texts, axis=0) * 1000).tolist()) for name, texts in times.items()}
    return Speed(by_round, len(items))


@dataclass(frozen=True, kw_only=True)
class ExportReport(Result):
    """What was written to `checkpoint`, and measured.

    Attributes:
        sizes: bytes of each ONNX file by precision: "fp32", "int8", "fp16".
        difference: fp32 against torch.
        agreement: cosines of "int8" and "fp16" against fp32.
        speed: None when it was not measured.
        counts: matrices, smoothed inputs and tables in int8.
        hashes: sha256 of each ONNX file and of the calibration texts.
        scheme: of "int8": "dynamic" or "static"; "none" where there is no such file.
        judged: what a judge of the whole folder measured.
        limits: what the files cannot do, in sentences.
    """

    sizes: dict[str, int]
    difference: Difference
    agreement: dict[str, Agreement]
    speed: Speed | None
    counts: dict[str, int]
    hashes: dict[str, str]
    scheme: str
    judged: tuple[Record, ...]
    limits: tuple[str, ...]

    def table(self) -> Table:
        """A row per file: size, agreement with what it was made from, milliseconds per text with their range."""
        speed = self.speed
        lines: list[tuple[Content, ...]] = [("torch", "", "", speed.cell("torch"))] if speed else []
        for name, size in self.sizes.items():
            agreed = self.agreement.get(name)
            parity = (
                f"cosine to fp32: mean {agreed.mean_cosine:.5f}, lowest {agreed.min_cosine:.5f} ({agreed.texts} texts)"
                if agreed
                else f"largest difference to torch {self.difference.largest:.1e}"
            )
            lines.append((name, f"{size / 1e6:.1f}", parity, speed.cell(name) if speed else ""))
        return Table.of(f"exported to {self.checkpoint}", ("file", "MB", "agreement", "ms per text"), lines)

    def sentences(self) -> list[str]:
        """What is said under the table: speed, the judge's differences, and what the files cannot do."""
        found = self.speed_sentences()
        if self.speed is not None:
            found.append(f"(one text at a time, one thread, {self.speed.texts} texts)")
        for record in self.judged:
            if record.metric == "difference" and record.task == "mean_s5":
                found.append(
                    f"encodechka {record.task} ({record.variant}), {record.model}: {record.value:+.4f} "
                    f"[{record.low:+.4f}, {record.high:+.4f}]"
                )
        return [*found, *self.limits]

    def speed_sentences(self) -> list[str]:
        """One sentence per file; nothing is called faster unless it has been measured to be."""
        if self.speed is None:
            return ["speed was not measured, so no file is said to be faster"]
        return [self.speed.sentence(name) for name in self.speed.milliseconds if name != "torch"]

    @property
    def use(self) -> str:
        """How the folder is used, as code."""
        return f"slonik.load({str(self.checkpoint)!r}).encode([...])"

    def records_of(self, model: str) -> list[Record]:
        """Everything measured, under the name `model`, for a passport or --json."""

        def record(task: str, metric: str, value: float, n: int | None, **more: Any) -> Record:
            detail = more.pop("detail", {}) | ({"scheme": self.scheme} if task == "int8" else {})
            return Record(
                suite=SUITE, task=task, model=model, metric=metric, value=value, n=n, detail=detail,
                hashes=self.hashes, **more,
            )  # fmt: skip

        found = [record("fp32", "max_difference", self.difference.largest, len(self.difference.batches))]
        for name, agreed in self.agreement.items():
            found += [record(name, kind, getattr(agreed, kind), agreed.texts) for kind in ("mean_cosine", "min_cosine")]
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
