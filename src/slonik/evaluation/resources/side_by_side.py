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
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.numbers import check_count, check_number
from slonik.core.progress import Bar, progress_bar, shown
from slonik.core.records import Record
from slonik.core.run import Announce, say, silent
from slonik.evaluation.agreement import unit
from slonik.evaluation.resources.engines import Absentee, System, choose_systems
from slonik.evaluation.resources.machine import busy_warning, describe_machine, machine_line
from slonik.evaluation.resources.measure import BATCHES, Timings, bench_texts, speed_hashes
from slonik.evaluation.resources.speed_records import Subject, ratio_records, size_records, start_record
from slonik.evaluation.resources.worker_process import WorkerFailed, WorkerProcess
from slonik.evaluation.suite import Evaluation, several
from slonik.models.kinds import exported_folder, is_checkpoint, resolve
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


class _Entry(Timings):
    """A system in its process, with what was measured of it so far."""

    def __init__(self, system: System, worker: WorkerProcess, plan: BenchPlan) -> None:
        super().__init__(worker.ask, plan.texts)
        self.system, self.worker, self.plan = system, worker, plan
        self.starts = [worker.start_seconds]
        self.vectors: Any = None
        self.peak = self.cut = 0

    def warm_up(self) -> None:
        told = self.ask({"do": "vectors", "texts": self.texts})
        self.cut = int(told.get("cut", 0))
        rows = np.frombuffer(base64.b64decode(told["vectors"]), dtype="<f4")
        self.vectors = rows.reshape(len(self.texts), self.worker.dimension)

    def cold_start(self) -> None:
        with WorkerProcess(self.system, self.plan.threads, self.texts[0], self.plan.timeout) as worker:
            self.starts.append(worker.start_seconds)

    def memory(self) -> None:
        self.peak = int(self.ask({"do": "memory"})["peak_bytes"])


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
    for name, count in {"threads": threads, "rounds": rounds, "cold_starts": cold_starts}.items():
        check_count(name, count)
    for size in batches:
        check_count("batches", size)
    check_number("timeout", timeout, above=0)
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
    """The folder that a model is opened from; None for what is no checkpoint."""
    return (exported_folder(model) or resolve(model)) if is_checkpoint(model) else None


def side_by_side(systems: Sequence[System], plan: BenchPlan) -> BenchResult:
    """Measure all systems; records are as in `speed_records`, plus task batch_1 metric `cosine` to the reference.

    Ratios refer to the first system where the reference failed, with a warning.

    Raises:
        SlonikError: the reference is none of the systems (before any work), or none of them could be measured.
    """
    if systems and not any(_is_called(system, plan.reference) for system in systems):
        labels = ", ".join(system.label for system in systems)
        raise SlonikError(f"the reference {plan.reference!r} is none of those to be measured: {labels}")
    result = BenchResult(machine=describe_machine())
    if warning := busy_warning(result.machine):
        result.warnings.append(warning)
    steps = len(systems) * (plan.cold_starts + 2 * plan.rounds + len(plan.batches) + 2)
    with ExitStack() as stack, progress_bar("measuring", steps) as bar:
        entries = _start_all(systems, plan, result, stack, bar)
        _in_turn(entries, result, bar, _Entry.warm_up)
        for number in range(plan.rounds):
            _in_turn(_rotated(entries, number), result, bar, _Entry.single_pass)
        for size in plan.batches:
            _in_turn(entries, result, bar, methodcaller("try_batch", size))
        for number in range(plan.rounds):
            _in_turn(_rotated(entries, number), result, bar, _Entry.batch_pass)
        _in_turn(entries, result, bar, _Entry.memory)
    entries = [entry for entry in entries if not entry.worker.failed]
    if not entries:
        reasons = "; ".join(f"{absentee.label}: {absentee.reason}" for absentee in result.absent)
        raise SlonikError(f"no system could be measured{f' ({reasons})' if reasons else ''}")
    reference = next((entry for entry in entries if _is_called(entry.system, plan.reference)), entries[0])
    if not _is_called(reference.system, plan.reference):
        result.warnings.append(
            f"the reference {plan.reference} could not be measured: ratios refer to {reference.system.label}"
        )
    result.warnings += [
        f"{entry.system.label}: {entry.cut:,} of {len(plan.texts):,} texts are longer than the "
        f"{entry.worker.facts.get('max_length')} tokens that it reads: it is timed on their beginnings"
        for entry in entries
        if entry.cut
    ]
    result.records = _records(entries, reference, plan, result.machine)
    for record in result.records:
        if record.metric in ("ratio", "cpu_ratio") and record.detail.get("trusted") is False:
            doubt = f"{record.model} [{record.variant}], {record.task} {record.metric}: not to be trusted, "
            result.warnings.append(doubt + str(record.detail["warnings"][0]))
    return result


def _is_called(system: System, name: str | None) -> bool:
    return name is None or name in (system.label, system.engine, system.model)


def _start_all(
    systems: Sequence[System], plan: BenchPlan, result: BenchResult, stack: ExitStack, bar: Bar
) -> list[_Entry]:
    entries = []
    for system in systems:
        try:
            worker = stack.enter_context(WorkerProcess(system, plan.threads, plan.texts[0], plan.timeout))
            entries.append(_Entry(system, worker, plan))
        except WorkerFailed as error:
            result.absent.append(Absentee(system.label, str(error)))
        bar.advance(now=system.label)
    for _ in range(plan.cold_starts - 1):
        _in_turn(entries, result, bar, _Entry.cold_start)
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


def _records(entries: Sequence[_Entry], reference: _Entry, plan: BenchPlan, machine: dict[str, Any]) -> list[Record]:
    label = reference.system.label
    conditions, hashes = {"threads": plan.threads, "machine": machine_line(machine)}, speed_hashes(plan.texts)
    subjects = {one.system: Subject(one.system.model, one.system.engine, conditions, hashes) for one in entries}
    own = {
        one.system: [
            *one.records(subjects[one.system]),
            start_record(subjects[one.system], one.starts),
            subjects[one.system].record("memory", "peak_bytes", one.peak, n=1),
            *size_records(subjects[one.system], one.worker.facts, one.worker.bytes_on_disk),
        ]
        for one in entries
    }
    found = []
    for entry in entries:
        subject = subjects[entry.system]
        found += own[entry.system]
        if entry is reference:
            continue
        found += ratio_records(subject, own[entry.system], own[reference.system], label)
        if entry.vectors.shape == reference.vectors.shape:
            cosine = (unit(entry.vectors) * unit(reference.vectors)).sum(axis=1)
            detail = {"against": label, "least": float(cosine.min())}
            found.append(subject.record("batch_1", "cosine", float(cosine.mean()), n=len(cosine), detail=detail))
    return found
