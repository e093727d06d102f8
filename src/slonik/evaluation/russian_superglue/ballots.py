"""Answers of several runs to the same items as one table, for ensembles: candidates, probabilities, what is right.

Answers that are texts (RuCoS) are told apart by `entity_key`: "Орёл", «Орел» and "орел." are one candidate, spelled as
the passage spells it, and of several such spellings as the runs like best. A run without probabilities gives its answer
all the weight. How answers are combined is the business of the ensembles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slonik.evaluation.russian_superglue.metrics import entity_key, is_right, item_row, sum_function
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import Example, Label, Task, label_name

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ballots:
    """N items with at most K candidates each, answered by R runs.

    Attributes:
        task: the task.
        examples: the items.
        candidates: labels per item, in its own spelling.
        probabilities: (R, N, K); 0 where there is no such candidate.
        known: (N, K) whether there is such a candidate.
        right: (N, K) whether it is right; all False for items without labels.
    """

    task: Task
    examples: tuple[Example, ...]
    candidates: tuple[tuple[Label, ...], ...]
    probabilities: Floats
    known: Flags
    right: Flags

    @classmethod
    def of(cls, task: Task, examples: Sequence[Example], runs: Sequence[Sequence[Prediction]]) -> Ballots:
        """Ballots from the runs' predictions, each in the order of the examples."""
        by_item = [_candidates(task, example, rows) for example, *rows in zip(examples, *runs, strict=True)]
        width = max(len(found) for found in by_item)
        shape = (len(examples), width)
        table, known, right = np.zeros((len(runs), *shape)), np.zeros(shape, bool), np.zeros(shape, bool)
        for number, (example, found) in enumerate(zip(examples, by_item, strict=True)):
            places = {name: place for place, name in enumerate(found)}
            known[number, : len(found)] = True
            if example.is_labelled:
                right[number, : len(found)] = [is_right(example, label) for label in found.values()]
            for run, rows in enumerate(runs):
                for name, value in _weights(task, rows[number]).items():
                    table[run, number, places[name]] += value
        return cls(task, tuple(examples), tuple(tuple(found.values()) for found in by_item), table, known, right)

    def picked(self, combined: Floats) -> list[Prediction]:
        """Predictions from combined probabilities (N, K): the greatest, the first of equals."""
        rows = []
        for example, labels, values in zip(self.examples, self.candidates, combined, strict=True):
            own = values[: len(labels)]
            share = own / own.sum() if own.sum() > 0 else np.full(len(labels), 1 / len(labels))
            named = {label_name(label): float(part) for label, part in zip(labels, share, strict=True)}
            rows.append(Prediction(example.idx, labels[int(own.argmax())], named))
        return rows


@dataclass
class Scorer:
    """The task's value (its metric, or the mean of its two) for any choice of candidates, on any subset of items.

    Args:
        ballots: labelled items.
    """

    ballots: Ballots
    _rows: dict[str, Floats] = field(init=False)
    _groups: Integers = field(init=False)

    def __post_init__(self) -> None:
        task, examples = self.ballots.task, self.ballots.examples
        self._rows = {metric: self._table(metric) for metric in task.metrics if metric != "em"}
        names = {name: number for number, name in enumerate(dict.fromkeys(example.group for example in examples))}
        self._groups = np.array([names[example.group] for example in examples], dtype=np.int64)

    def value(self, combined: Floats, items: Integers) -> float:
        """The task's value when each of `items` gets its greatest candidate.

        Args:
            combined: (len(items), K).
            items: item numbers; groups of items (questions of MuSeRC) are whole.
        """
        task, picks = self.ballots.task, np.asarray(combined).argmax(axis=1)
        metrics = [self._metric(metric, picks, items) for metric in task.metrics]
        return sum(metrics) / len(metrics)

    def _metric(self, metric: str, picks: Integers, items: Integers) -> float:
        if metric == "em":
            wrong = np.unique(self._groups[items][~self.ballots.right[items, picks]])
            return 1 - len(wrong) / len(np.unique(self._groups[items]))
        sums = self._rows[metric][items, picks].sum(axis=0, keepdims=True)
        examples = [self.ballots.examples[number] for number in items] if metric == "macro_f1" else []
        labels = [self.ballots.candidates[n][p] for n, p in zip(items, picks, strict=True)] if examples else []
        return float(sum_function(self.ballots.task, metric, examples, labels)(sums)[0])

    def _table(self, metric: str) -> Floats:
        """(N, K, columns) rows of every candidate."""
        task, ballots = self.ballots.task, self.ballots
        width = len(item_row(task, metric, ballots.examples[0], ballots.candidates[0][0]))
        table = np.zeros((*ballots.known.shape, width))
        for number, (example, labels) in enumerate(zip(ballots.examples, ballots.candidates, strict=True)):
            for place, label in enumerate(labels):
                table[number, place] = item_row(task, metric, example, label)
        return table


def _candidates(task: Task, example: Example, rows: Sequence[Prediction]) -> dict[str, Label]:
    """Name -> label; for texts key -> spelling: one of the passage's if it has any, that with the most weight."""
    if task.labels:
        return {label_name(label): label for label in task.labels}
    spellings: dict[str, list[str]] = {}
    for text in [*example.fields["entities"], *(name for row in rows for name in _texts(row))]:
        spellings.setdefault(entity_key(text), []).append(text)
    weights = Counter[str]()
    for row in rows:
        weights.update(dict(_given(row)))
    entities = set(example.fields["entities"])
    return {
        key: max([text for text in texts if text in entities] or texts, key=lambda text: weights[text])
        for key, texts in spellings.items()
    }


def _given(row: Prediction) -> Mapping[str, float]:
    return row.probabilities or {label_name(row.label): 1.0}


def _texts(row: Prediction) -> list[str]:
    return [str(row.label), *(row.probabilities or ())]


def _weights(task: Task, row: Prediction) -> Mapping[str, float]:
    given = _given(row)
    if task.labels:
        return given
    merged: dict[str, float] = {}
    for text, value in given.items():
        merged[entity_key(text)] = merged.get(entity_key(text), 0.0) + value
    return merged
