"""Several systems measured side by side: each in a process of its own, all in turn, round after round.

All processes stay open; in each round every system runs the same texts before the next round begins, and the
order moves on by one, so that whatever else the machine does meets all of them. The first pass of each is not
counted. Cold starts are further processes that end after their first text. A system that fails or hangs is
reported and left out; the others go on.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.progress import Bar, progress_bar, shown
from slonik.core.records import Record
from slonik.core.run import Announce, say, silent
from slonik.evaluation.resources.engines import Absentee, System, choose_systems
from slonik.evaluation.resources.machine import busy_warning, describe_machine, machine_line
from slonik.evaluation.resources.measure import BATCHES, bench_texts, filled, speed_hashes
from slonik.evaluation.resources.speed_records import (
    Subject,
    latency_records,
    memory_record,
    rate_record,
    ratio_records,
    size_records,
    start_record,
)
from slonik.evaluation.resources.worker_process import WorkerFailed, WorkerProcess
from slonik.evaluation.suite import Evaluation, several
from slonik.models.kinds import is_checkpoint, resolve
from slonik.reporting.resources import headlines, resources_tables


@dataclass(frozen=True)
class BenchPlan:
    """How to measure.

    Attributes:
        texts: what is encoded.
        threads: of every system.
        rounds: counted passes at batch 1 and at the best batch.
        cold_starts: processes started for the cold start, the measured one included.
        batches: sizes of which each system's fastest is taken.
        timeout: seconds that one pass may take.
        reference: label, engine or model of the system that ratios refer to; None = the first.
    """

    texts: tuple[str, ...]
    threads: int = 1
    rounds: int = 5
    cold_starts: int = 3
    batches: tuple[int, ...] = BATCHES
    timeout: float = 600.0
    reference: str | None = None


@dataclass
class BenchResult:
    """Records of all systems, who could not take part, the machine, and warnings about the whole."""

    records: list[Record] = field(default_factory=list)
    absent: list[Absentee] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Entry:
    system: System
    worker: WorkerProcess
    starts: list[float] = field(default_factory=list)
    singles: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tried: dict[int, float] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    vectors: Any = None
    peak: int = 0

    @property
    def best(self) -> int:
        return max(self.tried, key=lambda size: self.tried[size])


def bench(
    models: str | Path | Sequence[str | Path],
    *,
    against: Sequence[str] = (),
    reference: str | None = None,
    texts: str | Path | Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    threads: int = 1,
    rounds: int = 5,
    cold_starts: int = 3,
    batches: Sequence[int] = BATCHES,
    timeout: float = 600.0,
    progress: bool = False,
    announce: Announce | None = None,
) -> Evaluation:
    """Speed and memory side by side: each system in its own process, all in turn, round after round.

    Args:
        models: folders, hub ids, `embedded:NAME` or names of baselines; an exported folder is measured with
            onnxruntime, one system per file, a checkpoint with torch.
        against: engines to compare with, keys of `ENGINES`.
        reference: label, engine or model that ratios refer to; None = the first of `against`, else the first model.
        texts: to encode, or a file of them; None = encodechka's three hundred where `data_dir` is given, else our own.
        limit: take the first so many texts.
        threads, rounds, cold_starts, batches, timeout: as in `BenchPlan`.
        progress: show a bar on standard error, and who is left out.
        announce: called with a line for each system that cannot take part, instead.

    Raises:
        SlonikError: an unknown engine, no such model or text, or nothing that could be measured.
    """
    started = time.perf_counter()
    said = announce or (say if progress else silent)
    systems, absent = choose_systems([str(model) for model in several(models)], against, _folder_of)
    for absentee in absent:
        said(f"left out: {absentee.label}: {absentee.reason}")
    if reference is None:
        reference = next((one.label for name in against for one in systems if one.engine == name), None)
    plan = BenchPlan(
        tuple(bench_texts(texts, data_dir, limit)), threads, rounds, cold_starts, tuple(batches), timeout, reference
    )
    with shown(progress):
        result = side_by_side(systems, plan)
    left_out = [f"left out: {one.label}: {one.reason}" for one in (*absent, *result.absent)]
    return Evaluation(
        records=tuple(result.records),
        tables=tuple(resources_tables(result.records)),
        warnings=(*left_out, *result.warnings),
        notes=tuple(headlines(result.records)),
        seconds=time.perf_counter() - started,
    )


def _folder_of(model: str) -> Path | None:
    """The checkpoint folder of a model; None for what is no checkpoint."""
    return resolve(model) if is_checkpoint(model) else None


def side_by_side(systems: Sequence[System], plan: BenchPlan) -> BenchResult:
    """Measure all systems; records are as in `speed_records`, plus task batch_1 metric `cosine` to the reference.

    Ratios refer to the first system where the reference failed, with a warning.

    Raises:
        SlonikError: the reference is none of the systems (before any work), or none of them could be measured.
    """
    _check_reference(systems, plan.reference)
    result = BenchResult(machine=describe_machine())
    if warning := busy_warning(result.machine):
        result.warnings.append(warning)
    steps = len(systems) * (plan.cold_starts + 2 * plan.rounds + len(plan.batches) + 2)
    with ExitStack() as stack, progress_bar("measuring", steps) as bar:
        entries = _start_all(systems, plan, result, stack, bar)
        _in_turn(entries, result, bar, lambda entry: _warm_up(entry, plan))
        for number in range(plan.rounds):
            _in_turn(_rotated(entries, number), result, bar, lambda entry: _single_pass(entry, plan))
        for size in plan.batches:
            _in_turn(entries, result, bar, lambda entry, size=size: _try_batch(entry, plan, size))  # type: ignore[misc]
        for number in range(plan.rounds):
            _in_turn(_rotated(entries, number), result, bar, lambda entry: _batch_pass(entry, plan))
        _in_turn(entries, result, bar, lambda entry: _finish(entry, plan))
    entries = [entry for entry in entries if not entry.worker.failed]
    if not entries:
        reasons = "; ".join(f"{absentee.label}: {absentee.reason}" for absentee in result.absent)
        raise SlonikError(f"no system could be measured{f' ({reasons})' if reasons else ''}")
    reference = next((entry for entry in entries if _is_called(entry.system, plan.reference)), entries[0])
    if not _is_called(reference.system, plan.reference):
        result.warnings.append(
            f"the reference {plan.reference} could not be measured: ratios refer to {reference.system.label}"
        )
    result.records = _records(entries, reference, plan, result.machine)
    return result


def _is_called(system: System, name: str | None) -> bool:
    return name is None or name in (system.label, system.engine, system.model)


def _check_reference(systems: Sequence[System], name: str | None) -> None:
    if systems and not any(_is_called(system, name) for system in systems):
        labels = ", ".join(system.label for system in systems)
        raise SlonikError(f"the reference {name!r} is none of those to be measured: {labels}")


def _start_all(
    systems: Sequence[System], plan: BenchPlan, result: BenchResult, stack: ExitStack, bar: Bar
) -> list[_Entry]:
    entries = []
    for system in systems:
        try:
            worker = stack.enter_context(WorkerProcess(system, plan.threads, plan.texts[0], plan.timeout))
            entries.append(_Entry(system, worker, [worker.start_seconds]))
        except WorkerFailed as error:
            result.absent.append(Absentee(system.label, str(error)))
        bar.advance(now=system.label)
    for _ in range(plan.cold_starts - 1):
        _in_turn(entries, result, bar, lambda entry: _cold_start(entry, plan))
    return entries


def _in_turn(entries: list[_Entry], result: BenchResult, bar: Bar, act: Callable[[_Entry], None]) -> None:
    """Let each system that has not failed act."""
    for entry in entries:
        if entry.worker.failed:
            continue
        bar.advance(now=entry.system.label)
        try:
            act(entry)
        except WorkerFailed as error:
            entry.worker.failed = True
            result.absent.append(Absentee(entry.system.label, str(error)))


def _rotated(entries: list[_Entry], number: int) -> list[_Entry]:
    shift = number % max(1, len(entries))
    return entries[shift:] + entries[:shift]


def _cold_start(entry: _Entry, plan: BenchPlan) -> None:
    with WorkerProcess(entry.system, plan.threads, plan.texts[0], plan.timeout) as worker:
        entry.starts.append(worker.start_seconds)


def _warm_up(entry: _Entry, plan: BenchPlan) -> None:
    packed = entry.worker.ask({"do": "vectors", "texts": plan.texts})["vectors"]
    rows = np.frombuffer(base64.b64decode(packed), dtype="<f4")
    entry.vectors = rows.reshape(len(plan.texts), entry.worker.dimension)


def _single_pass(entry: _Entry, plan: BenchPlan) -> None:
    answer = entry.worker.ask({"do": "singles", "texts": plan.texts})
    entry.singles.append(answer["ms"])
    entry.cpu.append(float(answer["cpu_ms"]))


def _try_batch(entry: _Entry, plan: BenchPlan, size: int) -> None:
    entry.tried[size] = _rate(entry, plan, size)


def _batch_pass(entry: _Entry, plan: BenchPlan) -> None:
    entry.rates.append(_rate(entry, plan, entry.best))


def _rate(entry: _Entry, plan: BenchPlan, size: int) -> float:
    texts = filled(plan.texts, size)
    return len(texts) / float(entry.worker.ask({"do": "batches", "texts": texts, "size": size})["seconds"])


def _finish(entry: _Entry, plan: BenchPlan) -> None:
    entry.peak = int(entry.worker.ask({"do": "memory"})["peak_bytes"])


def _records(entries: Sequence[_Entry], reference: _Entry, plan: BenchPlan, machine: dict[str, Any]) -> list[Record]:
    label = reference.system.label
    own = {entry.system: _own_records(entry, plan, machine) for entry in entries}
    found = []
    for entry in entries:
        subject = _subject(entry, plan, machine)
        found += own[entry.system]
        if entry is reference:
            continue
        found += ratio_records(subject, own[entry.system], own[reference.system], label)
        if entry.vectors.shape == reference.vectors.shape:
            cosine = _cosine(entry.vectors, reference.vectors)
            detail = {"against": label, "least": float(cosine.min())}
            found.append(subject.record("batch_1", "cosine", float(cosine.mean()), n=len(cosine), detail=detail))
    return found


def _subject(entry: _Entry, plan: BenchPlan, machine: dict[str, Any]) -> Subject:
    conditions = {"threads": plan.threads, "machine": machine_line(machine)}
    return Subject(entry.system.model, entry.system.engine, conditions, speed_hashes(plan.texts))


def _own_records(entry: _Entry, plan: BenchPlan, machine: dict[str, Any]) -> list[Record]:
    subject = _subject(entry, plan, machine)
    return [
        *latency_records(subject, entry.singles, entry.cpu),
        rate_record(subject, entry.rates, entry.best, entry.tried, len(filled(plan.texts, entry.best))),
        start_record(subject, entry.starts),
        memory_record(subject, entry.peak),
        *size_records(subject, entry.worker.facts, entry.worker.bytes_on_disk),
    ]


def _cosine(first: Any, second: Any) -> Any:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(norms, 1e-12)
