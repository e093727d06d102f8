"""Similarities equal their definitions by other routes, and are invariant to what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.inspection.page import inspection_tables
from slonik.inspection.similarity import (
    MEASURES,
    Layer,
    _halves,
    cka_interval,
    layer_similarity,
    linear_cka,
    similarity,
    unbiased_hsic,
)
from slonik.inspection.twin import is_twin
from tests import tiny

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
Y = X[:, :5] @ RNG.normal(size=(5, 6)) + 0.5 * RNG.normal(size=(60, 6))


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 as it is written in Song et al. (2012, eq. 5): kernels without their diagonals."""
    n = len(x)
    k, other = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(other, 0.0)
    one = np.ones(n)
    sums = (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ other) + sums - 2 / (n - 2) * one @ k @ other @ one) / (n * (n - 3)))


def test_cka_is_normalised_unbiased_hsic_on_both_routes() -> None:
    for x, y in ((X, Y), (X[:5], Y[:5])):  # more texts than neurons, and fewer
        assert unbiased_hsic(Layer(x), Layer(y)) == pytest.approx(_hsic(x, y))
        if len(x) > 5:
            assert linear_cka(x, y) == pytest.approx(_hsic(x, y) / (_hsic(x, x) * _hsic(y, y)) ** 0.5)


def test_independent_noise_is_about_zero_where_there_are_fewer_texts_than_dimensions() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found.append(cka_interval(rng.normal(size=(64, 384)), rng.normal(size=(64, 384))))
    values = [value for value, _, _ in found]
    assert abs(np.mean(values)) < 0.02
    assert sum(low <= 0.0 <= high for _, low, high in found) >= 18


def test_the_interval_covers_what_many_texts_say() -> None:
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(4, 12))

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        shared = rng.normal(size=(n, 4)) * [3.0, 2.0, 1.0, 1.0]
        return shared @ mixing + rng.normal(size=(n, 12)), shared + rng.normal(size=(n, 4))

    truth = linear_cka(*drawn(40_000))
    intervals = [cka_interval(*drawn(60))[1:] for _ in range(40)]
    assert sum(low <= truth <= high for low, high in intervals) >= 36


def test_pwcca_is_the_papers_on_whole_layers() -> None:
    """By another route: correlations and directions from the covariance matrices (Morcos et al. 2018, section 3)."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 6)) * [100, 30, 10, 1, 0.1, 0.01]  # 99 % of the variance would be two directions
    y = x @ rng.normal(size=(6, 5)) + rng.normal(size=(400, 5))
    x, y = x - x.mean(0), y - y.mean(0)
    whiten = [np.linalg.inv(np.linalg.cholesky(part.T @ part)).T for part in (x, y)]
    u, rho, _ = np.linalg.svd(whiten[0].T @ x.T @ y @ whiten[1], full_matrices=False)
    weights = np.abs((x @ whiten[0] @ u).T @ x).sum(1)
    assert MEASURES["pwcca"](x, y) == pytest.approx(float((weights * rho).sum() / weights.sum()))


def test_kernels_of_halves_give_the_same_cka() -> None:
    rows = np.sort(np.random.default_rng(derive_seed(0, "cka", 60)).permutation(60)[:30])
    assert _halves([Layer(X)], [Layer(Y)])[0, 0, 0] == pytest.approx(linear_cka(X[rows], Y[rows]), abs=1e-5)


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
    with pytest.raises(SlonikError, match="linreg is 1 by itself with 8 texts for 8 dimensions"):
        layer_similarity([X[:8]], [X[:8]], "linreg")
    with pytest.raises(SlonikError, match="4 texts at least, there are 3"):
        linear_cka(X[:3], Y[:3])
    assert linear_cka(np.ones((9, 2)), X[:9]) == 0.0


def test_similarity_as_one_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (slonik.load(tiny.checkpoint(tmp_path / family, family)) for family in ("bert", "gpt2"))
    texts = tiny.TEXTS[:12]
    found = similarity(first, second, [*texts, *texts[:5]], measures=("cka", "maxcorr"))
    assert "5 of 17 texts are there before" in capsys.readouterr().err
    assert found.texts == 12
    assert [grid.shape for grid in found.grids.values()] == [(3, 3), (3, 3)]
    own = [r for r in found.records if not is_twin(r.model)]
    assert len(found.records) == 2 * len(own), "as many of the first model with random weights"
    (table,) = inspection_tables(found.records)
    assert sum(row.cells[0].text.startswith("random weights, layer") for row in table.rows) == 2  # one a measure
    assert any("are too few" in note for note in table.notes)
    assert similarity(first, second, texts, twin=False).twin is None
    bounded = [r for r in own if r.low is not None]
    assert [r.variant for r in bounded] == ["cka"] * 3
    for record in bounded:
        assert record.low <= record.value <= record.high  # type: ignore[operator]
        assert record.value == found.grids["cka"][int(record.task[-1])].max()
        assert record.detail["floor"] < record.value
        assert record.detail["layer_low"] <= record.layer <= record.detail["layer_high"]
        assert set(record.hashes) == {"weights", "weights_against", "texts"}
    floors = [r.detail["floor"] for r in own if r.variant == "maxcorr" and "floor" in r.detail]
    assert len(floors) == 3
    assert min(floors) > 0.3  # with twelve texts some neuron is like any other: the floor says so
