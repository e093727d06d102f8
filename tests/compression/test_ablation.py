"""Losses of parts are those of really cut models, in one unit; a target takes what is useless, whatever it is."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from slonik.compression import budgeted, criteria, latency
from slonik.compression.ablation import Original
from slonik.compression.budgeted import LAYERS, MIXED, Cut, meet
from slonik.compression.choose import Budget, choose, foreseen
from slonik.compression.criteria import Scores
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.pruning import shrink
from slonik.compression.shape import shape_of
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect
from slonik.models.pooling import pool
from tests.compression.families import batch, tiny

MEAN = partial(pool, kind="mean")
BATCHES = [batch(6), batch(5)]


def _measured(model: PreTrainedModel, original: Original) -> Scores:
    scores = criteria.random(model, seed=2)
    removed = original.removed(model, scores)
    return scores.with_losses(removed.layers, removed.heads, removed.ffn, before=removed.before)


def _fewer(plan: Plan, layer: int, kind: str, kept: list[int]) -> Plan:
    parts = list(getattr(plan, kind))
    parts[layer] = tuple(sorted(kept))
    return plan.model_copy(update={kind: tuple(parts)})


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_losses_are_those_of_cut_models(family: str) -> None:
    model = tiny(family, layers=3)
    original = Original(model, BATCHES, MEAN)
    scores = criteria.random(model, seed=2)
    found = original.removed(model, scores, least_ffn=4)
    everything = whole(model, with_parent=False)

    def loss(plan: Plan) -> float:
        return original.loss(original.vectors(apply(model, plan, check_parent=False)))

    for layer in range(1, 3):
        kept = [other for other in range(3) if other != layer]
        assert found.layers[layer] == pytest.approx(loss(keep_layers(everything, kept)), rel=1e-3)
        for kind, counts in (("heads", (2, 1)), ("ffn", (24, 4))):
            order = np.argsort(-getattr(scores, kind)[layer], kind="stable")
            for count in counts:
                cut = _fewer(everything, layer, kind, order[:count].tolist())
                assert getattr(found, kind)[layer][count] == pytest.approx(loss(cut), rel=1e-3, abs=1e-6)
    assert found.before == pytest.approx(0.0, abs=1e-6)
    for curve in (*found.heads, *found.ffn):
        assert curve[-1] == 0 and (np.diff(curve) <= 0).all()  # the more that stays, the less is lost


def test_a_useless_layer_and_useless_heads_cost_nothing() -> None:
    model = tiny("modernbert", layers=3)
    layer = model.layers[1]
    with torch.no_grad():
        layer.attn.Wo.weight.zero_()
        layer.mlp.Wo.weight.zero_()
    found = Original(model, BATCHES, MEAN).removed(model, criteria.magnitude(model))
    assert found.layers[1] == pytest.approx(0.0, abs=1e-6) and min(found.layers[0], found.layers[2]) > 1e-3
    assert found.heads[1][1] == pytest.approx(0.0, abs=1e-6) and found.heads[2][1] > 1e-4


def test_a_target_takes_neurons_where_they_are_useless_and_layers_are_not() -> None:
    model = tiny("bert", layers=3)
    with torch.no_grad():
        for layer in dissect(model).layers:
            outer: Any = layer.outer
            outer.weight[:, ::2] = 0
    original = Original(model, BATCHES, MEAN)
    made = shrink(model, Budget(target_flops=0.75, multiple=4), partial(_measured, original=original), steps=2)
    # random scores rank the neurons: only by measuring is it seen that layers are dearer
    assert made.plan.layers == (0, 1, 2) and shape_of(made.model).flops() <= 0.75 * shape_of(model).flops()
    assert len(made.foreseen) == 2 and len(made.measured) == 1


def test_what_is_foreseen_is_the_sum_of_what_goes() -> None:
    model = tiny("bert", layers=3)
    scores = _measured(model, Original(model, BATCHES, MEAN))
    plan = choose(scores, Budget(target_flops=0.6, multiple=4))
    assert foreseen(scores, plan) >= 0
    assert foreseen(scores, whole(model, with_parent=False)) == 0
    assert scores.layers is not None
    assert foreseen(scores, keep_layers(whole(model), [0, 2])) == pytest.approx(float(scores.layers[1]))


class _Found:
    """A search whose cuts keep as many neurons as the budget's share, and that counts how often it is asked."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.asked = model, list[float]()

    def __call__(self, budget: Budget) -> Cut:
        share = budget.target_latency or budget.target_flops or 1.0
        self.asked.append(share)
        plan = whole(self.model)
        plan = plan.model_copy(update={"ffn": tuple(kept[: max(1, int(share * 48))] for kept in plan.ffn)})
        return Cut(apply(self.model, plan), plan)


def test_a_cut_that_misses_the_latency_is_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert", layers=2)
    found, judge = _Found(model), Original(model, BATCHES, MEAN)
    times = iter([0.75, 0.66, 0.5])
    monkeypatch.setattr(latency, "share_of_time", lambda *_: next(times))
    table = latency.LatencyTable(
        machine="m", tokens=8, fixed=0.0, heads=(4,), head_times=(1.0,), neurons=(1, 48), neuron_times=(0.2, 1.0)
    )
    budget = Budget(target_latency=0.5, layers=2)
    cut = meet(model, budget, found, lambda count: (0,), judge, table)
    assert len(found.asked) == 3 and found.asked == sorted(found.asked, reverse=True)
    assert cut.summary["latency"]["measured"] == 0.5 and cut.summary["latency"]["searches"] == 3
    monkeypatch.setattr(latency, "share_of_time", lambda *_: 0.9)
    said: list[str] = []
    monkeypatch.setattr(budgeted, "warn_once", said.append)
    meet(model, budget, found, lambda count: (0,), judge, table)
    assert "takes 0.900 of the time" in said[0]


def test_whole_layers_are_kept_where_they_are_better(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert", layers=4)
    judge = Original(model, BATCHES, MEAN)
    budget = Budget(target_flops=0.6)
    losses = iter([0.3, 0.1, 0.1, 0.3])
    monkeypatch.setattr(Original, "loss", lambda self, vectors: next(losses))
    cut = meet(model, budget, _Found(model), lambda count: tuple(range(count)), judge)
    assert cut.summary["compared"] == {"kept": LAYERS, "moved": {MIXED: 0.3, LAYERS: 0.1}}
    assert len(cut.plan.layers) == 2
    other = meet(model, budget, _Found(model), lambda count: tuple(range(count)), judge)
    assert other.summary["compared"]["kept"] == MIXED


def test_there_must_be_texts() -> None:
    with pytest.raises(SlonikError, match="no texts"):
        Original(tiny("bert"), [], MEAN)
