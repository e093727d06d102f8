"""Looking inside works for every family and for our uneven shapes, changes nothing, and never comes back empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.gates import Gates, gated
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.inspection.hooks import eager_attention, look_inside
from slonik.models.anatomy import dissect
from slonik.models.pooling import reading_part
from tests.compression.families import batch, some_plan, tiny

FAMILIES = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert", "gpt2", "t5", "slim")


def _model(family: str) -> PreTrainedModel:
    if family == "slim":
        whole = tiny("xlm-roberta")
        return apply(whole, some_plan(whole))
    return tiny(family)


def _ids(family: str) -> tuple[Tensor, Tensor]:
    made = batch(3, 7)
    return made["input_ids"], made["attention_mask"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shows_states_weights_and_heads(family: str) -> None:
    model = _model(family)
    used = model.config._attn_implementation
    ids, mask = _ids(family)
    inside = look_inside(model, ids, mask)
    body = dissect(model)
    with torch.no_grad():
        last = reading_part(model)(input_ids=ids, attention_mask=mask)[0]
    seen = mask.bool()
    torch.testing.assert_close(inside.hidden[-1][seen], last[seen], atol=1e-4, rtol=1e-4)
    assert len(inside.hidden) == len(body.layers) + 1
    assert [weights.shape[1] for weights in inside.attentions] == list(body.heads)
    assert [heads.shape[2] for heads in inside.heads] == list(body.heads)
    for weights in inside.attentions:
        rows = (weights * mask[:, None, None, :]).sum(-1)[mask[:, None, :].expand(-1, weights.shape[1], -1) == 1]
        torch.testing.assert_close(rows, torch.ones_like(rows), atol=1e-4, rtol=0)
    assert model.config._attn_implementation == used


@pytest.mark.parametrize("family", ("bert", "gpt2", "t5", "slim"))
def test_gradient_by_heads_times_heads_is_the_gate_gradient(family: str) -> None:
    """sum over tokens of context x gradient = dL/dgate at 1, which an independent hook gives."""
    model = _model(family)
    ids, mask = _ids(family)
    direction = torch.randn(model.config.hidden_size, generator=torch.Generator().manual_seed(0))

    def loss(hidden: Tensor, mask: Tensor) -> Tensor:
        return ((hidden @ direction) * mask).sum(1)

    inside = look_inside(model, ids, mask, attentions=False, loss=loss)
    body = dissect(model)
    gates = Gates(heads=tuple(torch.ones(count, requires_grad=True) for count in body.heads))
    assert gates.heads is not None
    with gated(model, gates):
        hidden = reading_part(model)(input_ids=ids, attention_mask=mask)[0]
    expected = torch.autograd.grad(loss(hidden, mask).sum(), gates.heads)
    for heads, gradients, gate in zip(inside.heads, inside.gradients, expected, strict=True):
        torch.testing.assert_close((heads * gradients).sum((0, 1, 3)), gate, atol=1e-3, rtol=1e-3)


def test_eager_attention_is_put_back_after_an_error() -> None:
    model = tiny("bert")
    used = model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), eager_attention(model):
        assert model.config._attn_implementation == "eager"
        raise ZeroDivisionError
    assert model.config._attn_implementation == used


def test_empty_attention_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    import slonik.inspection.hooks as hooks

    def stay(model: Any) -> Any:
        return nullcontext()

    model = tiny("bert")
    assert model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(hooks, "eager_attention", stay)
    with pytest.raises(SlonikError, match="attention weights of 0 layers"):
        look_inside(model, *_ids("bert"))


def test_a_slim_checkpoint_from_disk_shows_its_heads(tmp_path: Path) -> None:
    from slonik.models.loading import load_transformer

    model = _model("slim")
    model.save_pretrained(tmp_path)
    loaded = load_transformer(tmp_path)
    inside = look_inside(loaded, *_ids("slim"))
    assert [weights.shape[1] for weights in inside.attentions] == list(dissect(model).heads)
