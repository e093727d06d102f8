"""Probes against references: the optimum, and baselines."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.evaluation.logistic import PreparedLogistic, fit_logistic
from slonik.inspection.probing.baselines import length, majority, tfidf_bpe, tfidf_chars, tfidf_words
from slonik.inspection.probing.probes import LogisticProbe, fit_mlp, scale
from slonik.inspection.probing.tasks import TASKS, Split, TaskData

RNG = np.random.default_rng(0)


def _data(sizes: tuple[int, int, int] = (240, 80, 80), classes: int = 2) -> TaskData:
    parts = []
    for size in sizes:
        labels = RNG.integers(0, classes, size).astype(str)
        words = ["слон", "киты", "волк"]
        texts = tuple(
            f"{words[int(label)]} номер {n} {'и ' * int(RNG.integers(1, 6))}" for n, label in enumerate(labels)
        )
        parts.append(Split(texts, labels))
    return TaskData(TASKS["gapping"], *parts, "hash")


def _vectors(data: TaskData, signal: float) -> list[np.ndarray]:
    found = []
    for part in (data.train, data.validation, data.test):
        made = RNG.normal(size=(len(part), 12)).astype(np.float32)
        made[np.arange(len(part)), part.labels.astype(int)] += signal
        found.append(100 * made)
    return found


def test_a_prepared_fit_is_the_same_fit() -> None:
    data = _data(classes=3)
    features = scale(*_vectors(data, 2.0))
    prepared = PreparedLogistic(features.train)
    for c in (0.01, 1.0):
        one, other = prepared.fit(data.train.labels, c=c), fit_logistic(features.train, data.train.labels, c=c)
        np.testing.assert_array_equal(one.weights, other.weights)
    probabilities = one.probabilities(features.test)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    assert (one.classes[probabilities.argmax(1)] == one.predict(features.test)).all()


def test_the_probe_finds_what_is_there_and_nothing_where_there_is_nothing() -> None:
    data = _data()
    strong = LogisticProbe(scale(*_vectors(data, 3.0))).fit(data)
    none = LogisticProbe(scale(*_vectors(data, 0.0))).fit(data)
    assert strong.test.mean() > 0.95
    assert none.test.mean() < 0.7
    assert strong.train_accuracy >= strong.test.mean() - 0.05
    assert fit_mlp(scale(*_vectors(data, 3.0)), data, seed=0).test.mean() > 0.9


def test_scaling_changes_no_choice() -> None:
    data = _data()
    vectors = _vectors(data, 1.0)
    first = LogisticProbe(scale(*vectors)).fit(data)
    second = LogisticProbe(scale(*(1000 * part for part in vectors))).fit(data)
    assert first.setting == second.setting
    assert (first.predictions == second.predictions).mean() > 0.99


def test_surface_baselines() -> None:
    data = _data()
    share = max((data.test.labels == label).mean() for label in "01")
    assert majority(data).mean() in (pytest.approx(share), pytest.approx(1 - share))
    assert 0.3 < length(data).mean() < 0.7
    for baseline in (tfidf_words, tfidf_chars, tfidf_bpe):  # the word gives the label away
        assert baseline(data).mean() > 0.95


def test_counted_terms_tell_many_classes_apart() -> None:
    # Each class is a small share of few long texts: at a loose tolerance a joint fit ends before it begins.
    rng = np.random.default_rng(1)
    names, fillers = [f"имя{n}" for n in range(60)], [f"слово{n}" for n in range(300)]

    def split(each: int) -> Split:
        labels = np.repeat(np.array(names), each)
        texts = tuple(" ".join([*rng.choice(fillers, 6), label, *rng.choice(fillers, 6)]) for label in labels)
        return Split(texts, labels)

    data = TaskData(TASKS["word_content"], split(8), split(1), split(2), "hash")
    assert majority(data).mean() < 0.02
    assert tfidf_chars(data).mean() > 0.9
