"""Metrics of the user's own tasks, the baselines that stand beside them, and the records of both.

Metrics are statistics that can be resampled. Nothing here knows which model answered, or where the items come from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.records import Record
from slonik.evaluation.russian_superglue.metrics import normalise_answer, token_f1
from slonik.evaluation.statistics import (
    Interval,
    MacroF1,
    Mean,
    Spearman,
    Statistic,
    interval,
    paired_difference,
    replicates,
    value_of,
)
from slonik.finetuning.calibration import CalibrationError
from slonik.finetuning.items import Floats, Item
from slonik.finetuning.text_metrics import rouge_l as rouge_l
from slonik.finetuning.text_metrics import written_metrics
from slonik.text.answers import thresholds
from slonik.text.task_config import TaskConfig

Metrics = Mapping[str, Statistic]
SHARES = frozenset({"accuracy", "macro_f1", "micro_f1", "exact", "f1", "em"})
"""Metrics that are 1 where all items are right."""


class MicroF1:
    """F1 over all labels of all items together.

    Args:
        tallies: (n, 3) true positives, false positives, false negatives of each item.
    """

    def __init__(self, tallies: NDArray[np.float64]) -> None:
        self._tallies = tallies
        self.n = len(tallies)

    def resampled(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (B,) for counts (B, n); 0 without any label."""
        hits, wrong, missed = (counts @ self._tallies).T
        whole = 2 * hits + wrong + missed
        found: NDArray[np.float64] = np.divide(2 * hits, whole, out=np.zeros_like(hits), where=whole > 0)
        return found


def metrics_of(items: Sequence[Item], found: Sequence[Any], config: TaskConfig) -> dict[str, Statistic]:
    """Metric -> statistic over the items, the one to stop by first.

    Single label: accuracy, macro F1. Several: micro and macro F1, share of items with every label right. Number:
    Spearman's correlation, mean absolute error in the units of the data. Words: those of `written_metrics`, F1 of
    words, exact match.
    """
    if config.target == "text":
        pairs = [(str(given), str(item.label)) for given, item in zip(found, items, strict=True)]
        return {
            **written_metrics(pairs),
            "f1": Mean([token_f1(given, right) for given, right in pairs]),
            "em": Mean([normalise_answer(given) == normalise_answer(right) for given, right in pairs]),
        }
    if config.target == "number":
        deviation = (config.scale or (0.0, 1.0))[1]
        marks = np.array([float(item.label) for item in items])
        answers = np.array([float(np.ravel(one)[0]) for one in found])
        return {"spearman": Spearman(answers, marks), "mae": Mean(np.abs(answers - marks) * deviation)}
    if config.target == "multi":
        right = np.array([item.label for item in items]) > 0.5
        given = np.stack(list(found)) > thresholds(config)
        tallies = _tallies(given, right)
        return {
            "micro_f1": MicroF1(tallies.sum(2)),
            "macro_f1": MacroF1(tallies),
            "exact": Mean((given == right).all(1)),
        }
    labels = np.eye(len(config.labels), dtype=bool)
    right = labels[[int(item.label) for item in items]]
    given = labels[[int(np.argmax(one)) for one in found]]
    tallies = _tallies(given, right)
    seen = tallies.sum(0).sum(0) > 0  # a label that is neither right nor given anywhere does not count
    return {"accuracy": Mean((given & right).any(1)), "macro_f1": MacroF1(tallies[:, :, seen])}


def calibration_error(items: Sequence[Item], found: Sequence[Any], config: TaskConfig) -> CalibrationError:
    """Of the probability of the answer (single label), or of every label of every item (several)."""
    table = np.stack([np.asarray(one, dtype=np.float64) for one in found])
    if config.target == "multi":
        right = np.array([item.label for item in items]) > 0.5
        sure = np.where(table > 0.5, table, 1 - table)
        return CalibrationError(sure.ravel(), ((table > 0.5) == right).ravel())
    return CalibrationError(table.max(1), table.argmax(1) == np.array([int(item.label) for item in items]))


METRICS: dict[str, tuple[str, ...]] = {
    "single": ("accuracy", "macro_f1"), "multi": ("micro_f1", "macro_f1", "exact"), "number": ("spearman", "mae"),
    "answer": ("f1", "em"), "text": (),
}  # fmt: skip


def metric_names(config: TaskConfig) -> tuple[str, ...]:
    """Metrics that a task may be stopped by; free words are stopped by their loss."""
    return METRICS[config.target]


def _tallies(given: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """True positives, false positives, false negatives: (n, L), (n, L) -> (n, 3, L)."""
    return np.stack([given & right, given & ~right, right & ~given], axis=1).astype(np.float64)


def baseline_answers(fit: Sequence[Item], measured: Sequence[Item], config: TaskConfig) -> dict[str, list[Any]]:
    """Name -> answers in the shape of a model's: the majority (or mean), TF-IDF, of words the text's first sentence.

    TF-IDF reads an item's texts joined: a linear model over it for labels and numbers, the answer of the nearest
    fitting item for words. Without scikit-learn it is left out.
    """
    found: dict[str, list[Any]] = {"majority": [_usual(fit, config)] * len(measured)}
    if config.target == "text":
        found["lead"] = [first_sentence(_joined(item)) for item in measured]
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError:
        return found
    vectorizer = TfidfVectorizer()
    try:
        known = vectorizer.fit_transform([_joined(item) for item in fit])
    except ValueError:  # no words at all
        return found
    asked = vectorizer.transform([_joined(item) for item in measured])
    if config.target == "text":
        nearest = (asked @ known.T).toarray().argmax(axis=1)  # (n,)
        found["tfidf"] = [fit[place].label for place in nearest]
    else:
        found["tfidf"] = _linear(known, asked, fit, config)
    return found


def first_sentence(text: str) -> str:
    """A text up to the first mark that ends a sentence before white space: the summary that news begin with."""
    return re.split(r"(?<=[.!?…])\s", text.strip(), maxsplit=1)[0]


def _usual(fit: Sequence[Item], config: TaskConfig) -> Any:
    if config.target == "text":
        return Counter(str(item.label) for item in fit).most_common(1)[0][0]
    if config.target == "number":
        return np.zeros(1, dtype=np.float32)  # labels are standardised: their mean
    if config.target == "multi":
        return np.mean([item.label for item in fit], axis=0).astype(np.float32)
    counts = Counter(int(item.label) for item in fit)
    return np.array([counts[place] / len(fit) for place in range(len(config.labels))], dtype=np.float32)


def _linear(known: object, asked: object, fit: Sequence[Item], config: TaskConfig) -> list[Floats]:
    from sklearn.linear_model import LogisticRegression, Ridge

    if config.target == "number":
        model = Ridge().fit(known, [float(item.label) for item in fit])
        return [np.array([value], dtype=np.float32) for value in model.predict(asked)]
    labels = np.array([item.label for item in fit])
    if config.target == "single":
        chances = LogisticRegression(max_iter=1000).fit(known, labels)
        table = np.zeros((asked.shape[0], len(config.labels)), dtype=np.float32)  # type: ignore[attr-defined]
        table[:, chances.classes_] = chances.predict_proba(asked)
        return list(table)
    columns = []
    for column in (labels > 0.5).T:
        if column.all() or not column.any():
            columns.append(np.full(asked.shape[0], float(column[0])))  # type: ignore[attr-defined]
        else:
            columns.append(LogisticRegression(max_iter=1000).fit(known, column).predict_proba(asked)[:, 1])
    return list(np.stack(columns, axis=1).astype(np.float32))


def _joined(item: Item) -> str:
    return " ".join(text for row in item.input.rows for text in row)


def own_records(
    common: Mapping[str, Any],
    model: str,
    seeds: Mapping[int, Metrics],
    mean: Metrics | None,
    others: Mapping[str, Metrics],
    *,
    unit: str = "seed",
) -> list[Record]:
    """Records of one task: the mean over seeds, the mean of the seeds' answers, baselines, and differences to them.

    The model's own interval draws items and seeds together; differences are paired over items.

    Args:
        common: fields of every record: suite, task, variant, hashes.
        seeds: seed -> metrics. mean: those of the answers' mean, of several seeds. others: baseline -> metrics.
        unit: what the runs differ in, "seed" or "prompt".
    """
    sample, rng = common["task"], np.random.default_rng(0)
    records, values, drawn = [], {}, {}
    first = next(iter(seeds.values()))
    for metric, statistic in first.items():
        single = {seed: value_of(found[metric]) for seed, found in seeds.items()}
        table = [replicates(found[metric], seed=0, sample=sample) for found in seeds.values()]
        n = statistic.n if metric in SHARES else None
        bounds, drawn[metric], detail = over_seeds(single, table, rng, n=n, unit=unit)
        values[metric] = bounds.value
        records.append(_record(common, model, metric, bounds, statistic.n, detail | {"items": statistic.n}))
    for metric, statistic in (mean or {}).items():
        n = statistic.n if metric in SHARES else None
        bounds = interval(value_of(statistic), replicates(statistic, seed=0, sample=sample), n=n)
        records.append(_record(common, f"{model} mean of {len(seeds)} {unit}s", metric, bounds, statistic.n, {}))
    for name, metrics in others.items():
        for metric, statistic in metrics.items():
            other = replicates(statistic, seed=0, sample=sample)
            bounds = interval(value_of(statistic), other, n=statistic.n if metric in SHARES else None)
            records.append(_record(common, name, metric, bounds, statistic.n, {"baseline": True}))
            if not np.isfinite(values[metric]) or not np.isfinite(bounds.value):
                continue
            change = paired_difference(bounds.value, other, values[metric], drawn[metric])
            records.append(change.record(model, name, metric, metric=f"{metric}_difference", n=statistic.n, **common))
    return records


def over_seeds(
    single: Mapping[int, float],
    replicated: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    n: int | None = None,
    least: float = 0.0,
    unit: str = "seed",
) -> tuple[Interval, NDArray[np.float64], dict[str, Any]]:
    """The mean of a metric over seeds, its interval by draws of items and seeds together.

    Args:
        single: seed -> value. replicated: (B,) replicates of each seed, drawn over items.
        n, least: as `slonik.evaluation.statistics.interval` takes them.

    Returns:
        Mean and interval, the (B,) draws, and the seeds' values and spread for the record's detail.
    """
    table = np.stack(list(replicated))  # (seeds, B)
    drawn = np.take_along_axis(table, rng.integers(0, len(table), size=table.shape), axis=0).mean(0)
    values = list(single.values())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    detail: dict[str, Any] = {f"{unit}s": {str(seed): value for seed, value in single.items()}, "spread": spread}
    if unit == "prompt":
        detail |= {"lowest": min(values), "highest": max(values)}
    return interval(float(np.mean(values)), drawn, n=n, least=least), drawn, detail


def _record(
    common: Mapping[str, Any], model: str, metric: str, bounds: Interval, n: int, detail: dict[str, Any]
) -> Record:
    known = np.isfinite(bounds.value)  # the correlation of a constant answer is none
    if not known:
        detail = {**detail, "reason": "the metric is not defined for these answers"}
    else:
        detail = detail | bounds.told
    values = bounds.fields if known else dict.fromkeys(bounds.fields)
    return Record(**common, model=model, metric=metric, n=n, detail=detail, **values)
