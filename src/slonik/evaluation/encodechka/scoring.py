"""Scores of the sentence tasks: pairs (STS, PI, NLI), classification (SA, TI, IA, IC, ICX), and speed.

Pairs. `compatible`: the dot product of raw or normalised vectors, under every pooling, and the maximum over them on
the test set. `fixed`: the cosine under the pooling that the checkpoint declares; no choice is made on the test set.
NLI fits a classifier on that single number, in three folds of the test file, as published.

Classification: a classifier is trained on vectors of the training part and scored on the test part. `compatible`: the
maximum over poolings (and, where the metric is accuracy, over logistic regression and 3 nearest neighbours) on the
test set. `fixed`: pooling and classifier are chosen by cross-validation inside the training part, and test texts whose
class never occurs there are left out (no classifier could be right on them).

The word tasks are scored in `words`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray
from slonik.evaluation.agreement import unit
from slonik.evaluation.encodechka.embeddings import SentenceVectors
from slonik.evaluation.encodechka.readers import Labelled, Pairs
from slonik.evaluation.encodechka.tasks import Task
from slonik.evaluation.logistic import fit_logistic
from slonik.evaluation.resources.in_turns import GROUP, distrust, take_turns
from slonik.evaluation.statistics import Mean, Ratio, RocAuc, Spearman, Statistic, value_of

Labels: TypeAlias = NDArray[np.str_]
_Judge: TypeAlias = Callable[[NDArray[np.float32]], Statistic]

FOLDS = 3
_PAIRS_SELECTED_ON = {"compatible": "test", "fixed": "nothing: the pooling is the checkpoint's own"}
_CHOICE_TOLERANCE = 3e-3  # classifiers that only take part in a choice need no more
_NEIGHBOURS = 3
_WARM_UP_TEXTS = 10


@dataclass(frozen=True)
class Score:
    """One task under one variant.

    Attributes:
        statistic: the metric over test items.
        value: the metric.
        seconds: time of classifiers and metric; encoding is counted elsewhere.
        detail: pooling and classifier that the value is from, all others tried, faults kept or mended.
    """

    statistic: Statistic
    value: float
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)


def score_of(statistic: Statistic, seconds: float, **detail: Any) -> Score:
    """A score whose value is computed from its statistic."""
    return Score(statistic, value_of(statistic), seconds, detail)


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Values for a record's detail: six digits are more than any of them is good for."""
    return {name: round(value, 6) for name, value in values.items()}


def score_correlation(
    pairs: Pairs, targets: Sequence[float], vectors: SentenceVectors, variants: Sequence[str]
) -> dict[str, Score]:
    """Spearman's correlation of similarity and target, per variant of the protocol."""
    return _score(pairs, vectors, variants, lambda products: Spearman(targets, products))


def score_inference(pairs: Pairs, vectors: SentenceVectors, variants: Sequence[str]) -> dict[str, Score]:
    """Accuracy of the relation predicted from similarity alone, per variant of the protocol."""
    labels = np.asarray(pairs.targets)
    return _score(pairs, vectors, variants, lambda products: Mean(_cross_predicted(products, labels) == labels))


def _score(pairs: Pairs, vectors: SentenceVectors, variants: Sequence[str], judge: _Judge) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for variant in variants:
        start = time.perf_counter()
        if variant == "compatible":
            judged = {name: judge(products(pairs, vectors, name)) for name in vectors.variants}
        else:
            judged = {vectors.declared: judge(products(pairs, vectors, vectors.declared, cosine=True))}
        values = {name: value_of(statistic) for name, statistic in judged.items()}
        winner = max(values, key=lambda name: values[name])  # the earlier wins a draw
        detail = {"pooling": winner, "poolings": rounded(values), "selected_on": _PAIRS_SELECTED_ON[variant]}
        scores[variant] = score_of(judged[winner], time.perf_counter() - start, **detail)
    return scores


def products(pairs: Pairs, vectors: SentenceVectors, variant: str, *, cosine: bool = False) -> NDArray[np.float32]:
    """Dot product of each pair's vectors (N,), or their cosine."""
    first, second = vectors.get(pairs.first, variant), vectors.get(pairs.second, variant)
    if cosine:
        first, second = unit(first), unit(second)
    return np.asarray(np.sum(first * second, axis=1), dtype=np.float32)


def _cross_predicted(values: NDArray[np.float32], labels: NDArray[np.str_]) -> NDArray[np.str_]:
    """Label of each pair, predicted by a classifier fitted on the two other folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(n_splits=3, shuffle=True, random_state=1)
    classifier = LogisticRegression(max_iter=10_000)  # one feature: nothing to gain from a faster one
    return np.asarray(cross_val_predict(classifier, values[:, None], labels, cv=folds))


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
            scores[variant] = _judged(work, candidates, variant)
            bar.advance(len(candidates) * (FOLDS + 1 if variant == "fixed" else 1))
    return scores


def _judged(work: _Work, candidates: Sequence[tuple[str, str]], variant: str) -> Score:
    """The best candidate: by the test itself where that is published, else by folds of the training part."""
    start = time.perf_counter()
    if variant == "compatible":
        values = {candidate: value_of(work.judge_test(*candidate)) for candidate in candidates}
        selected_on = "test"
    else:
        values = {candidate: work.cross_validated(*candidate) for candidate in candidates}
        selected_on = f"{FOLDS} folds of the training part"
    winner = max(values, key=lambda candidate: values[candidate])  # the earlier wins a draw
    pooling, kind = winner
    statistic = work.judge_test(pooling, kind, known_only=variant != "compatible")
    named = rounded({"__".join(candidate): value for candidate, value in values.items()})
    detail = {"pooling": pooling, "classifier": kind, "poolings": named, "selected_on": selected_on}
    return score_of(statistic, time.perf_counter() - start, **detail | work.unseen())


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
        """The metric on the test part."""
        labels, answers = np.asarray(self.test.labels), self._answer(pooling, kind)
        if known_only:
            known = np.isin(labels, np.asarray(self.train.labels))
            labels, answers = labels[known], answers[known]
        return self._statistic(labels, answers)

    def cross_validated(self, pooling: str, kind: str) -> float:
        """Mean metric over folds of the training part."""
        features, labels = self.vectors.get(self.train.texts, pooling), np.asarray(self.train.labels)
        values = []
        for fitted, held_out in _folds(labels):
            answers = self._fit_and_answer(
                kind, features[fitted], labels[fitted], features[held_out], tolerance=_CHOICE_TOLERANCE
            )
            values.append(value_of(self._statistic(labels[held_out], answers)))
        return float(np.mean(values))

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


def score_speed(texts: Sequence[str], vectors: SentenceVectors, variant: str) -> Score:
    """Mean milliseconds per text, one text at a time, tokenization included.

    `compatible`: no warm-up, every pooling is built, as published. `fixed`: ten texts warm up, then the encoder gives
    its own vector only. Times of other machines, and of other loads on this one, compare with nothing: use
    `slonik bench` for a model beside a model.
    """
    start = time.perf_counter()
    is_published = _as_published(variant)
    if not is_published:
        for text in texts[:_WARM_UP_TEXTS]:
            vectors.encode_one(text, every_pooling=False)
    times = []
    for text in texts:
        began = time.perf_counter()
        vectors.encode_one(text, every_pooling=is_published)
        times.append((time.perf_counter() - began) * 1000)
    middle = sorted(times)[len(times) // 2]
    detail = {"median": round(middle, 4), "cpus": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS")}
    return score_of(Mean(times), time.perf_counter() - start, **detail)


def _as_published(variant: str) -> bool:
    return variant == "compatible"


@dataclass(frozen=True)
class SpeedBeside:
    """Milliseconds per text of two encoders that took turns, by the clock that is to be trusted.

    Attributes:
        first, second: means over the texts.
        statistic: the difference second - first, over groups of texts that were done right after one another.
        detail: which clock, processor's and clock's means of both, what speaks against the clock.
    """

    first: float
    second: float
    statistic: Statistic
    detail: dict[str, Any]


def speed_beside(texts: Sequence[str], first: SentenceVectors, second: SentenceVectors, variant: str) -> SpeedBeside:
    """Time two encoders in turns, as `score_speed` times one.

    Times that were taken minutes apart tell the machine's load apart, not the encoders. On a loaded machine the
    processor's time is compared instead of the clock's, and the detail says so.
    """
    is_published = _as_published(variant)
    calls = [partial(vectors.encode_one, every_pooling=is_published) for vectors in (first, second)]
    for call in calls:
        for text in texts[:_WARM_UP_TEXTS]:
            call(text)
    turns = take_turns(calls, texts, 1)
    starts = np.arange(0, len(texts), GROUP)
    wall, cpu = (np.add.reduceat(times[0], starts, axis=1) for times in (turns.wall, turns.cpu))
    doubt = distrust(wall.ravel().tolist(), cpu.ravel().tolist())
    taken = cpu if doubt else wall
    sizes = np.diff([*starts, len(texts)])
    means = {"ms": (wall.sum(axis=1) / len(texts)).tolist(), "cpu_ms": (cpu.sum(axis=1) / len(texts)).tolist()}
    detail: dict[str, Any] = {name: [round(value, 4) for value in both] for name, both in means.items()}
    detail |= {"in_turns": True, "clock": "processor" if doubt else "wall"} | ({"warnings": [doubt]} if doubt else {})
    both = taken.sum(axis=1) / len(texts)
    return SpeedBeside(float(both[0]), float(both[1]), Ratio(taken[1] - taken[0], sizes), detail)
