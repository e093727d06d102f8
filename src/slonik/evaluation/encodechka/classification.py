"""Scores of the classification tasks: sentiment, toxicity, inappropriateness, intents.

A classifier is trained on vectors of the training part and scored on the test part. `compatible`: the maximum over
poolings (and, where the metric is accuracy, over logistic regression and 3 nearest neighbours) on the test set.
`fixed`: pooling and classifier are chosen by cross-validation inside the training part, and test texts whose class
never occurs there are left out (no classifier could be right on them).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray
from slonik.evaluation.encodechka.embeddings import SentenceVectors
from slonik.evaluation.encodechka.readers import Labelled
from slonik.evaluation.encodechka.score import Score, best, rounded, score_of
from slonik.evaluation.encodechka.tasks import Task
from slonik.evaluation.logistic import fit_logistic
from slonik.evaluation.statistics import Mean, RocAuc, Statistic, value_of

Labels: TypeAlias = NDArray[np.str_]

FOLDS = 3
_CHOICE_TOLERANCE = 3e-3  # classifiers that only take part in a choice need no more
_NEIGHBOURS = 3


def score_classification(
    task: Task, train: Labelled, test: Labelled, vectors: SentenceVectors, variants: Sequence[str]
) -> dict[str, Score]:
    """Accuracy or area under the ROC curve, per variant of the protocol."""
    work = _Work(task, train, test, vectors)
    candidates = [(pooling, kind) for pooling in vectors.variants for kind in work.classifiers]
    rounds = len(candidates) * sum(FOLDS + 1 if variant == "fixed" else 1 for variant in variants)
    scores: dict[str, Score] = {}
    with progress_bar(f"{task.id}: classifiers", total=rounds) as bar:
        for variant in variants:
            start = time.perf_counter()
            if variant == "compatible":
                scores[variant] = _compatible(work, candidates, start)
                bar.advance(len(candidates))
            else:
                scores[variant] = _fixed(work, candidates, start)
                bar.advance(len(candidates) * (FOLDS + 1))
    return scores


def _compatible(work: _Work, candidates: Sequence[tuple[str, str]], start: float) -> Score:
    judged = {f"{pooling}__{kind}": work.judge_test(pooling, kind) for pooling, kind in candidates}
    figures = {name: value_of(statistic) for name, statistic in judged.items()}
    winner = best(figures)
    detail = _detail(winner, figures, selected_on="test") | work.unseen()
    return score_of(judged[winner], time.perf_counter() - start, **detail)


def _fixed(work: _Work, candidates: Sequence[tuple[str, str]], start: float) -> Score:
    figures = {f"{pooling}__{kind}": work.cross_validated(pooling, kind) for pooling, kind in candidates}
    winner = best(figures)
    pooling, kind = winner.rsplit("__", 1)
    detail = _detail(winner, figures, selected_on=f"{FOLDS} folds of the training part") | work.unseen()
    return score_of(work.judge_test(pooling, kind, known_only=True), time.perf_counter() - start, **detail)


def _detail(winner: str, figures: dict[str, float], *, selected_on: str) -> dict[str, Any]:
    pooling, kind = winner.rsplit("__", 1)
    return {"pooling": pooling, "classifier": kind, "poolings": rounded(figures), "selected_on": selected_on}


@dataclass
class _Work:
    """One task's data with the classifiers fitted so far: `fixed` takes them over from `compatible`."""

    task: Task
    train: Labelled
    test: Labelled
    vectors: SentenceVectors
    _answers: dict[tuple[str, str], NDArray[Any]] = field(default_factory=dict)

    @property
    def classifiers(self) -> tuple[str, ...]:
        return ("lr",) if self.task.kind == "roc_auc" else ("lr", "knn")

    def judge_test(self, pooling: str, kind: str, *, known_only: bool = False) -> Statistic:
        """The figure on the test part."""
        labels, answers = np.asarray(self.test.labels), self._answer(pooling, kind)
        if known_only:
            known = np.isin(labels, np.asarray(self.train.labels))
            labels, answers = labels[known], answers[known]
        return self._statistic(labels, answers)

    def cross_validated(self, pooling: str, kind: str) -> float:
        """Mean figure over folds of the training part."""
        features, labels = self.vectors.get(self.train.texts, pooling), np.asarray(self.train.labels)
        figures = []
        for fitted, held_out in _folds(labels):
            answers = self._fit_and_answer(
                kind, features[fitted], labels[fitted], features[held_out], tolerance=_CHOICE_TOLERANCE
            )
            figures.append(value_of(self._statistic(labels[held_out], answers)))
        return float(np.mean(figures))

    def unseen(self) -> dict[str, Any]:
        """Test texts whose class the training part lacks, for a record's detail."""
        missing = sorted(set(self.test.labels) - set(self.train.labels))
        if not missing:
            return {}
        count = sum(label in missing for label in self.test.labels)
        return {"unseen_classes": missing, "unseen_texts": count}

    def _answer(self, pooling: str, kind: str) -> NDArray[Any]:
        if (pooling, kind) not in self._answers:
            features = self.vectors.get(self.train.texts, pooling)
            test = self.vectors.get(self.test.texts, pooling)
            self._answers[pooling, kind] = self._fit_and_answer(kind, features, np.asarray(self.train.labels), test)
        return self._answers[pooling, kind]

    def _fit_and_answer(
        self, kind: str, features: FloatArray, labels: Labels, test: FloatArray, tolerance: float = 1e-4
    ) -> NDArray[Any]:
        if kind == "knn":
            return _neighbours(features, labels, test)
        model = fit_logistic(features, labels, tolerance=tolerance)
        return model.decision(test) if self.task.kind == "roc_auc" else model.predict(test)

    def _statistic(self, labels: Labels, answers: NDArray[Any]) -> Statistic:
        if self.task.kind == "roc_auc":
            return RocAuc(labels.astype(np.float64) > 0.5, answers)
        return Mean(answers == labels)


def _folds(labels: Labels) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indices to fit on and to hold out; every class is spread evenly, however rare."""
    rng = np.random.default_rng(1)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class after class, shuffled inside
    fold = np.empty(len(labels), dtype=np.intp)
    fold[order] = np.arange(len(labels)) % FOLDS
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(FOLDS)]


def _neighbours(features: FloatArray, labels: Labels, test: FloatArray) -> Labels:
    """Labels by the three nearest training texts, weighted by inverse distance, as scikit-learn does it."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=min(_NEIGHBOURS, len(features)), weights="distance")
    return np.asarray(classifier.fit(features, labels).predict(test))
