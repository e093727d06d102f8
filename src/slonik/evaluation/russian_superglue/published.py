"""Published rows of the leaderboard, for tables: figures that other people measured, never measured here.

They stand in `published.tsv` with their source. All are of version 1.1 and of the hidden test sets, so they compare
with a submission's score and only roughly with a development set's.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from slonik.core.records import Record
from slonik.evaluation.russian_superglue.metrics import task_value
from slonik.evaluation.russian_superglue.tasks import SCORE, SUITE, TASKS, VERSION

_TABLE = Path(__file__).with_name("published.tsv")


@dataclass(frozen=True)
class PublishedRow:
    """One row of the leaderboard.

    Attributes:
        model, team: as printed.
        score: the nine-task score as printed.
        figures: task id -> its one or two figures; a task that was not published is absent.
        source: where the figures were read.
    """

    model: str
    team: str
    score: float
    figures: Mapping[str, tuple[float, ...]]
    source: str


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Every row of this version, best first."""
    rows = []
    with open(_TABLE, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if row["version"] != VERSION:
                continue
            figures = {task: tuple(map(float, row[task].split("/"))) for task in TASKS if row[task]}
            rows.append(
                PublishedRow(row["model"], row["team"], float(row["score"]), MappingProxyType(figures), row["source"])
            )
    return tuple(sorted(rows, key=lambda found: -found.score))


def published_records() -> list[Record]:
    """The rows as records that are marked as published: one per task and figure, and the score."""
    records = []
    for row in published_rows():
        detail = {"published": True, "source": row.source, "team": row.team, "split": "test"}
        for task, values in row.figures.items():
            for metric, value in zip(TASKS[task].metrics, values, strict=True):
                records.append(_record(task, row.model, metric, value, detail))
            if len(values) > 1:
                records.append(_record(task, row.model, "mean", task_value(values), detail))
        records.append(_record(SCORE, row.model, SCORE, row.score, detail))
    return records


def _record(task: str, model: str, metric: str, value: float, detail: Mapping[str, object]) -> Record:
    return Record(suite=SUITE, task=task, model=model, metric=metric, value=value, detail=dict(detail))
