"""Gates of one change nothing; gates of zero remove; every example may have its own."""

from __future__ import annotations

import pytest
import torch

from slonik.compression.gates import Gates, gated, open_gates
from slonik.core.errors import SlonikError
from slonik.models.anatomy import dissect
from tests.compression.families import CUT, batch, tiny


def _run(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model(**inputs)[0]
    return output


@pytest.mark.parametrize("family", [*CUT, "gpt2"])
def test_open_gates_change_nothing_and_leave_no_trace(family: str) -> None:
    from tests.tiny.models import model as tiny_model

    model = tiny_model("gpt2") if family == "gpt2" else tiny(family)
    inputs, before = batch(), _run(model, batch())
    for statistics in (True, False):
        gates = open_gates(dissect(model), ["heads", "ffn", "layers", "branches", "hidden"], kept_statistics=statistics)
        with gated(model, gates):
            assert torch.allclose(_run(model, inputs), before, atol=2e-5)
    assert torch.equal(_run(model, inputs), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("family", CUT)
def test_rows_of_gates_act_on_their_example_alone(family: str) -> None:
    model, inputs = tiny(family), batch(3)
    gates = open_gates(dissect(model), ["heads", "ffn", "layers"], examples=3)
    assert gates.heads is not None and gates.ffn is not None and gates.layers is not None
    gates.heads[0][1, 2] = 0
    gates.layers[2, 1] = 0
    with gated(model, gates):
        mixed = _run(model, inputs)
    assert torch.allclose(mixed[0], _run(model, inputs)[0], atol=1e-5)
    for example, row in ((1, {"heads": 0}), (2, {"layers": 1})):
        single = open_gates(dissect(model), ["heads", "layers"])
        assert single.heads is not None and single.layers is not None
        if "heads" in row:
            single.heads[0][2] = 0
        else:
            single.layers[1] = 0
        with gated(model, single):
            assert torch.allclose(_run(model, inputs)[example], mixed[example], atol=1e-5)


def test_gates_of_the_wrong_size_are_refused() -> None:
    model = tiny("bert")
    with pytest.raises(SlonikError, match="sizes"), gated(model, Gates(layers=torch.ones(7))):
        pass
    with pytest.raises(SlonikError, match="batch of 2"), gated(model, open_gates(dissect(model), examples=5)):
        _run(model, batch(2))
