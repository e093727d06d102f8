"""Answers to records: each metric with its interval, a task's mean of two, the nine-task score, paired differences.

Every record of one task comes from the same resamples, so that two models' replicates subtract and nine tasks'
replicates average. Tables are the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.evaluation.comparison import mcnemar
from slonik.evaluation.russian_superglue.categories import by_category
from slonik.evaluation.russian_superglue.metrics import hits_of, statistics_of
from slonik.evaluation.russian_superglue.parts import Part
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tallies import Mean
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, SCORE, SUITE, TASKS
from slonik.evaluation.statistics import Array, interval, paired_difference, replicates

MEAN = "mean"  # metric of a task's mean of two figures


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
        """What the task counts by: its figure, or the mean of its two."""
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
    figures: dict[str, Any] = dict(statistics)
    if len(statistics) > 1:
        figures[MEAN] = Mean(list(statistics.values()))
    values, records = {}, []
    facts = {"split": part.split, "items": len(part.examples), "fitted_on": part.fitted_on, **(detail or {})}
    for metric, statistic in figures.items():
        values[metric] = replicates(statistic, seed=seed, sample=f"{part.task.id} {part.split}")
        bounds = interval(statistic.value, values[metric])
        records.append(
            Record(
                suite=SUITE, task=part.task.id, model=model, metric=metric, value=bounds.value, low=bounds.low,
                high=bounds.high, n=statistic.n, seed=seed, seconds=seconds,
                detail=facts | _categories(part, predictions, metric, seed),
                hashes={**part.hashes(), **({"weights": weights} if weights else {})},
            )
        )  # fmt: skip
    hits = tuple(hits_of(part.task.id, part.examples, predictions))
    return Scored(tuple(records), values, hits, part)


def score_record(found: Mapping[str, Scored], model: str, *, seed: int = 0) -> Record | None:
    """The nine-task score with its interval; None where a task is missing."""
    if any(task not in found for task in TASKS):
        return None
    members = [found[task] for task in TASKS]
    values = np.mean([member.values[member.main.metric] for member in members], axis=0)
    value = sum(float(member.main.value or 0) for member in members) / len(members)
    bounds = interval(value, values)
    data = sha256_json([member.main.hashes["data"] for member in members])
    protocol = sha256_json([PROTOCOL, [member.main.hashes["protocol"] for member in members]])
    return Record(
        suite=SUITE, task=SCORE, model=model, metric=SCORE, value=value, low=bounds.low, high=bounds.high,
        n=sum(member.main.n or 0 for member in members), seed=seed,
        detail={"splits": {task: found[task].part.split for task in TASKS}},
        hashes={"data": data, "protocol": protocol},
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
        for record in first.records:
            metric = record.metric
            base = next(found for found in second.records if found.metric == metric)
            change = paired_difference(
                float(base.value or 0), second.values[metric], float(record.value or 0), first.values[metric]
            )
            test = mcnemar(first.hits, second.hits)
            records.append(
                Record(
                    suite=SUITE, task=task, model=f"{model} - {against}",
                    metric="difference" if metric == first.main.metric else f"{metric}_difference",
                    value=change.interval.value, low=change.interval.low, high=change.interval.high, n=record.n,
                    seed=record.seed,
                    detail={
                        "model": model, "against": against, "of": metric, "p_value": change.p_value, "paired": True,
                        "mcnemar_p": test.p_value, "only_first": test.only_first, "only_second": test.only_second,
                    },
                    hashes={"data": record.hashes["data"]},
                )
            )  # fmt: skip
    return records


def _categories(part: Part, predictions: Sequence[Prediction], metric: str, seed: int) -> dict[str, Any]:
    if part.task.id != "lidirus" or metric != "matthews":
        return {}
    found = by_category(part.examples, predictions, seed=seed)
    return {"categories": found} if found else {}
