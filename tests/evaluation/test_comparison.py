"""McNemar against brute force, almost stochastic order against its definition and its limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.evaluation.comparison import almost_stochastic_order, holm, mcnemar, seed_orders
from slonik.reporting.scores import difference_tables, order_tables, score_tables


@pytest.mark.parametrize(("own", "other", "both"), [(0, 0, 5), (1, 0, 3), (9, 2, 20), (30, 12, 5), (5, 5, 1)])
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_items(own: int, other: int, both: int) -> None:
    first = [True] * own + [False] * other + [True] * both
    second = [False] * own + [True] * other + [True] * both
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (own, other)
    expected = binomtest(own, own + other).pvalue if own + other else 1.0
    assert found.p_value == pytest.approx(expected)
    assert mcnemar(second, first).p_value == pytest.approx(found.p_value)


def test_mcnemar_by_enumeration() -> None:
    outcomes = [sum(signs) for signs in itertools.product((0, 1), repeat=6)]
    extreme = sum(1 for ones in outcomes if min(ones, 6 - ones) <= 1) / len(outcomes)
    assert mcnemar([True] * 5 + [False], [False] * 5 + [True]).p_value == pytest.approx(extreme)


def test_scores_that_are_all_greater_dominate_and_the_other_way_round_do_not() -> None:
    low, high = [0.60, 0.61, 0.62, 0.63, 0.64], [0.70, 0.71, 0.72, 0.73, 0.74]
    better, worse = almost_stochastic_order(high, low), almost_stochastic_order(low, high)
    assert (better.violation, better.epsilon_min, better.is_dominant) == (0.0, 0.0, True)
    assert (worse.violation, worse.epsilon_min, worse.is_dominant) == (1.0, 1.0, False)


def test_violation_is_the_share_of_squared_quantile_differences_where_a_is_below() -> None:
    a, b = [0.5, 0.8], [0.6, 0.6]
    found = almost_stochastic_order(a, b)  # the lower half is .1 below, the upper half .2 above
    assert found.violation == pytest.approx(0.1**2 / (0.1**2 + 0.2**2), abs=2e-3)
    assert almost_stochastic_order(b, a).violation == pytest.approx(1 - found.violation, abs=2e-3)


def test_equal_samples_dominate_neither_and_the_bound_lies_above_the_violation() -> None:
    scores = list(np.random.default_rng(0).normal(0.7, 0.02, 8))
    same = almost_stochastic_order(scores, scores)
    assert same.violation == 0.5 and not same.is_dominant
    close = almost_stochastic_order([s + 0.004 for s in scores], scores[::-1][:5])
    assert close.epsilon_min >= close.violation
    assert close == almost_stochastic_order([s + 0.004 for s in scores], scores[::-1][:5])


def test_one_seed_is_too_few() -> None:
    with pytest.raises(SlonikError, match="at least two seeds of each"):
        almost_stochastic_order([0.7], [0.6, 0.7])


def _record(model: str, seeds: dict[str, float], data: str = "d") -> Record:
    value = sum(seeds.values()) / len(seeds)
    return Record(
        suite="russian_superglue", task="terra", model=model, metric="accuracy", value=value, low=value, high=value,
        detail={"seeds": seeds}, hashes={"data": data},
    )  # fmt: skip


GOOD = _record("good", {str(seed): 0.70 + seed / 100 for seed in range(5)})
POOR = _record("poor", {str(seed): 0.60 + seed / 100 for seed in range(5)})


def test_every_ordered_pair_has_a_record_and_the_better_model_dominates() -> None:
    found = {record.model: record for record in seed_orders([GOOD, POOR])}
    assert set(found) == {"good over poor", "poor over good"}
    assert found["good over poor"].value == 0 and found["poor over good"].value == 1
    assert found["good over poor"].detail["dominant"] and not found["poor over good"].detail["dominant"]


def test_other_data_and_too_few_seeds_are_left_out() -> None:
    assert seed_orders([GOOD, _record("other", {"0": 0.5, "1": 0.5, "2": 0.5}, data="e")]) == []
    assert seed_orders([GOOD, _record("two", {"0": 0.5, "1": 0.6})]) == []


def test_three_seeds_are_never_sure_and_tasks_are_corrected_together() -> None:
    few = [
        _record(name, {str(seed): base + seed / 100 for seed in range(3)}) for name, base in (("a", 0.7), ("b", 0.6))
    ]
    found = {record.model: record.detail for record in seed_orders(few)}
    assert found["a over b"]["dominant"] and not found["a over b"]["sure"]
    tasks = [one.model_copy(update={"task": f"task{n}"}) for n in range(20) for one in (GOOD, POOR)]
    details = [record.detail for record in seed_orders(tasks) if record.model == "good over poor"]
    # the least p of five against five seeds is 1/252: times twenty it is above .05
    assert details[0]["p_value"] == pytest.approx(1 / 252) and details[0]["p_holm"] == pytest.approx(20 / 252)
    assert not any(detail["sure"] for detail in details)
    assert next(record.detail["sure"] for record in seed_orders([GOOD, POOR]) if record.model == "good over poor")


def test_holm_is_that_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


def test_the_table_marks_the_better_and_other_tables_leave_orders_out() -> None:
    records = [GOOD, POOR, *seed_orders([GOOD, POOR])]
    (table,) = order_tables(records)
    assert [(row.cells[0].text, row.cells[1].text, row.cells[1].mark) for row in table.rows] == [
        ("good over poor", "0.00", "better"),
        ("poor over good", "1.00", ""),
    ]
    assert difference_tables(records) == []
    assert [row.cells[0].text for row in score_tables(records)[0].rows] == ["good", "poor"]
