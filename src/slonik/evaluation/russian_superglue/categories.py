"""LiDiRus by linguistic category: how a model does on negation, on quantifiers, on common sense.

A pair may belong to several categories of several groups. The figure is Matthews correlation as for the whole; with
one class only it is 0 by convention, so accuracy and the number of pairs stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.metrics import is_right, statistics_of
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.readers import LINGUISTIC
from slonik.evaluation.statistics import interval, replicates


def by_category(
    examples: Sequence[Example], predictions: Sequence[Prediction], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Figures of every category that the file names.

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
    return {key: _figures(examples, predictions, members[key], key, seed) for key in sorted(members)}


def _figures(
    examples: Sequence[Example], predictions: Sequence[Prediction], places: Sequence[int], key: str, seed: int
) -> dict[str, Any]:
    chosen, rows = [examples[place] for place in places], [predictions[place] for place in places]
    statistic = statistics_of("lidirus", chosen, rows)["matthews"]
    bounds = interval(statistic.value, replicates(statistic, seed=seed, sample=f"lidirus {key}"))
    hits = [is_right(example, row.label) for example, row in zip(chosen, rows, strict=True)]
    return {
        "value": bounds.value,
        "low": bounds.low,
        "high": bounds.high,
        "accuracy": sum(hits) / len(hits),
        "n": len(hits),
    }
