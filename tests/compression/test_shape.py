"""Counted costs are those of the model that surgery makes."""

from __future__ import annotations

import pytest

from slonik.compression.plan import whole
from slonik.compression.shape import Sizes, counted_costs, shape_of
from slonik.compression.surgery import apply
from slonik.models.checkpoint_files import TensorInfo
from slonik.models.describe import flops_per_text
from tests.compression.families import CUT, some_plan, tiny


@pytest.mark.parametrize("family", CUT)
def test_counts_are_those_of_the_cut_model(family: str) -> None:
    model = tiny(family)
    shape = shape_of(model)
    plan = some_plan(model)
    cut = apply(model, plan)
    heads, ffn = [len(kept) for kept in plan.heads], [len(kept) for kept in plan.ffn]
    parameters = sum(parameter.numel() for parameter in cut.parameters())
    assert shape.parameters() == sum(parameter.numel() for parameter in model.parameters())
    assert counted_costs(shape, "parameters").total(plan.layers, heads, ffn) == pytest.approx(parameters)
    tensors = {name: TensorInfo("F32", tuple(value.shape)) for name, value in cut.state_dict().items()}
    config = cut.config.to_dict() | {"model_type": shape.family}
    assert counted_costs(shape, "flops", tokens=20).total(plan.layers, heads, ffn) == pytest.approx(
        flops_per_text(config, tensors, 20)
    )


@pytest.mark.parametrize("family", CUT)
def test_hidden_dimensions_and_tokens_count(family: str) -> None:
    model = tiny(family)
    plan = some_plan(model, hidden=True).model_copy(update={"tokens": tuple(range(33))})
    assert plan.hidden is not None
    cut = apply(model, plan)
    sizes = Sizes(
        plan.layers,
        tuple(len(kept) for kept in plan.heads),
        tuple(len(kept) for kept in plan.ffn),
        len(plan.hidden),
        33,
    )
    assert shape_of(model).parameters(sizes) == sum(parameter.numel() for parameter in cut.parameters())


def test_heads_behind_the_encoder_do_not_count() -> None:
    bare, with_head = tiny("bert"), tiny("bert", head="tokens")
    pooler = sum(parameter.numel() for parameter in bare.pooler.parameters())
    assert shape_of(with_head).parameters() == shape_of(bare).parameters() - pooler


def test_whole_plan_costs_the_whole() -> None:
    model = tiny("bert", layers=1)
    plan, shape = whole(model), shape_of(model)
    costs = counted_costs(shape, "parameters")
    assert costs.total(plan.layers, [4], [48]) == pytest.approx(shape.parameters()) == pytest.approx(costs.whole())
