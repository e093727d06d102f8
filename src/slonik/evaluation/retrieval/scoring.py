"""Rankings to records and tables: metrics with intervals by bootstrap over queries, means over sets, differences.

Every system of a set is resampled with the same draws of its queries, so that replicates subtract. Nothing here ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.data.retrieval import RetrievalSet
from slonik.evaluation.retrieval.metrics import METRICS, per_query
from slonik.evaluation.retrieval.ranking import Ranking
from slonik.evaluation.statistics import Array, Mean, interval, paired_difference, replicates
from slonik.reporting.formatting import cell, difference_cell
from slonik.reporting.table import Content, Table
from slonik.text.lines import json_line

SUITE = "retrieval"
MEAN = "mean"
PROTOCOL = 1
DIFFERENCE = "difference"
SHOWN_DIFFERENCES = ("ndcg@10", "mrr@10")


@dataclass(frozen=True)
class Measured:
    """One metric of one system on one set: its record, its replicates, its value for each query (None of a mean)."""

    record: Record
    values: Array
    queries: Array | None = None


@dataclass
class SystemScores:
    """One system on the sets.

    Attributes:
        model: its name.
        baseline: it is there to compare with.
        first_stage: name of the system whose documents it puts into a new order; None: it finds them itself.
        rankings: set -> what it found.
        measured: (set, metric) -> what was measured.
    """

    model: str
    first_stage: str | None = None
    baseline: bool = False
    rankings: dict[str, Ranking] = field(default_factory=dict)
    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        return [found.record for found in self.measured.values()]

    def add(
        self, task: RetrievalSet, ranking: Ranking, *, variant: str, seed: int, seconds: float, identity: str,
        detail: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Score a ranking of a set."""
        self.rankings[task.name] = ranking
        facts = {**detail, "documents": len(task.document_ids)} | ({"baseline": True} if self.baseline else {})
        for metric, values in per_query(ranking.numbers, task.judged).items():
            statistic = Mean(values)
            drawn = replicates(statistic, seed=seed, sample=task.name)
            bounds = interval(float(values.mean()), drawn)
            hashes = {"data": task.identity, "protocol": sha256_json([PROTOCOL, metric])}
            record = Record(
                suite=SUITE, task=task.name, variant=variant, model=self.model, metric=metric, n=statistic.n, seed=seed,
                seconds=round(seconds, 3), detail=facts, hashes=hashes | ({"weights": identity} if identity else {}),
                **bounds.fields,
            )  # fmt: skip
            self.measured[task.name, metric] = Measured(record, drawn, values)

    def lines(self, task: RetrievalSet) -> list[str]:
        """The metrics of each query of a set, a line of JSON each."""
        values = {metric: self.measured[task.name, metric].queries for metric in METRICS}
        rows = [
            {"query": query, **{name: round(float(one[row]), 6) for name, one in values.items() if one is not None}}
            for row, query in enumerate(task.query_ids)
        ]
        return [f"{json_line(row)}\n" for row in rows]

    def add_means(self, tasks: Sequence[RetrievalSet]) -> None:
        """Means over several sets, each set's replicates being its own."""
        if len(tasks) < 2:
            return
        for metric in METRICS:
            members = [self.measured[task.name, metric] for task in tasks]
            records = [member.record for member in members]
            drawn = np.mean([member.values for member in members], axis=0)
            bounds = interval(float(np.mean([record.value for record in records])), drawn)
            hashes = {kind: sha256_json([one.hashes[kind] for one in records]) for kind in ("data", "protocol")}
            record = Record(
                suite=SUITE, task=MEAN, variant=records[0].variant, model=self.model, metric=metric,
                n=sum(one.n or 0 for one in records), seed=records[0].seed,
                seconds=sum(one.seconds or 0.0 for one in records), hashes=hashes,
                detail={"tasks": [task.name for task in tasks]}, **bounds.fields,
            )  # fmt: skip
            self.measured[MEAN, metric] = Measured(record, drawn)


def differences(systems: Sequence[SystemScores], baseline: str, *, without: Sequence[str] = ()) -> list[Record]:
    """Each system minus the baseline, minus its first stage, and minus the first system that is not the baseline.

    Args:
        baseline: name of a system, which may be missing. without: systems that nothing is compared with.

    Returns:
        Records with the difference as `value`, named "A - B".
    """
    named = {system.model: system for system in systems if system.model not in without}
    others = [system for system in named.values() if system.model != baseline]
    pairs: dict[tuple[str, str], None] = {}
    for system in others:
        for reference in (baseline, system.first_stage, others[0].model):
            if reference is not None and reference in named and reference != system.model:
                pairs[system.model, reference] = None
    return [record for own, other in pairs for record in _differences(named[own], named[other])]


def _differences(own: SystemScores, other: SystemScores) -> list[Record]:
    made = []
    for key, found in own.measured.items():
        base = other.measured.get(key)
        if base is None or base.record.value is None or found.record.value is None:
            continue
        change = paired_difference(base.record.value, base.values, found.record.value, found.values)
        record = found.record
        made.append(
            change.record(
                own.model, other.model, record.metric, metric=f"{record.metric}_{DIFFERENCE}", suite=SUITE,
                task=record.task, variant=record.variant, n=record.n, seed=record.seed,
                hashes={"data": record.hashes["data"]},
            )
        )  # fmt: skip
    return made


def score_tables(found: Sequence[SystemScores], sets: Sequence[RetrievalSet]) -> list[Table]:
    """One table for each set and one of the means: a row for each system, a column for each metric."""
    sizes = {task.name: f"{len(task.queries)} queries, {len(task.document_ids)} documents" for task in sets}
    titles = {name: f"retrieval: {name}" for name in sizes}
    titles |= {MEAN: "retrieval: mean over the sets"} if len(sets) > 1 else {}
    return [
        Table.grid(
            title,
            "model",
            {place: system.model for place, system in enumerate(found)},
            {metric: f"{metric} [95 %]" for metric in METRICS},
            lambda place, metric, name=name: cell(found[place].measured[name, metric].record),  # type: ignore[misc]
            notes=[f"{sizes.get(name, f'{len(sets)} sets')}; intervals: bootstrap over queries"],
            baselines=[place for place, system in enumerate(found) if system.baseline],
        )
        for name, title in titles.items()
    ]


def difference_tables(records: Sequence[Record]) -> list[Table]:
    """Paired differences of the metrics by which systems are chosen, with intervals and p-values."""
    lines: list[list[Content]] = [
        [one.model, one.task, str(one.detail["of"]), difference_cell(one), f"{one.detail['p_value']:.3f}"]
        for one in records
        if one.detail["of"] in SHOWN_DIFFERENCES
    ]
    note = "paired bootstrap over the same queries; the other metrics are in the records"
    columns = ("models", "set", "metric", "difference [95 %]", "p")
    return [Table.of("differences", columns, lines, (note,))] if lines else []
