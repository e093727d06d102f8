"""Intervals of mteb's main scores, from the answers to items that its runner keeps.

Bootstrap over items for correlations (sentence similarity), accuracy (classification, averaged over mteb's ten
samples of training data, whose spread it leaves out), average precision (pairs) and measures per query (retrieval,
reranking). The score is computed anew from the items and has to be mteb's own; where it is not, or a task has no items
(clusterings), there is no interval and the record says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slonik.evaluation.statistics import Array, Interval, Mean, Spearman, Statistic, interval, replicates, value_of

_SAME = 5e-5  # mteb rounds some scores to five digits
_PER_QUERY = {"ndcg_at": "ndcg_cut", "map_at": "map_cut", "recall_at": "recall", "precision_at": "P"}


class AveragePrecision:
    """Area under precision over recall, equal scores as one threshold, as in scikit-learn.

    Args:
        positive: (n,) True for the positive class.
        scores: (n,) the greater, the more positive.
    """

    def __init__(self, positive: ArrayLike, scores: ArrayLike) -> None:
        found = np.asarray(scores, dtype=np.float64)
        self._order = np.argsort(-found, kind="stable")
        ordered = found[self._order]
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self._positive = np.asarray(positive, dtype=bool)[self._order]
        self.n = len(found)

    def resampled(self, counts: Array) -> Array:
        """Values (B,) for counts (B, n); NaN where a row has no positive item."""
        drawn = counts[:, self._order]
        hits = np.cumsum(drawn * self._positive, axis=1)[:, self._ends]
        seen = np.cumsum(drawn, axis=1)[:, self._ends]
        gained = np.diff(hits, axis=1, prepend=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(seen > 0, hits / seen, 0.0)
            return (gained * precision).sum(axis=1) / hits[:, -1]


def main_interval(
    task: Any, value: float, answers: Mapping[str, Mapping[str, Any]], *, seed: int
) -> tuple[Interval | None, int | None, str]:
    """The interval of a task's main score, over all its parts.

    Args:
        task: mteb's task, its data loaded.
        value: the main score as mteb gives it.
        answers: part of the data (mteb's subset) -> split -> what its runner kept.
        seed: of the bootstrap.

    Returns:
        The interval, the number of items, and "" or why there is no interval.
    """
    values, drawn, items = [], [], 0
    for subset, splits in answers.items():
        for split, answer in splits.items():
            found = _statistic(task, subset, split, answer)
            if isinstance(found, str):
                return None, None, found
            values.append(value_of(found))
            drawn.append(replicates(found, seed=seed, sample=f"{task.metadata.name} {subset} {split}"))
            items += found.n
    if not values:
        return None, None, "no answers to items were kept"
    if abs(float(np.mean(values)) - value) > _SAME:
        return None, None, f"computed from the items it is {np.mean(values):.4f}, mteb says {value:.4f}"
    return interval(value, np.mean(drawn, axis=0)), items, ""


def _statistic(task: Any, subset: str, split: str, answer: Any) -> Statistic | str:
    metric = str(task.metadata.main_score)
    kind = str(task.metadata.type)
    makers: dict[str, Callable[[Any, str, str, Any, str], Statistic | str]] = {
        "STS": _similarity,
        "Classification": _classification,
        "PairClassification": _pairs,
        "Retrieval": _queries,
        "Reranking": _queries,
        "InstructionReranking": _queries,
    }
    if kind not in makers:
        return f"mteb keeps no score for each item of a task of type {kind}"
    try:
        return makers[kind](task, subset, split, answer, metric)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return f"its items could not be read ({type(error).__name__}: {error})"


def _rows(task: Any, subset: str, split: str) -> Any:
    data = task.dataset
    if subset in data:
        data = data[subset]
    return data[split]


def _similarity(task: Any, subset: str, split: str, answer: Any, metric: str) -> Statistic | str:
    if metric not in ("cosine_spearman", "spearman"):
        return f"intervals of {metric} are not computed"
    scores = answer.get("similarity_scores") if metric == "spearman" else None
    return Spearman(_rows(task, subset, split)["score"], scores or answer["cosine_scores"])


def _classification(task: Any, subset: str, split: str, answer: Any, metric: str) -> Statistic | str:
    if metric != "accuracy":
        return f"intervals of {metric} are not computed"
    right = np.asarray(_rows(task, subset, split)[task.label_column_name])
    return Mean(np.mean([np.asarray(one) == right for one in answer], axis=0))


def _pairs(task: Any, subset: str, split: str, answer: Any, metric: str) -> Statistic | str:
    if metric not in ("max_ap", "cosine_ap", "similarity_ap"):
        return f"intervals of {metric} are not computed"
    rows = _rows(task, subset, split)
    rows = rows[0] if len(rows) == 1 else rows
    right = np.asarray(rows[task.label_column_name]).ravel()
    sides = {"cosine_ap": ["cosine_scores"], "similarity_ap": ["similarity_scores"]}.get(metric, list(answer))
    signs = {name: -1.0 if "distance" in name else 1.0 for name in sides}
    found = [AveragePrecision(right, signs[name] * np.asarray(answer[name])) for name in sides if answer[name]]
    return max(found, key=value_of)


def _queries(task: Any, subset: str, split: str, answer: Any, metric: str) -> Statistic | str:
    import pytrec_eval

    kind, _, cut = metric.rpartition("_")
    if kind not in _PER_QUERY or not cut.isdigit():
        return f"intervals of {metric} are not computed"
    judged = task.dataset[subset][split]["relevant_docs"]
    name = _PER_QUERY[kind]
    found = pytrec_eval.RelevanceEvaluator(judged, {f"{name}.{cut}"}).evaluate(answer)
    per_query: NDArray[np.float64] = np.array([one[f"{name}_{cut}"] for one in found.values()])
    return Mean(per_query)
