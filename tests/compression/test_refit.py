"""Least squares bring a cut model nearer to its parent, exactly where that is possible."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from slonik.compression.plan import keep_layers, whole
from slonik.compression.refit import refit
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect
from slonik.models.pooling import pool
from tests.compression.families import CUT, batch, some_plan, tiny

MEAN = partial(pool, kind="mean")
TEXTS = [batch(8, length=20, seed=seed) for seed in range(6)]
HELD_OUT = batch(8, length=20, seed=99)


def _hidden(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model(**inputs)[0]
    return output[inputs["attention_mask"].bool()]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("family", CUT)
def test_cut_model_comes_nearer_on_unseen_texts(family: str, hidden: bool) -> None:
    model = tiny(family)
    plan = some_plan(model, hidden=hidden)
    cut = apply(model, plan)
    target = _hidden(model, HELD_OUT)
    target = target if plan.hidden is None else target[:, list(plan.hidden)]
    before = F.mse_loss(_hidden(cut, HELD_OUT), target)
    refit(cut, model, plan, TEXTS)
    assert F.mse_loss(_hidden(cut, HELD_OUT), target) < 0.95 * before


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_doubled_neurons_can_be_cut_without_loss(family: str) -> None:
    """Every neuron has a twin; half of them say the same, so a fit restores the parent exactly."""
    model = tiny(family)
    for layer in dissect(model).layers:
        inner: Any = layer.inner[0]
        half = layer.ffn // 2
        with torch.no_grad():
            for start in range(0, inner.weight.shape[0], layer.ffn):
                inner.weight[start + half : start + layer.ffn] = inner.weight[start : start + half]
                if inner.bias is not None:
                    inner.bias[start + half : start + layer.ffn] = inner.bias[start : start + half]
    plan = whole(model)
    plan = plan.model_copy(update={"ffn": tuple(kept[: len(kept) // 2] for kept in plan.ffn)})
    cut = apply(model, plan)
    target = _hidden(model, HELD_OUT)
    assert not torch.allclose(_hidden(cut, HELD_OUT), target, atol=0.05)
    refit(cut, model, plan, TEXTS, ridge=1e-12)
    assert torch.allclose(_hidden(cut, HELD_OUT), target, atol=1e-3)


def test_uncut_model_stays_as_it_is() -> None:
    model = tiny("bert")
    copy = apply(model, whole(model))
    refit(copy, model, whole(model), TEXTS)
    assert torch.allclose(_hidden(copy, HELD_OUT), _hidden(model, HELD_OUT), atol=1e-4)


def test_bad_input_is_named() -> None:
    model = tiny("bert")
    plan = keep_layers(whole(model), [0, 2])
    with pytest.raises(SlonikError, match="no texts"):
        refit(apply(model, plan), model, plan, [])
    with pytest.raises(SlonikError, match="plan's shape"):
        refit(model, model, plan, TEXTS)
