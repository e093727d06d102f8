"""Plans keep the best structures, meet their budget exactly, and say what cannot be met."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from slonik.compression import criteria
from slonik.compression.choose import Budget, choose, rounded
from slonik.compression.criteria import Scores
from slonik.compression.search import Options, search
from slonik.compression.shape import Costs, counted_costs, shape_of
from slonik.compression.surgery import apply
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from tests.compression.families import tiny


@pytest.fixture(scope="module")
def scores() -> Scores:
    return criteria.random(tiny("bert", layers=4), seed=1)


def test_nothing_named_keeps_everything(scores: Scores) -> None:
    plan = choose(scores, Budget())
    assert plan.layers == (0, 1, 2, 3) and plan.hidden is None
    assert {len(kept) for kept in plan.heads} == {4} and {len(kept) for kept in plan.ffn} == {48}


def test_shares_keep_the_best(scores: Scores) -> None:
    plan = choose(scores, Budget(layers=2, heads=0.5, ffn=0.34, hidden=0.75))
    assert scores.layers is not None and scores.heads is not None and scores.ffn is not None
    assert set(plan.layers) == set(np.argsort(-scores.layers)[:2])
    for layer, heads, ffn in zip(plan.layers, plan.heads, plan.ffn, strict=True):
        assert set(heads) == set(np.argsort(-scores.heads[layer])[:2])
        assert set(ffn) == set(np.argsort(-scores.ffn[layer])[:16])
    assert plan.hidden is not None and len(plan.hidden) == 24


def test_uneven_shares_rank_over_all_layers(scores: Scores) -> None:
    assert scores.heads is not None and scores.ffn is not None
    loud = replace(scores, heads=(scores.heads[0] + 5, *scores.heads[1:]), ffn=(scores.ffn[0] + 5, *scores.ffn[1:]))
    plan = choose(loud, Budget(heads=0.5, ffn=0.5, uneven=True))
    assert next(len(kept) for kept in plan.heads) == 4 and sum(map(len, plan.heads)) == 8
    assert len(plan.ffn[0]) == 48 and sum(map(len, plan.ffn)) == 96
    assert all(len(kept) >= 1 for kept in plan.heads) and all(len(kept) % 16 == 0 for kept in plan.ffn)


def test_named_layers_stay(scores: Scores) -> None:
    assert choose(scores, Budget(keep_layers=(3, 0))).layers == (0, 3)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize(
    "budget", [{"target_parameters": 30_000}, {"target_flops": 0.5}, {"target_flops": 0.3, "layers": 2}]
)
def test_targets_are_met_and_nearly_used_up(scores: Scores, budget: dict[str, float], uneven: bool) -> None:
    wanted = Budget(**budget, uneven=uneven, multiple=4)
    model = tiny("bert", layers=4)
    cut = shape_of(apply(model, choose(scores, wanted)))
    if wanted.target_parameters:
        assert 0.85 * wanted.target_parameters < cut.parameters() <= wanted.target_parameters
    else:
        share = cut.flops() / shape_of(model).flops()
        assert 0.8 * (wanted.target_flops or 0) < share <= (wanted.target_flops or 0)


def test_unmeetable_target_names_the_nearest(scores: Scores) -> None:
    with pytest.raises(SlonikError, match=r"at most 1,000 parameters cannot be met: the nearest that can is [\d,]+ "):
        choose(scores, Budget(target_parameters=1000))
    with pytest.raises(SlonikError, match="nearest"):
        choose(scores, Budget(target_flops=0.01, layers=3))
    message = ""
    try:
        choose(scores, Budget(target_parameters=1000, multiple=1))
    except SlonikError as error:
        message = str(error)
    nearest = int(message.split("nearest that can is ")[1].split(" ")[0].replace(",", ""))
    plan = choose(scores, Budget(target_parameters=nearest, multiple=1))
    assert shape_of(apply(tiny("bert", layers=4), plan)).parameters() == nearest


def test_uneven_search_is_exact() -> None:
    """Against every combination of a small problem."""
    rng = np.random.default_rng(0)
    heads = tuple(np.array([np.inf, *np.cumsum(rng.random(3))[::-1][1:], 0.0]) for _ in range(3))
    ffn = tuple(np.array([np.inf, *np.cumsum(rng.random(2))[::-1][1:], 0.0]) for _ in range(3))
    drop = np.array([1.0, 1.5, np.inf])
    costs = Costs(
        "parameters",
        10.0,
        np.array([2.0, 2.0, 2.0]),
        tuple(np.arange(len(row)) * 3.0 for row in heads),
        tuple(np.arange(len(row)) * 4.0 for row in ffn),
    )
    options = Options(drop, heads, ffn, (3,))
    each = [
        [(0, 0), *product(range(1, len(heads[layer])), range(1, len(ffn[layer])))] for layer in range(3)
    ]  # (0, 0): dropped
    for target in (25.0, 35.0, 45.0, 60.0):
        best = np.inf
        for combination in product(*each):
            kept = [layer for layer in range(3) if combination[layer][0]]
            loss = sum(drop[layer] for layer in range(3) if layer not in kept)
            loss += sum(heads[layer][combination[layer][0]] + ffn[layer][combination[layer][1]] for layer in kept)
            cost = costs.total(kept, [combination[k][0] for k in kept], [combination[k][1] for k in kept])
            if cost <= target:
                best = min(best, float(loss))
        found = search(options, costs, target, uneven=True)
        assert found.cost <= target
        assert found.loss == pytest.approx(best)


def test_impossible_budgets_are_one_sentence(scores: Scores) -> None:
    for fields, words in (
        ({"layers": 0}, "cut to zero"),
        ({"heads": 0}, "cut to zero"),
        ({"ffn": 1.5}, "share that stays"),
        ({"layers": 3, "keep_layers": (1,)}, "give one"),
        ({"target_flops": 0.5, "target_parameters": 10}, "one target"),
        ({"layer": 3}, "did you mean"),
    ):
        with pytest.raises(SlonikError, match=words):
            build_config(Budget, fields)
    for budget, words in (
        (Budget(layers=9), "the model has 4"),
        (Budget(keep_layers=(7,)), "no layer 7"),
        (Budget(heads=0.05), "would leave none of 4"),
        (Budget(target_latency=0.5), "measured on this machine"),
    ):
        with pytest.raises(SlonikError, match=words):
            choose(scores, budget)
    with pytest.raises(SlonikError, match="not scored"):
        choose(replace(scores, ffn=None), Budget(ffn=0.5))


def test_rounding_keeps_multiples() -> None:
    assert [rounded(count, 1536, 16) for count in (768, 770, 3, 1530, 1536)] == [768, 768, 16, 1536, 1536]
    assert rounded(10, 37, 16) == 16 and rounded(3, 5, 16) == 4


def test_costs_have_no_negative_part(scores: Scores) -> None:
    for unit in ("parameters", "flops"):
        costs = counted_costs(scores.shape, unit)
        assert costs.fixed >= 0 and (costs.layers >= 0).all()
