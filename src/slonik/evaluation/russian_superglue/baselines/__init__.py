"""Baselines of Russian SuperGLUE, by the bare names that stand for them wherever a MODEL is named.

`fit(name, ...)` gives a function from examples to predictions. They see the training data that a model sees, and no
more; they stand beside every measured model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slonik.core.errors import lookup
from slonik.evaluation.russian_superglue.baselines.answerer import Answerer
from slonik.evaluation.russian_superglue.baselines.heuristic import fit_heuristic_majority
from slonik.evaluation.russian_superglue.baselines.majority import fit_majority
from slonik.evaluation.russian_superglue.baselines.random_weighted import fit_random_weighted
from slonik.evaluation.russian_superglue.baselines.tfidf import fit_tfidf
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.tasks import TASKS, Task

# Name -> how to fit it to (task, training examples, seed).
BASELINES: dict[str, Callable[[Task, Sequence[Example], int], Answerer]] = {
    "majority": fit_majority,
    "random_weighted": fit_random_weighted,
    "heuristic_majority": fit_heuristic_majority,
    "tfidf": fit_tfidf,
}


def fit(name: str, task_id: str, train: Sequence[Example], *, seed: int = 0) -> Answerer:
    """A baseline fitted to training examples.

    Args:
        name: a key of `BASELINES`.
        train: labelled examples, of TERRa for LiDiRus; may be empty for MuSeRC with `tfidf`, and for RuCoS.

    Raises:
        SlonikError: unknown baseline or task.
        MissingExtra: `tfidf` without scikit-learn.
    """
    task = lookup(task_id, TASKS, "task")
    return lookup(name, BASELINES, "baseline")(task, train, seed)


__all__ = ["BASELINES", "Answerer", "fit"]
