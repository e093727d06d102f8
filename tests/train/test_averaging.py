"""Averaged weights: the average by hand, what an evaluation sees, and that training itself does not notice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.train.averaging import Averages
from slonik.train.loop import run
from tests.train import toy


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def _seen(folder: Path, averaging: float | None) -> tuple[list[dict[str, Tensor]], nn.Module]:
    """The weights at the start and after each of eight steps, as an evaluation finds them; the model as it is left."""
    model, seen = toy.student(), []

    def evaluate(measured: nn.Module) -> dict[str, float]:
        seen.append(_copy(measured))
        return {"cosine": float(len(seen))}

    goal = toy.objective()
    config = toy.config(max_steps=8, evaluate_every_steps=1, averaging=averaging)
    run(model, goal, toy.loader(goal), config, folder, evaluate=evaluate)
    return seen, model


def test_an_evaluation_sees_the_average_and_training_does_not(tmp_path: Path) -> None:
    plain, _ = _seen(tmp_path / "plain", None)
    found, left = _seen(tmp_path / "averaged", 0.6)
    expected = plain[1]
    for count in range(1, len(plain)):
        if count > 1:
            kept = min(0.6, (1 + count - 1) / (10 + count - 1))
            expected = {name: kept * value + (1 - kept) * plain[count][name] for name, value in expected.items()}
        for name, value in expected.items():
            torch.testing.assert_close(found[count][name], value, rtol=1e-5, atol=1e-7)
    for name, value in _copy(left).items():
        assert torch.equal(value, found[-1][name])
    assert not torch.equal(*(next(iter(each[-1].values())) for each in (plain, found)))


def test_a_model_wears_the_average_for_a_while() -> None:
    model = nn.Linear(2, 1)
    averages = Averages(model, 0.5)
    averages.update_parameters(model)
    before = _copy(model)
    with torch.no_grad():
        model.weight.add_(4.0)
    averages.update_parameters(model)  # (1 + 1) / (10 + 1) of the average stays
    with averages.worn(model):
        torch.testing.assert_close(model.weight, before["weight"] + 4.0 * 9 / 11)
    torch.testing.assert_close(model.weight, before["weight"] + 4.0)


def test_averages_need_an_evaluation_and_the_whole_model(tmp_path: Path) -> None:
    goal = toy.objective()
    with pytest.raises(SlonikError, match="averaging is of the weights that an evaluation measures"):
        run(toy.student(), goal, toy.loader(goal), toy.config(averaging=0.9), tmp_path)
    with pytest.raises(ValueError, match="leave out sharding or averaging"):
        toy.config(averaging=0.9, sharding="full")
