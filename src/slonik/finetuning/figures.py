"""Figures of the user's own tasks, as statistics that can be resampled, and the baselines that stand beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slonik.evaluation.statistics import MacroF1, Mean, Spearman, Statistic
from slonik.finetuning.items import Item
from slonik.models.task_config import TaskConfig

Floats = NDArray[np.float32]


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


def figures_of(items: Sequence[Item], found: Sequence[Floats], config: TaskConfig) -> dict[str, Statistic]:
    """Metric -> statistic over the items, the one to stop by first.

    Single label: accuracy, macro F1. Several: micro and macro F1, share of items with every label right. Number:
    Spearman's correlation, mean absolute error in the units of the data.
    """
    if config.target == "number":
        deviation = (config.scale or (0.0, 1.0))[1]
        right = np.array([float(item.label) for item in items])
        given = np.array([float(np.ravel(one)[0]) for one in found])
        return {"spearman": Spearman(given, right), "mae": Mean(np.abs(given - right) * deviation)}
    if config.target == "multi":
        right = np.array([item.label for item in items]) > 0.5
        given = np.stack(list(found)) > 0.5
        tallies = np.stack([given & right, given & ~right, right & ~given], axis=1).astype(np.float64)  # (n, 3, L)
        exact = Mean((given == right).all(1))
        return {"micro_f1": MicroF1(tallies.sum(2)), "macro_f1": MacroF1(tallies), "exact": exact}
    right = np.eye(len(config.labels), dtype=bool)[[int(item.label) for item in items]]
    chosen = [int(np.argmax(one)) for one in found]
    given = np.eye(len(config.labels), dtype=bool)[chosen]
    tallies = np.stack([given & right, given & ~right, right & ~given], axis=1).astype(np.float64)
    seen = tallies.sum(0).sum(0) > 0  # a label that is neither right nor given anywhere does not count
    return {"accuracy": Mean((given & right).any(1)), "macro_f1": MacroF1(tallies[:, :, seen])}


def baseline_values(fit: Sequence[Item], measured: Sequence[Item], config: TaskConfig) -> dict[str, list[Floats]]:
    """Name -> answers in the shape of probabilities: the majority (or mean), and TF-IDF with a linear model.

    TF-IDF joins an item's texts; without scikit-learn it is left out.
    """
    found = {"majority": [_usual(fit, config)] * len(measured)}
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError:
        return found
    vectorizer = TfidfVectorizer()
    try:
        known = vectorizer.fit_transform([_joined(item) for item in fit])
    except ValueError:  # no words at all
        return found
    found["tfidf"] = _linear(known, vectorizer.transform([_joined(item) for item in measured]), fit, config)
    return found


def _usual(fit: Sequence[Item], config: TaskConfig) -> Floats:
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
