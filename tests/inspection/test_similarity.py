"""Similarities equal their definitions by other routes, and are invariant to what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.inspection.similarity import MEASURES, cka_interval, layer_similarity, linear_cka, similarity
from tests import tiny

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
Y = X[:, :5] @ RNG.normal(size=(5, 6)) + 0.5 * RNG.normal(size=(60, 6))


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    centre = np.eye(n) - 1 / n
    return float(np.trace(x @ x.T @ centre @ y @ y.T @ centre))


def test_cka_is_normalised_hsic_on_both_routes() -> None:
    for x, y in ((X, Y), (X[:5], Y[:5])):  # more texts than neurons, and fewer
        assert linear_cka(x, y) == pytest.approx(_hsic(x, y) / (_hsic(x, x) * _hsic(y, y)) ** 0.5)


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_equal_layers_are_alike_and_noise_is_less(name: str) -> None:
    measure = MEASURES[name]
    assert measure(X, 3.0 * X + 1.0) == pytest.approx(1.0)
    assert measure(X, RNG.normal(size=(60, 8))) < 0.9 * measure(X, X)


def test_invariances() -> None:
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    mixing = RNG.normal(size=(6, 6))
    assert linear_cka(X, Y @ rotation) == pytest.approx(linear_cka(X, Y))
    assert linear_cka(X, Y @ mixing) != pytest.approx(linear_cka(X, Y), abs=1e-3)
    assert MEASURES["linreg"](X, Y @ mixing) == pytest.approx(MEASURES["linreg"](X, Y))
    assert MEASURES["maxcorr"](X, -Y[:, ::-1]) == pytest.approx(MEASURES["maxcorr"](X, Y))


def test_canonical_correlations_are_those_of_scikit_learn() -> None:
    from sklearn.cross_decomposition import CCA

    x, y = RNG.normal(size=(300, 3)), RNG.normal(size=(300, 3))
    y[:, 0] += 2 * x[:, 0]
    left, right = CCA(n_components=3, max_iter=5000, tol=1e-12).fit_transform(x, y)
    expected = np.mean([np.corrcoef(left[:, i], right[:, i])[0, 1] for i in range(3)])
    assert MEASURES["svcca"](x, y) == pytest.approx(expected, abs=1e-3)


def test_grid_interval_and_errors() -> None:
    grid = layer_similarity([X, Y], [Y, X[:, :3], Y], "cka")
    assert grid.shape == (2, 3)
    assert grid[1, 0] == pytest.approx(1.0)
    value, low, high = cka_interval(X, Y)
    assert low < value < high
    with pytest.raises(SlonikError, match="unknown measure"):
        layer_similarity([X], [Y], "cosine")
    with pytest.raises(SlonikError, match="same texts"):
        layer_similarity([X], [Y[:10]])
    with pytest.raises(SlonikError, match="linreg is 1 by itself with 7 texts for 8 dimensions"):
        layer_similarity([X[:7]], [X[:7]], "linreg")


def test_similarity_as_one_call(tmp_path: Path) -> None:
    first, second = (slonik.load(tiny.checkpoint(tmp_path / family, family)) for family in ("bert", "gpt2"))
    found = similarity(first, second, tiny.TEXTS[:12], measures=("cka", "maxcorr"))
    assert [grid.shape for grid in found.grids.values()] == [(3, 3), (3, 3)]
    bounded = [r for r in found.records if r.low is not None]
    assert [r.variant for r in bounded] == ["cka"] * 3
    for record in bounded:
        assert record.low <= record.value <= record.high  # type: ignore[operator]
        assert record.value == found.grids["cka"][int(record.task[-1])].max()
