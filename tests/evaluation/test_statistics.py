"""Bootstrap statistics against scipy and scikit-learn, on real resamples with ties; intervals of few repeated runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, roc_auc_score

from slonik.evaluation.statistics import (
    MacroF1,
    Mean,
    Ratio,
    RelativeChange,
    RocAuc,
    Spearman,
    interval,
    interval_of,
    median_interval,
    paired_difference,
    quartiles,
    replicates,
    value_of,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _resamples(rng: np.random.Generator, n: int, rows: int = 20) -> tuple[np.ndarray, np.ndarray]:
    drawn = rng.integers(0, n, size=(rows, n))
    counts = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(float)
    return drawn, counts


def test_spearman_equals_scipy_with_ties_on_every_resample(rng: np.random.Generator) -> None:
    x, y = rng.integers(0, 3, 80).astype(float), np.round(rng.normal(size=80), 1)
    drawn, counts = _resamples(rng, 80)
    expected = [spearmanr(x[row], y[row]).statistic for row in drawn]
    np.testing.assert_allclose(Spearman(x, y).resampled(counts), expected, atol=1e-12)
    assert value_of(Spearman(x, y)) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_auc_equals_sklearn_with_ties_on_every_resample(rng: np.random.Generator) -> None:
    positive, scores = rng.random(60) < 0.3, np.round(rng.normal(size=60), 1)
    drawn, counts = _resamples(rng, 60)
    expected = [roc_auc_score(positive[row], scores[row]) for row in drawn]
    np.testing.assert_allclose(RocAuc(positive, scores).resampled(counts), expected, atol=1e-12)


def test_macro_f1_equals_sklearn_when_documents_are_resampled(rng: np.random.Generator) -> None:
    labels = np.array(["A", "B", "C"])
    gold = [rng.choice([*labels, "O"], size=12) for _ in range(15)]
    predicted = [np.where(rng.random(12) < 0.6, row, "B") for row in gold]
    tallies = np.array(
        [
            [
                [((g == name) & (p == name)).sum() for name in labels],
                [((g != name) & (p == name)).sum() for name in labels],
                [((g == name) & (p != name)).sum() for name in labels],
            ]
            for g, p in zip(gold, predicted, strict=True)
        ]
    )
    drawn, counts = _resamples(rng, 15)
    expected = [
        f1_score(
            np.concatenate([gold[i] for i in row]),
            np.concatenate([predicted[i] for i in row]),
            average="macro",
            labels=labels,
            zero_division=0,
        )
        for row in drawn
    ]
    np.testing.assert_allclose(MacroF1(tallies).resampled(counts), expected, atol=1e-12)


def test_interval_of_a_mean_has_the_width_of_theory(rng: np.random.Generator) -> None:
    correct = rng.random(2000) < 0.7
    values = replicates(Mean(correct), seed=0, sample="x")
    found = interval(value_of(Mean(correct)), values)
    standard_error = np.sqrt(0.7 * 0.3 / 2000)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.12)


def test_plain_bootstrap_agrees_with_the_statistic(rng: np.random.Generator) -> None:
    x = rng.normal(size=300)
    y = x + rng.normal(size=300)
    drawn = (rng.integers(0, 300, size=300) for _ in range(400))
    values = np.array([spearmanr(x[rows], y[rows]).statistic for rows in drawn])
    plain = interval(float(spearmanr(x, y).statistic), values)
    fast = interval(value_of(Spearman(x, y)), replicates(Spearman(x, y), seed=1, sample="s"))
    assert plain.value == pytest.approx(fast.value, abs=1e-12)
    assert plain.low == pytest.approx(fast.low, abs=0.02)


def test_replicates_repeat_and_are_shared_by_sample_name(rng: np.random.Generator) -> None:
    statistic = Mean(rng.random(50))
    first = replicates(statistic, seed=3, sample="test-file")
    assert (first == replicates(statistic, seed=3, sample="test-file")).all()
    assert not (first == replicates(statistic, seed=3, sample="other")).all()
    assert not (first == replicates(statistic, seed=4, sample="test-file")).all()


def test_pairing_narrows_the_difference_of_similar_models(rng: np.random.Generator) -> None:
    easy = rng.random(1500)
    first = (easy < 0.70).astype(float)
    second = (easy < 0.72).astype(float)  # right on all that the first is right on, and a little more
    paired = paired_difference(
        value_of(Mean(first)),
        replicates(Mean(first), seed=0, sample="t"),
        value_of(Mean(second)),
        replicates(Mean(second), seed=0, sample="t"),
    )
    apart = replicates(Mean(second), seed=0, sample="u") - replicates(Mean(first), seed=0, sample="t")
    assert paired.interval.low > 0
    assert paired.p_value < 0.01
    assert paired.interval.high - paired.interval.low < 0.5 * np.ptp(np.percentile(apart, [2.5, 97.5]))


def test_unequal_numbers_of_replicates_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_difference(0.1, np.zeros(3), 0.2, np.zeros(4))


def test_ratio_of_sums_by_hand() -> None:
    ratio = Ratio([1.0, 2.0, 6.0], [1, 2, 3])
    assert value_of(ratio) == 9 / 6
    assert ratio.resampled(np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])).tolist()[:2] == [1.0, 2.0]
    assert np.isnan(ratio.resampled(np.zeros((1, 3)))[0])


def test_change_is_paired() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(10, 1000, size=200)
    found = interval(-0.1, replicates(RelativeChange(before * 0.9, before), seed=0, sample="x"))
    assert value_of(RelativeChange(before * 0.9, before)) == pytest.approx(-0.1)
    assert found.high - found.low < 1e-9


def test_interval_holds_the_median_and_stays_within_the_runs() -> None:
    runs = [3.0, 1.0, 2.0, 10.0, 2.5]
    low, high = median_interval(runs) or (0, 0)
    assert min(runs) <= low <= np.median(runs) <= high <= max(runs)


def test_same_runs_same_interval_and_equal_runs_no_width() -> None:
    assert median_interval([1.0, 5.0, 2.0]) == median_interval([1.0, 5.0, 2.0])
    assert median_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_one_run_has_no_interval() -> None:
    assert median_interval([4.0]) is None


def test_groups_are_resampled_each_by_itself() -> None:
    first = [1.0, 10.0, 100.0, 5.0]
    second = [2 * value for value in first]

    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return b.sum(axis=1) / a.sum(axis=1)

    low, high = interval_of(ratio, first, second) or (0, 0)
    assert high - low > 1


def test_quartiles_are_numpy_s() -> None:
    assert quartiles([1, 2, 3, 4]) == (1.75, 3.25)


def test_all_right_has_the_exact_bound_and_says_so() -> None:
    from scipy.stats import binomtest

    for n in (3, 20, 300):
        values = replicates(Mean(np.ones(n)), seed=0, sample="x")
        found = interval(1.0, values, n=n)
        assert found.low == pytest.approx(binomtest(n, n).proportion_ci(method="exact").low, abs=1e-9)
        assert found.high == 1.0 and "Clopper" in found.told["interval"]
        none = interval(0.0, values * 0, n=n)
        assert (none.low, none.high) == (0.0, pytest.approx(1 - found.low)) and none.reason
        assert interval(1.0, values, n=n, least=-1.0).low == pytest.approx(2 * found.low - 1)
    unknown = interval(1.0, np.ones(10))
    assert (unknown.low, unknown.high) == (1.0, 1.0) and "every resample" in unknown.reason
    assert not interval(0.5, np.array([0.4, 0.6]), n=2).told
