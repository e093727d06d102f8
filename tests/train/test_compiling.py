"""Which parts of a model are compiled, and that they are as before afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slonik.train.kernels import compiled_layers, repeated_blocks
from slonik.train.run_log import read_metrics
from tests.train import toy, toy_processes


@pytest.mark.parametrize(("family", "layers"), [("bert", 2), ("gpt2", 2)])
def test_repeated_blocks_are_the_layers(family: str, layers: int) -> None:
    found = repeated_blocks(toy.student(family))
    assert len(found) == layers and len({type(block) for block in found}) == 1


def test_layers_are_compiled_within_the_block_only() -> None:
    model = toy_processes.Network()
    with compiled_layers(model, on=True):
        assert all(layer._compiled_call_impl is not None for layer in model.layers)
        assert model.head._compiled_call_impl is None
    assert all(layer._compiled_call_impl is None for layer in model.layers)
    with compiled_layers(model, on=False):
        assert all(layer._compiled_call_impl is None for layer in model.layers)


def test_a_run_with_compiled_layers_is_that_without(tmp_path: Path) -> None:
    # The compiler itself is left out (it would take a minute): what is tested is the way through it.
    with torch.compiler.set_stance("force_eager"):
        toy_processes.train(tmp_path / "compiled", compile=True)
    toy_processes.train(tmp_path / "plain")
    losses = [
        [line["loss"] for line in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in line]
        for name in ("compiled", "plain")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == toy_processes.STEPS
