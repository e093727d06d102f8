"""The fast classifier against scikit-learn run to tight convergence: objective, coefficients, predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from slonik.evaluation.logistic import LogisticModel, fit_logistic


def _data(classes: int, rows: int = 400, dimension: int = 16) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Ill-conditioned features like sentence vectors: a large common mean, variances over four decades."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dimension))
    targets = rng.integers(0, classes, rows)
    spread = np.logspace(0, -2, dimension)
    features = (centres[targets] * 0.7 + rng.normal(size=(rows, dimension))) * spread + 3
    held_out = (centres[rng.integers(0, classes, rows)] * 0.7 + rng.normal(size=(rows, dimension))) * spread + 3
    return features.astype(np.float32), [f"c{t:02d}" for t in targets], held_out.astype(np.float32)


def _loss(model: LogisticModel, features: np.ndarray, labels: list[str]) -> float:
    """The objective at a model's coefficients, in float64: what `fit_logistic` minimises."""
    table = np.asarray(features, dtype=np.float64)
    targets = np.searchsorted(model.classes, np.asarray(labels))
    scores = table @ np.asarray(model.weights, dtype=np.float64).T + model.intercepts
    if len(model.classes) == 2:
        margin = np.where(targets == 1, scores[:, 0], -scores[:, 0])
        value = np.logaddexp(0.0, -margin).mean()
    else:
        scores -= scores.max(axis=1, keepdims=True)
        value = (np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(targets)), targets]).mean()
    return float(value + (np.asarray(model.weights) ** 2).sum() / (2 * len(table)))


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_it_reaches_the_optimum_of_sklearn(classes: int) -> None:
    features, labels, held_out = _data(classes)
    reference = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(features.astype(np.float64), labels)
    ours = fit_logistic(features, labels)
    theirs = LogisticModel(np.asarray(reference.classes_), reference.coef_, reference.intercept_, 0)
    assert _loss(ours, features, labels) == pytest.approx(_loss(theirs, features, labels), abs=2e-6)
    assert (ours.predict(held_out) == reference.predict(held_out)).mean() > 0.995
    expected = reference.decision_function(held_out.astype(np.float64))
    shift = 0 if classes == 2 else (expected - ours.decision(held_out)).mean()
    np.testing.assert_allclose(ours.decision(held_out) + shift, expected, atol=0.02)


def test_it_comes_closer_than_sklearn_does_by_default() -> None:
    features, labels, _ = _data(12)
    default = LogisticRegression(max_iter=10_000).fit(features, labels)
    theirs = LogisticModel(np.asarray(default.classes_), default.coef_, default.intercept_, 0)
    ours = fit_logistic(features, labels)
    assert _loss(ours, features, labels) <= _loss(theirs, features, labels) + 1e-7
    assert ours.iterations < int(default.n_iter_[0])


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes"):
        fit_logistic(np.zeros((3, 2), np.float32), ["a", "a", "a"])


def test_constant_features_leave_the_class_shares() -> None:
    model = fit_logistic(np.ones((4, 2), np.float32), ["a", "a", "a", "b"])
    assert model.decision(np.ones((1, 2), np.float32))[0] == pytest.approx(np.log(1 / 3), abs=1e-3)
