"""The official metrics, to the letter: values of one task from its examples and the answers given to them.

LiDiRus: Matthews correlation. RCB: macro F1 and accuracy. MuSeRC: F1 over all answer options, and the share of
questions with every option right (EM0). RuCoS: token F1 and exact match, the best over the right texts, after
`normalise_answer`. The other five: accuracy. Sources: `tfidf_baseline/*.py` of RussianNLP/RussianSuperGLUE and
`main.py` of RussianNLP/MOROCCO.

No interval is made here; `statistics_of` gives what one is made from: whatever a metric needs to know of an item is
one row of numbers, and point value and bootstrap replicates come from the same function, of the column sums, or of the
sums weighted by how often each row was drawn. Rows are clusters (`drawn_together`), since items about one text are not
independent.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slonik.core.errors import SlonikError, lookup
from slonik.evaluation.russian_superglue.predictions import Prediction, aligned
from slonik.evaluation.russian_superglue.tasks import TASKS, Example, Label, Task, label_name, label_names

Array = NDArray[np.float64]
SumFunction: TypeAlias = Callable[[Array], Array]  # sums (B, K) -> values (B,)
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_Pairs = Sequence[tuple[Example, Label]]


def score(task_id: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The task's metrics, by name, in the site's order.

    Args:
        examples: labelled examples.
        predictions: one per example, in any order.

    Raises:
        SlonikError: unknown task, examples without labels, or predictions of other items.
    """
    return {name: tallies.value for name, tallies in statistics_of(task_id, examples, predictions).items()}


def task_value(metrics: Sequence[float]) -> float:
    """What a task counts for in the nine-task score: its metric, or the mean of its two."""
    return sum(metrics) / len(metrics)


def nine_task_score(metrics: Mapping[str, Sequence[float]]) -> float | None:
    """The nine-task score: every task counts once, a task with two metrics by their mean; None where one is missing.

    Source: `score_value` of RussianNLP/MOROCCO, without its slip (there a second metric of exactly 0 is dropped, as if
    the task had one). There is no score of fewer than nine tasks.

    Args:
        metrics: task id -> its metric, or its two.
    """
    if any(not metrics.get(task) for task in TASKS):
        return None
    return sum(task_value(metrics[task]) for task in TASKS) / len(TASKS)


def statistics_of(task_id: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, Tallies]:
    """Like `score`, as statistics that can be resampled: items about one text together (`drawn_together`).

    Raises:
        SlonikError: as `score`.
    """
    task = lookup(task_id, TASKS, "task")
    unlabelled = [example.idx for example in examples if not example.is_labelled]
    if unlabelled:
        raise SlonikError(
            f"{len(unlabelled)} of {len(examples)} items of {task.name} have no label (the first is "
            f"{unlabelled[0]!r}): they can be answered and submitted, not scored here"
        )
    rows = aligned(examples, predictions, f"predictions for {task.name}")
    pairs = [(example, row.label) for example, row in zip(examples, rows, strict=True)]
    return {
        metric: _exact_match(pairs) if metric == "em" else _by_items(task, metric, pairs) for metric in task.metrics
    }


def hits_of(task_id: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[bool]:
    """Whether each unit of the task is right, for paired tests: item, question of MuSeRC, query of RuCoS.

    Raises:
        SlonikError: as `score`.
    """
    task = lookup(task_id, TASKS, "task")
    rows = aligned(examples, predictions, f"predictions for {task.name}")
    right: dict[str, bool] = {}
    for example, row in zip(examples, rows, strict=True):
        right[example.group] = right.get(example.group, True) and is_right(example, row.label)
    return list(right.values())


def is_right(example: Example, label: Label) -> bool:
    """Whether a label is the right one; texts of RuCoS are compared after normalisation."""
    if example.answers:
        return normalise_answer(str(label)) in {normalise_answer(text) for text in example.answers}
    return label == example.label


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, single spaces: what RuCoS compares."""
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def entity_key(text: str) -> str:
    """What spellings of one name share: letters and digits alone, lower case, ё as е, without stress marks.

    For telling candidates apart, never for a metric: "Нью-Йорк", "Нью Йорк" and «Нью-Йорк» are one candidate, and the
    official metric takes them for different texts. A text without letters or digits is its own key.
    """
    plain = unicodedata.normalize("NFKC", text.replace("\u0301", "")).lower().replace("ё", "е")
    return "".join(sign for sign in plain if sign.isalnum()) or text


def token_f1(text: str, right: str) -> float:
    """F1 of the bags of words of two texts after normalisation."""
    given, expected = normalise_answer(text).split(), normalise_answer(right).split()
    common = sum((Counter(given) & Counter(expected)).values())
    return 2 * common / (len(given) + len(expected)) if common else 0.0


def item_row(task: Task, metric: str, example: Example, label: Label) -> list[float]:
    """What a metric that is a function of sums over items needs to know of one answer ("em" is not of that kind)."""
    return [float(part) for part in _ROWS[metric](task, example, label)]


def _accuracy_row(_: Task, example: Example, label: Label) -> Sequence[float]:
    return (is_right(example, label), 1)


def _matthews_row(task: Task, example: Example, label: Label) -> Sequence[float]:
    given, true = label == task.labels[0], example.label == task.labels[0]
    return (given and true, given and not true, true and not given, not given and not true)


def _macro_f1_row(task: Task, example: Example, label: Label) -> Sequence[float]:
    return [
        part
        for name in task.labels
        for part in (label == name and example.label == name, label == name, example.label == name)
    ]


def _answer_f1_row(_: Task, example: Example, label: Label) -> Sequence[float]:
    return (bool(label) and bool(example.label), bool(label), bool(example.label))


def _text_f1_row(_: Task, example: Example, label: Label) -> Sequence[float]:
    return (max(token_f1(str(label), text) for text in example.answers), 1)


_ROWS: dict[str, Callable[[Task, Example, Label], Sequence[float]]] = {
    "accuracy": _accuracy_row,
    "matthews": _matthews_row,
    "macro_f1": _macro_f1_row,
    "f1a": _answer_f1_row,
    "f1": _text_f1_row,
}


def sum_function(task: Task, metric: str, examples: Sequence[Example], labels: Sequence[Label]) -> SumFunction:
    """Sums of item rows (B, K) -> values of a metric (B,).

    Args:
        labels: the answers; in macro F1 the labels that occur on either side count, as in scikit-learn's default.
    """
    if metric != "macro_f1":
        return _FUNCTIONS[metric]
    present = {label_name(label) for label in labels} | {label_name(e.label) for e in examples if e.label is not None}
    places = [3 * place + part for place, name in enumerate(label_names(task)) if name in present for part in range(3)]
    return lambda sums: macro_f1(sums[:, places])


_ONE_TEXT = {"terra": "premise", "rcb": "premise", "danetqa": "passage", "rwsd": "text"}


def drawn_together(task: Task, example: Example) -> str:
    """What a resample draws as one: items about one text, LiDiRus's pairs in both directions, else the item.

    Each pair of LiDiRus is asked twice, with its sentences in either order; premises, passages and texts of other tasks
    have several items too. Were these drawn apart, intervals would be too narrow.
    """
    if task.id == "lidirus" and all(name in example.fields for name in task.texts):
        return "\n".join(sorted(_plain(example.fields[name]) for name in task.texts))
    if task.id in _ONE_TEXT:
        return _plain(example.fields.get(_ONE_TEXT[task.id], example.cluster))
    return example.cluster


def _plain(text: str) -> str:
    return " ".join(str(text).lower().split())


def _by_items(task: Task, metric: str, pairs: _Pairs) -> Tallies:
    rows = [item_row(task, metric, example, label) for example, label in pairs]
    function = sum_function(task, metric, [example for example, _ in pairs], [label for _, label in pairs])
    return Tallies(rows, [drawn_together(task, example) for example, _ in pairs], function)


def _exact_match(pairs: _Pairs) -> Tallies:
    groups: dict[str, tuple[str, bool]] = {}
    for example, label in pairs:
        before = groups.get(example.group, ("", True))[1]
        groups[example.group] = example.cluster, before and is_right(example, label)
    return Tallies([[right, 1] for _, right in groups.values()], [cluster for cluster, _ in groups.values()], ratio)


class Tallies:
    """A metric over clusters, for `slonik.evaluation.statistics`.

    Args:
        rows: (items, K) numbers.
        clusters: (items,) name of each item's cluster; rows of one cluster are added up.
        function: sums (B, K) to values (B,).

    Attributes:
        n: number of clusters.
    """

    def __init__(self, rows: ArrayLike, clusters: Sequence[str], function: SumFunction) -> None:
        table = np.asarray(rows, dtype=np.float64)
        places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        self._sums = np.zeros((len(places), table.shape[1]))
        np.add.at(self._sums, [places[name] for name in clusters], table)
        self._function = function
        self.n = len(places)

    @property
    def value(self) -> float:
        """The metric on the items as they are."""
        return float(self._function(self._sums.sum(axis=0, keepdims=True))[0])

    def resampled(self, counts: Array) -> Array:
        """Values (B,) for counts (B, n) of how often each cluster was drawn."""
        return self._function(counts @ self._sums)


class TaskMean:
    """The mean of several metrics over the same clusters: what a task with two counts as.

    Args:
        parts: metrics with the same number of clusters.
    """

    def __init__(self, parts: Sequence[Tallies]) -> None:
        self._parts = tuple(parts)
        self.n = self._parts[0].n

    @property
    def value(self) -> float:
        """The metric on the items as they are."""
        return float(np.mean([part.value for part in self._parts]))

    def resampled(self, counts: Array) -> Array:
        """Values (B,) for counts (B, n)."""
        values: Array = np.mean([part.resampled(counts) for part in self._parts], axis=0)
        return values


def ratio(sums: Array) -> Array:
    """First sum over second: accuracy from (hits, items); NaN where there are no items."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values: Array = sums[:, 0] / sums[:, 1]
    return values


def matthews(sums: Array) -> Array:
    """Matthews correlation from (true positive, false positive, false negative, true negative).

    (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 where a factor is 0, as in scikit-learn.
    """
    hit, wrong, missed, other = sums.T
    product = (hit + wrong) * (hit + missed) * (other + wrong) * (other + missed)
    above = hit * other - wrong * missed
    values: Array = np.divide(above, np.sqrt(product), out=np.zeros_like(above), where=product > 0)
    return values


def macro_f1(sums: Array) -> Array:
    """Unweighted mean of F1 over labels, from (true positive, predicted, right) per label laid end to end.

    A label that a resample lacks counts 0: the set of labels is that of the whole, or intervals would jump.
    """
    hits, predicted, right = sums.reshape(len(sums), -1, 3).transpose(2, 0, 1)
    whole = predicted + right
    values: Array = np.divide(2 * hits, whole, out=np.zeros_like(hits), where=whole > 0).mean(axis=1)
    return values


def answer_f1(sums: Array) -> Array:
    """F1 over all answer options, from (right and predicted, predicted, right): MultiRC's F1a.

    Precision is 1 where nothing was predicted, recall 1 where nothing is right, as in the official code; F1 is 0
    where both are 0 (the official code divides by zero there).
    """
    agreed, predicted, right = sums.T
    precision = np.divide(agreed, predicted, out=np.ones_like(agreed), where=predicted > 0)
    recall = np.divide(agreed, right, out=np.ones_like(agreed), where=right > 0)
    both = precision + recall
    values: Array = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return values


_FUNCTIONS: dict[str, SumFunction] = {
    "accuracy": ratio,
    "em": ratio,
    "matthews": matthews,
    "f1a": answer_f1,
    "f1": ratio,
}
