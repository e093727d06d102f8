"""Timings to result records, the same way for a measurement in this process and for one side by side.

Task and metric names, suite `resources`, variant = the engine:

    batch_1      ms_per_text (median over rounds of the mean over texts), p50_ms, p95_ms, p99_ms (of the texts,
                 median over rounds), cpu_ms_per_text (processor time of all threads, which varies less than the
                 clock's on a busy machine)
    best_batch   texts_per_second
    cold_start   seconds (process start to the first vector)
    memory       peak_bytes
    size         bytes, parameters, embedding_parameters, encoder_parameters, flops_per_text

Intervals are bootstrap intervals over rounds. `ratio` records say how many times better a system is than the
reference named in `detail["against"]`, always larger = better (`cpu_ratio`: of processor time); where both were
timed in the same rounds the ratio is taken round by round, and where the machine was busy or the rounds disagree its
`detail` has `trusted` False and says why: the processor's time is to be read then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import median
from typing import Any

import numpy as np

from slonik.core.records import Record
from slonik.evaluation.resources.in_turns import about, distrust
from slonik.evaluation.statistics import interval_of, median_interval, quartiles

SUITE = "resources"
_SIZE_METRICS = ("parameters", "embedding_parameters", "encoder_parameters", "flops_per_text")
# A percentile of fewer texts than this is its greatest value or an interpolation next to it.
_ENOUGH_FOR_P99 = 100


@dataclass(frozen=True)
class Subject:
    """Whose records these are, and under which conditions.

    Attributes:
        model, engine: become `model` and `variant` of the records.
        conditions: threads, machine and the like, put into every record's detail.
        hashes: of the texts and of the protocol; values with other hashes are not comparable.
    """

    model: str
    engine: str
    conditions: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def record(
        self,
        task: str,
        metric: str,
        value: float | None,
        ends: tuple[float, float] | None = None,
        *,
        n: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Record:
        """One record of this subject; `ends` are those of its interval."""
        low, high = ends or (None, None)
        return Record(
            suite=SUITE, task=task, variant=self.engine, model=self.model, metric=metric, value=value, low=low,
            high=high, n=n, detail={**self.conditions, **(detail or {})}, hashes=dict(self.hashes),
        )  # fmt: skip


def latency_records(subject: Subject, rounds: Sequence[Sequence[float]], cpu: Sequence[float]) -> list[Record]:
    """Records of task batch_1.

    Args:
        rounds: milliseconds of each text, one list per round.
        cpu: mean milliseconds of processor time per text, one per round.
    """
    means = [float(np.mean(times)) for times in rounds]
    n = len(rounds[0])
    records = [
        subject.record("batch_1", "ms_per_text", median(means), median_interval(means), n=n, detail=_runs(means))
    ]
    for rank in (50, 95, 99):
        each = [float(np.percentile(times, rank)) for times in rounds]
        few = rank == 99 and n < _ENOUGH_FOR_P99
        detail = {"warnings": [f"only {n} texts for this percentile"]} if few else {}
        ends = median_interval(each)
        records.append(subject.record("batch_1", f"p{rank}_ms", median(each), ends, n=n, detail=detail))
    ends = median_interval(cpu)
    records.append(subject.record("batch_1", "cpu_ms_per_text", median(cpu), ends, n=n, detail=_runs(cpu)))
    return records


def rate_record(subject: Subject, rates: Sequence[float], batch: int, tried: Mapping[int, float], n: int) -> Record:
    """The record of task best_batch.

    Args:
        rates: texts per second at the best batch, one per round.
        batch: that batch's size.
        tried: texts per second at each size that was tried.
        n: texts per round.
    """
    detail = _runs(rates) | {"batch_size": batch, "tried": {str(size): round(rate, 2) for size, rate in tried.items()}}
    return subject.record("best_batch", "texts_per_second", median(rates), median_interval(rates), n=n, detail=detail)


def start_record(subject: Subject, seconds: Sequence[float]) -> Record:
    """The record of task cold_start."""
    ends = median_interval(seconds)
    return subject.record("cold_start", "seconds", median(seconds), ends, n=len(seconds), detail=_runs(seconds))


def size_records(subject: Subject, facts: Mapping[str, Any], on_disk: int | None = None) -> list[Record]:
    """Records of task size from what `Encoder.describe` says; what it does not say is left out.

    Args:
        on_disk: bytes of the files that the engine reads; None takes the weights' bytes from `facts`.
    """
    size = on_disk or facts.get("bytes")
    found = [subject.record("size", "bytes", size)] if size else []
    for metric in _SIZE_METRICS:
        value = facts.get(metric)
        if isinstance(value, int | float):
            detail = {"tokens": facts.get("text_tokens")} if metric == "flops_per_text" else {}
            found.append(subject.record("size", metric, value, detail=detail))
    return found


def ratio_records(subject: Subject, own: Sequence[Record], reference: Sequence[Record], label: str) -> list[Record]:
    """How many times better `own` is than `reference` (called `label`), for every metric that both have."""
    wanted = ("ms_per_text", "cpu_ms_per_text", "texts_per_second", "seconds", "peak_bytes", "bytes")
    theirs = {record.metric: record for record in reference if record.metric in wanted}
    doubts = _doubts(own, theirs)
    found = []
    for record in own:
        other = theirs.get(record.metric)
        if other is None or not record.value or not other.value:
            continue
        made = _ratio(subject, record, other, label)
        if doubt := doubts.get(record.metric, ""):
            made = made.model_copy(update={"detail": made.detail | {"trusted": False, "warnings": [doubt]}})
        found.append(made)
    return found


def _doubts(own: Sequence[Record], theirs: Mapping[str, Record]) -> dict[str, str]:
    """Metric of a speed -> why the ratio is not to be trusted; by the clock and the processor's time at batch 1."""
    runs = {
        metric: [each.detail.get("runs", []) for each in (record, theirs[metric])]
        for metric in ("ms_per_text", "cpu_ms_per_text", "texts_per_second")
        for record in own
        if record.metric == metric and metric in theirs
    }
    if not all(metric in runs for metric in ("ms_per_text", "cpu_ms_per_text")):
        return {}
    wall, cpu = ([*chain(*runs[metric])] for metric in ("ms_per_text", "cpu_ms_per_text"))
    busy = distrust(wall, cpu)
    found: dict[str, str] = {metric: busy or distrust([], [], _paired(*both)) for metric, both in runs.items()}
    return found | {"cpu_ms_per_text": distrust([], [], _paired(*runs["cpu_ms_per_text"]))}


def _paired(first: Sequence[float], second: Sequence[float]) -> list[float]:
    if len(first) != len(second):
        return []
    return [above / below for above, below in zip(first, second, strict=True) if below]


def _ratio(subject: Subject, own: Record, other: Record, label: str) -> Record:
    assert own.value and other.value
    top, down = (own, other) if own.metric == "texts_per_second" else (other, own)
    above, below = top.detail.get("runs", []), down.detail.get("runs", [])
    detail: dict[str, Any] = {"against": label, "of": own.metric}
    metric = "cpu_ratio" if own.metric == "cpu_ms_per_text" else "ratio"
    in_same_rounds = above and len(above) == len(below) and own.task != "cold_start"
    if in_same_rounds:
        ratio = about(_paired(above, below))
        ends = (ratio.low, ratio.high) if len(above) > 1 else None
        return subject.record(own.task, metric, ratio.value, ends, n=len(above), detail=detail)
    assert top.value and down.value
    ends = None
    if above and below:
        ends = interval_of(lambda first, second: np.median(first, axis=1) / np.median(second, axis=1), above, below)
    return subject.record(own.task, metric, top.value / down.value, ends, detail=detail)


def _runs(values: Sequence[float]) -> dict[str, Any]:
    low, high = quartiles(values)
    return {"q25": low, "q75": high, "runs": [float(f"{value:.6g}") for value in values]}
