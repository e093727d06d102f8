"""The official metrics, to the letter: figures of one task from its examples and the answers given to them.

LiDiRus: Matthews correlation. RCB: macro F1 and accuracy. MuSeRC: F1 over all answer options, and the share of
questions with every option right (EM0). RuCoS: token F1 and exact match, the best over the right texts, after
`normalise_answer`. The other five: accuracy. Sources: `tfidf_baseline/*.py` of RussianNLP/RussianSuperGLUE and
`main.py` of RussianNLP/MOROCCO. No interval is made here; `statistics_of` gives what one is made from.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Sequence

from slonik.core.errors import SlonikError
from slonik.core.lookup import lookup
from slonik.evaluate.russian_superglue.examples import Example
from slonik.evaluate.russian_superglue.predictions import Prediction, aligned
from slonik.evaluate.russian_superglue.tallies import Tallies, answer_f1, macro_f1, matthews, ratio
from slonik.evaluate.russian_superglue.tasks import TASKS, Label, Task

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_Pairs = Sequence[tuple[Example, Label]]


def score(task_id: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The task's figures, by metric name, in the site's order.

    Args:
        examples: labelled examples.
        predictions: one per example, in any order.

    Raises:
        SlonikError: unknown task, examples without labels, or predictions of other items.
    """
    return {name: tallies.value for name, tallies in statistics_of(task_id, examples, predictions).items()}


def task_value(figures: Sequence[float]) -> float:
    """What a task counts for in the nine-task score: its figure, or the mean of its two."""
    return sum(figures) / len(figures)


def statistics_of(task_id: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, Tallies]:
    """Like `score`, as statistics that can be resampled (by passage in MuSeRC, by item elsewhere).

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
    return {metric: _METRICS[metric](task, pairs) for metric in task.metrics}


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


def token_f1(text: str, right: str) -> float:
    """F1 of the bags of words of two texts after normalisation."""
    given, expected = normalise_answer(text).split(), normalise_answer(right).split()
    common = sum((Counter(given) & Counter(expected)).values())
    return 2 * common / (len(given) + len(expected)) if common else 0.0


def _accuracy(_: Task, pairs: _Pairs) -> Tallies:
    return Tallies([[is_right(example, label), 1] for example, label in pairs], _clusters(pairs), ratio)


def _exact_match(_: Task, pairs: _Pairs) -> Tallies:
    groups: dict[str, tuple[str, bool]] = {}
    for example, label in pairs:
        before = groups.get(example.group, ("", True))[1]
        groups[example.group] = example.cluster, before and is_right(example, label)
    return Tallies([[right, 1] for _, right in groups.values()], [cluster for cluster, _ in groups.values()], ratio)


def _matthews(task: Task, pairs: _Pairs) -> Tallies:
    positive = task.labels[0]
    rows = []
    for example, label in pairs:
        given, true = label == positive, example.label == positive
        rows.append([given and true, given and not true, true and not given, not given and not true])
    return Tallies(rows, _clusters(pairs), matthews)


def _macro_f1(task: Task, pairs: _Pairs) -> Tallies:
    # labels that occur on either side count, as in scikit-learn's default
    labels = [name for name in task.labels if any(name in (label, example.label) for example, label in pairs)]
    rows = [
        [
            part
            for name in labels
            for part in (label == name and example.label == name, label == name, example.label == name)
        ]
        for example, label in pairs
    ]
    return Tallies(rows, _clusters(pairs), macro_f1)


def _answer_f1(_: Task, pairs: _Pairs) -> Tallies:
    rows = [[bool(label) and bool(example.label), bool(label), bool(example.label)] for example, label in pairs]
    return Tallies(rows, _clusters(pairs), answer_f1)


def _text_f1(_: Task, pairs: _Pairs) -> Tallies:
    rows = [[max(token_f1(str(label), text) for text in example.answers), 1] for example, label in pairs]
    return Tallies(rows, _clusters(pairs), ratio)


def _clusters(pairs: _Pairs) -> list[str]:
    return [example.cluster for example, _ in pairs]


_METRICS: dict[str, Callable[[Task, _Pairs], Tallies]] = {
    "accuracy": _accuracy,
    "em": _exact_match,
    "matthews": _matthews,
    "macro_f1": _macro_f1,
    "f1a": _answer_f1,
    "f1": _text_f1,
}
