"""Metrics of spans that can be resampled by document: by label, over seeds, by fold, of inner and outer entities.

Records are made of them in `metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slonik.core.hashing import derive_seed
from slonik.data.annotations.document import Document, Span, lying_within
from slonik.evaluation.statistics import Array, MacroF1, Statistic, value_of
from slonik.tagging.matching import (
    CalibrationError,
    DocumentF1,
    PooledF1,
    Tallies,
)

DIFFERENCES = {"f1_micro": "difference", "f1_macro": "f1_macro_difference"}
OF_LAYERS = ("f1_inner", "f1_outer")


def statistics_of(tallies: Tallies, gold_labels: int) -> dict[str, Statistic]:
    """Metric -> its statistic; the first `gold_labels` labels are those of the gold spans: macro is their mean."""
    pooled, loose = tallies.exact.sum(axis=1), tallies.overlap.sum(axis=1)
    return {
        "f1_micro": PooledF1(pooled),
        "f1_macro": MacroF1(tallies.exact[:, :gold_labels].transpose(0, 2, 1)),
        "precision_micro": PooledF1(pooled, "precision"),
        "recall_micro": PooledF1(pooled, "recall"),
        "f1_overlap": PooledF1(loose),
        "f1_documents": DocumentF1(pooled),
    }


class OverSeeds:
    """The mean of one statistic over trainings with different seeds; replicates draw documents, and seeds too.

    Args:
        statistics: of each training, over the same documents.
        key: of what decides which seeds are drawn: two systems share no seeds.
    """

    def __init__(self, statistics: Sequence[Statistic], key: str) -> None:
        self.statistics_of = statistics
        self._rng = np.random.default_rng(derive_seed(0, "seeds", key))
        self.n = statistics[0].n

    def resampled(self, counts: Array) -> Array:
        """Values (B,); of one row, which is no resample, the plain mean."""
        values = np.stack([one.resampled(counts) for one in self.statistics_of], 1)  # (B, S)
        if len(counts) == 1:
            plain: Array = values.mean(1)
            return plain
        drawn = self._rng.integers(0, values.shape[1], values.shape)
        found: Array = np.take_along_axis(values, drawn, 1).mean(1)
        return found


def over_seeds(runs: Sequence[Tallies], gold_labels: int, model: str) -> dict[str, Statistic]:
    """Metric -> its statistic, of several trainings the mean; `model` decides which seeds are drawn."""
    every = [statistics_of(run, gold_labels) for run in runs]
    if len(every) == 1:
        return every[0]
    return {metric: OverSeeds([one[metric] for one in every], f"{model} {metric}") for metric in every[0]}


def reliability_of(documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> CalibrationError | None:
    """How confidence and right spans agree; None where a span has no confidence, or none was predicted."""
    if not any(predicted) or any(span.confidence is None for spans in predicted for span in spans):
        return None
    gold = [set(document.spans) for document in documents]
    return CalibrationError(
        [[span.confidence or 0.0 for span in spans] for spans in predicted],
        [[span in own for span in spans] for spans, own in zip(predicted, gold, strict=True)],
    )


def layers(documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> dict[str, Statistic]:
    """F1 of the spans that lie within another one, and of the others, on either side."""
    counts = np.zeros((2, len(documents), 3), dtype=np.int64)
    for row, (document, spans) in enumerate(zip(documents, predicted, strict=True)):
        gold, given = _by_layer(document.spans), _by_layer(spans)
        for layer in (0, 1):
            right = len(gold[layer] & given[layer])
            counts[layer, row] = right, len(given[layer]) - right, len(gold[layer]) - right
    found: dict[str, Statistic] = {"f1_outer": PooledF1(counts[0])}
    return found | ({"f1_inner": PooledF1(counts[1])} if counts[1].any() else {})


def _by_layer(spans: Sequence[Span]) -> tuple[set[Span], set[Span]]:
    """(spans within no other, spans within another)."""
    layers: tuple[set[Span], set[Span]] = (set(), set())
    for span, within in zip(spans, lying_within(spans), strict=True):
        layers[within].add(span)
    return layers


def _fold_values(runs: Sequence[Tallies], folds: Sequence[int], metric: str, gold_labels: int) -> dict[int, float]:
    """Fold -> the metric on its documents, the mean over seeds; NaN where it has no span."""
    places = np.asarray(folds)
    values = {}
    for fold in sorted(set(folds)):
        part = [run.of(np.flatnonzero(places == fold).tolist()) for run in runs]
        here = np.flatnonzero(part[0].exact[:, :gold_labels][:, :, [0, 2]].sum(axis=(0, 2)))  # labels that the fold has
        if metric == "f1_macro":
            found = [value_of(MacroF1(one.exact[:, here].transpose(0, 2, 1))) if len(here) else np.nan for one in part]
        else:
            found = [value_of(statistics_of(one, gold_labels)[metric]) for one in part]
        values[fold] = float(np.mean(found))
    return values


def difference_by_fold(
    before: Sequence[Tallies], after: Sequence[Tallies], folds: Sequence[int], metric: str, gold_labels: int
) -> dict[str, Any]:
    """The paired difference of each fold, their mean and its t interval."""
    first = _fold_values(before, folds, metric, gold_labels)
    second = _fold_values(after, folds, metric, gold_labels)
    return _with_mean({fold: second[fold] - first[fold] for fold in first})


def by_fold(runs: Sequence[Tallies], folds: Sequence[int], metric: str, gold_labels: int) -> dict[str, Any]:
    """The metric of each fold, their mean, and its 95 % t interval where there are two folds or more.

    Folds share training texts, so this interval is a little too narrow (Bengio & Grandvalet 2004).
    """
    return _with_mean(_fold_values(runs, folds, metric, gold_labels))


def _with_mean(values: Mapping[int, float]) -> dict[str, Any]:
    """Values by fold; their mean and its 95 % t interval where there are two or more."""
    found: dict[str, Any] = {
        "values": {str(fold): round(value, 4) for fold, value in values.items() if np.isfinite(value)}
    }
    finite: Array = np.array([value for value in values.values() if np.isfinite(value)])
    if len(finite) > 1:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite)))
        mean = float(finite.mean())
        found |= {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}
    return found


def rounded(value: float | None) -> float | None:
    """Four digits, as details have them."""
    return None if value is None else round(value, 4)
