"""The ways to combine runs, each fitted on labelled items, by name; what each is worth; how differently runs answer.

`best` chooses among the others by inner folds. Which benchmark the items come from is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import lookup
from slonik.finetuning.ensembles.combine import Combiner, select, stack

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """Labelled items answered by runs.

    Attributes:
        probabilities: (R, N, K).
        known: (N, K) whether there is such a candidate.
        right: (N, K).
        folds: (N,) fold of each item; items that belong together share one.
        score: (combined (n, K), item numbers (n,)) -> the score, the greater the better.
    """

    probabilities: Floats
    known: Flags
    right: Flags
    folds: Integers
    score: Callable[[Floats, Integers], float]

    def part(self, items: Integers) -> tuple[Floats, Flags, Flags]:
        """Probabilities, known and right of some items."""
        return self.probabilities[:, items], self.known[items], self.right[items]


Method = Callable[[Problem, Integers], Combiner]
"""Labelled items -> the combination that it makes of them."""


def fit(method: str, problem: Problem, items: Integers) -> Combiner:
    """The combination that a method makes of some items.

    Raises:
        SlonikError: unknown method.
    """
    return lookup(method, METHODS, "method")(problem, items)


def out_of_fold(method: str, problem: Problem) -> Floats:
    """Combined probabilities (N, K): each fold's by a combination fitted to the other folds.

    What a combination is worth on items that had no say in it: weights, members and methods that are chosen on a
    development set look better there than they are; a nested split keeps the choosing and the measuring apart (Cawley
    & Talbot 2010).

    Raises:
        SlonikError: unknown method.
    """
    return _folded(lookup(method, METHODS, "method"), problem, np.arange(len(problem.known)))


def _single(problem: Problem, items: Integers) -> Combiner:
    """The one run that does best on the items."""
    scores = [problem.score(run[items], items) for run in problem.probabilities]
    weights = np.zeros(len(scores))
    weights[int(np.argmax(scores))] = 1
    return Combiner("single", "mean", tuple(weights.tolist()))


def equal(rule: Literal["mean", "vote"], runs: int) -> Combiner:
    """All runs alike: what needs no labels."""
    return Combiner(rule, rule, (1.0,) * runs)


def _weighted(problem: Problem, items: Integers) -> Combiner:
    """Mean weighted by how far a run's share of right answers is above chance, in log-odds (Nitzan & Paroush 1982)."""
    probabilities, known, right = problem.part(items)
    picks = probabilities.argmax(axis=2)
    hits = np.take_along_axis(right, picks.T, axis=1).sum(axis=0)  # (R,)
    chance = float((1 / known.sum(axis=1)).mean())
    shares = (hits + 1) / (len(items) + 2)
    weights = np.maximum(0, np.log(shares / (1 - shares)) - math.log(chance / (1 - chance)) if chance < 1 else 0)
    weights = weights if weights.sum() > 0 else np.ones(len(shares))
    return Combiner("weighted", "mean", tuple((weights / weights.sum()).tolist()))


def _greedy(problem: Problem, items: Integers) -> Combiner:
    weights = select(problem.probabilities[:, items], lambda combined: problem.score(combined, items))
    return Combiner("greedy", "mean", tuple(weights.tolist()))


def _stacking(problem: Problem, items: Integers) -> Combiner:
    probabilities, known, right = problem.part(items)
    same = bool(problem.known.all())
    weights, biases = stack(probabilities, known, right, with_biases=same)
    return Combiner("stacking", "logits", tuple(weights.tolist()), tuple(biases.tolist()))


def _best(problem: Problem, items: Integers) -> Combiner:
    """The method that does best on inner folds, fitted on all of the items."""
    scores = {name: problem.score(_folded(METHODS[name], problem, items), items) for name in _CHOICES}
    chosen = max(scores, key=lambda name: scores[name])
    found = METHODS[chosen](problem, items)
    return Combiner(f"best ({chosen})", found.rule, found.weights, found.biases)


def _folded(fitted: Method, problem: Problem, items: Integers) -> Floats:
    """Combined probabilities (n, K) of items, each fold's by what was fitted to the other folds among them."""
    combined = np.zeros((len(items), problem.known.shape[1]))
    folds = problem.folds[items]
    for fold in np.unique(folds):
        inside, outside = items[folds == fold], items[folds != fold]
        combiner = fitted(problem, outside if len(outside) else inside)
        combined[folds == fold] = combiner.combine(problem.probabilities[:, inside], problem.known[inside])
    return combined


METHODS: dict[str, Method] = {
    "single": _single,
    "mean": lambda problem, items: equal("mean", len(problem.probabilities)),
    "weighted": _weighted,
    "vote": lambda problem, items: equal("vote", len(problem.probabilities)),
    "greedy": _greedy,
    "stacking": _stacking,
    "best": _best,
}
_CHOICES = ("mean", "weighted", "vote", "greedy", "stacking")


def disagreement(probabilities: Floats) -> Floats:
    """(R, R) share of items that two runs (R, N, K) answer differently (Kuncheva & Whitaker 2003)."""
    picks = probabilities.argmax(axis=2)  # (R, N)
    apart: Floats = (picks[:, None] != picks[None]).mean(axis=2)
    return apart
