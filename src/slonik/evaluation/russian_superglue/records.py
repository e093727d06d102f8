"""Answers to records: each metric with its interval, a task's mean of two, the nine-task score, paired differences.

Every record of one task comes from the same resamples, so that two models' replicates subtract and nine tasks'
replicates average. LiDiRus has its linguistic categories in the detail of its record: how a model does on negation,
on quantifiers, on common sense. Rows that other people published stand beside, marked as such.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.evaluation.comparison import mcnemar
from slonik.evaluation.russian_superglue.metrics import (
    TaskMean,
    hits_of,
    is_right,
    nine_task_score,
    statistics_of,
    task_value,
)
from slonik.evaluation.russian_superglue.parts import Part
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.readers import LINGUISTIC
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, SCORE, SUITE, TASKS, VERSION, Example
from slonik.evaluation.statistics import Array, interval, paired_difference, replicates

MEAN = "mean"  # metric of a task's mean of two
LEAST = {"matthews": -1.0}
_PUBLISHED = Path(__file__).with_name("published.tsv")


@dataclass(frozen=True)
class Scored:
    """One model on one task.

    Attributes:
        records: one per metric, and their mean where there are two.
        values: metric -> (B,) replicates.
        hits: whether each unit is right, for McNemar's test.
        part: what was answered.
    """

    records: tuple[Record, ...]
    values: Mapping[str, Array]
    hits: tuple[bool, ...]
    part: Part = field(repr=False)

    @property
    def main(self) -> Record:
        """What the task counts by: its metric, or the mean of its two."""
        return self.records[-1]


def scored(
    part: Part,
    predictions: Sequence[Prediction],
    model: str,
    *,
    seed: int = 0,
    seconds: float | None = None,
    weights: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Scored:
    """Records of one model's answers to one part.

    Args:
        seed: of the bootstrap.
        seconds: time that answering took.
        weights: hash of the model.

    Raises:
        SlonikError: items without labels, or answers to others.
    """
    statistics = dict(statistics_of(part.task.id, part.examples, predictions))
    wanted: dict[str, Any] = dict(statistics)
    if len(statistics) > 1:
        wanted[MEAN] = TaskMean(list(statistics.values()))
    values, records = {}, []
    hashes = {**part.hashes(), **({"weights": weights} if weights else {})}
    facts = {"split": part.split, "items": len(part.examples), "fitted_on": part.fitted_on, **(detail or {})}
    rows, drawn = len({example.cluster for example in part.examples}), next(iter(statistics.values())).n
    facts |= {"drawn": drawn} if drawn != rows else {}
    if part.task.id == "lidirus" and (categories := by_category(part.examples, predictions, seed=seed)):
        facts["categories"] = categories
    for metric, statistic in wanted.items():
        values[metric] = replicates(statistic, seed=seed, sample=f"{part.task.id} {part.split}")
        bounds = interval(statistic.value, values[metric], n=statistic.n, least=LEAST.get(metric, 0.0))
        records.append(
            Record(
                suite=SUITE, task=part.task.id, model=model, metric=metric, n=rows, seed=seed, seconds=seconds,
                detail=facts | bounds.told, hashes=hashes, **bounds.fields,
            )
        )  # fmt: skip
    hits = tuple(hits_of(part.task.id, part.examples, predictions))
    return Scored(tuple(records), values, hits, part)


def score_record(found: Mapping[str, Scored], model: str, *, seed: int = 0) -> Record | None:
    """The nine-task score with its interval; None where a task is missing."""
    value = nine_task_score({task: [float(one.main.value or 0)] for task, one in found.items()})
    if value is None:
        return None
    members = [found[task] for task in TASKS]
    values = np.mean([member.values[member.main.metric] for member in members], axis=0)
    bounds = interval(value, values)
    data = sha256_json([member.main.hashes["data"] for member in members])
    protocol = sha256_json([PROTOCOL, [member.main.hashes["protocol"] for member in members]])
    return Record(
        suite=SUITE, task=SCORE, model=model, metric=SCORE, n=sum(member.main.n or 0 for member in members), seed=seed,
        detail={"splits": {task: found[task].part.split for task in TASKS}},
        hashes={"data": data, "protocol": protocol}, **bounds.fields,
    )  # fmt: skip


def difference_records(
    model: str, own: Mapping[str, Scored], against: str, other: Mapping[str, Scored]
) -> list[Record]:
    """`model` minus `against` on every task that both answered: paired bootstrap, and McNemar's test in `detail`."""
    records = []
    for task, first in own.items():
        second = other.get(task)
        if second is None or second.main.hashes["data"] != first.main.hashes["data"]:
            continue
        test = mcnemar(first.hits, second.hits)
        detail = {"mcnemar_p": test.p_value, "only_first": test.only_first, "only_second": test.only_second}
        for record in first.records:
            metric = record.metric
            base = next(found for found in second.records if found.metric == metric)
            change = paired_difference(
                float(base.value or 0), second.values[metric], float(record.value or 0), first.values[metric]
            )
            records.append(
                change.record(
                    model, against, metric, suite=SUITE, task=task, n=record.n, seed=record.seed,
                    metric="difference" if metric == first.main.metric else f"{metric}_difference",
                    detail=detail, hashes={"data": record.hashes["data"]},
                )
            )  # fmt: skip
    return records


def by_category(
    examples: Sequence[Example], predictions: Sequence[Prediction], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """LiDiRus by linguistic category; a pair may belong to several categories of several groups.

    With one class only Matthews correlation is 0 by convention, so accuracy and the number of pairs stand beside it.

    Args:
        examples: labelled examples of LiDiRus.
        predictions: in the same order.

    Returns:
        "group: category" -> value, low, high (Matthews), accuracy, n; "group" alone for the whole group; empty where
        the file has no categories.
    """
    members: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        for group in LINGUISTIC:
            names = [name.strip() for name in str(example.fields.get(group, "")).split(";") if name.strip()]
            for key in dict.fromkeys([*([group] if names else []), *(f"{group}: {name}" for name in names)]):
                members.setdefault(key, []).append(index)
    return {key: _category(examples, predictions, members[key], key, seed) for key in sorted(members)}


def _category(
    examples: Sequence[Example], predictions: Sequence[Prediction], places: Sequence[int], key: str, seed: int
) -> dict[str, Any]:
    chosen, rows = [examples[place] for place in places], [predictions[place] for place in places]
    statistic = statistics_of("lidirus", chosen, rows)["matthews"]
    drawn = replicates(statistic, seed=seed, sample=f"lidirus {key}")
    bounds = interval(statistic.value, drawn, n=statistic.n, least=-1.0)
    hits = [is_right(example, row.label) for example, row in zip(chosen, rows, strict=True)]
    return bounds.fields | (bounds.told if bounds.value else {}) | {"accuracy": sum(hits) / len(hits), "n": len(hits)}


@cache
def _published_rows() -> tuple[dict[str, str], ...]:
    with open(_PUBLISHED, encoding="utf-8", newline="") as stream:
        return tuple(csv.DictReader(stream, delimiter="\t"))


def published_records() -> list[Record]:
    """The leaderboard's rows, which other people measured, marked as published: a record per task and metric.

    They stand in `published.tsv` with their source. All are of version 1.1 and of the hidden test sets, so they compare
    with a submission's score and only roughly with a development set's. The best come first.
    """
    records = []
    rows = [row for row in _published_rows() if row["version"] == VERSION]
    for row in sorted(rows, key=lambda row: -float(row["score"])):
        detail = {"published": True, "source": row["source"], "team": row["team"], "split": "test"}
        record = partial(Record, suite=SUITE, model=row["model"], detail=detail)
        for task in (task for task in TASKS.values() if row[task.id]):
            values = [float(value) for value in row[task.id].split("/")]
            found = dict(zip(task.metrics, values, strict=True)) | ({MEAN: task_value(values)} if values[1:] else {})
            records += [record(task=task.id, metric=metric, value=value) for metric, value in found.items()]
        records.append(record(task=SCORE, metric=SCORE, value=float(row["score"])))
    return records
