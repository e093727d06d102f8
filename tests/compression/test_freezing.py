"""Only the uppermost layers learn: what lies below is frozen for the time, in every family."""

from __future__ import annotations

import pytest

from slonik.compression.freezing import below, frozen
from slonik.core.errors import SlonikError
from tests import tiny


@pytest.mark.parametrize("family", ["bert", "modernbert", "deberta-v2", "gpt2", "distilbert"])
def test_inputs_and_lower_layers_are_below(family: str) -> None:
    model = tiny.model(family)  # two layers
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    lower = [names[id(parameter)] for parameter in below(model, 1)]
    assert any("layer.0." in name or "layers.0." in name or "h.0." in name for name in lower)
    assert any("embeddings" in name or "wte" in name for name in lower)
    assert not any(".1." in name.replace("LayerNorm.1", "") for name in lower if "embed" not in name)
    everything = [names[id(parameter)] for parameter in below(model, 2)]
    assert everything and not any(".0." in name for name in everything if "embed" not in name)
    assert below(model, None) == []


def test_frozen_for_a_while() -> None:
    model = tiny.model("bert")
    first = next(model.parameters())
    last = list(model.parameters())[-1].requires_grad_(False)
    with frozen([first, last]):
        assert not first.requires_grad
    assert first.requires_grad and not last.requires_grad


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(SlonikError, match=r"upper_layers is 3, and the student has 2 layers: give .* 1 to 2"):
        below(tiny.model("bert"), 3)
