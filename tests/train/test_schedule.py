"""The learning rate against values computed by hand."""

from __future__ import annotations

import pytest

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.train.optimizers import Schedule, learning_rate_ratio
from slonik.train.train_config import TrainConfig


@pytest.mark.parametrize(
    ("progress", "schedule", "expected"),
    [
        (0.0, "cosine", 0.0),
        (0.05, "cosine", 0.5),
        (0.1, "cosine", 1.0),
        (0.55, "cosine", 0.6),
        (1.0, "cosine", 0.2),
        (0.325, "linear", 0.8),
        (1.0, "linear", 0.2),
        (0.05, "constant", 0.5),
        (0.9, "constant", 1.0),
    ],
)
def test_values_by_hand(progress: float, schedule: Schedule, expected: float) -> None:
    assert learning_rate_ratio(progress, schedule, warmup=0.1, final=0.2) == pytest.approx(expected)


def test_it_never_rises_after_the_warm_up() -> None:
    rates = [learning_rate_ratio(step / 100, "cosine", 0.06, 0.0) for step in range(101)]
    assert rates[:7] == sorted(rates[:7]) and rates[6:] == sorted(rates[6:], reverse=True)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate_ratio(0.0, "linear", 0.0, 0.0) == 1.0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "give max_steps or max_minutes"),
        ({"max_steps": 0}, "'max_steps' is 0"),
        ({"max_steps": 1, "lerning_rate": 1}, "lerning_rate"),
        ({"max_steps": 1, "precision": "fp8"}, "'precision' is 'fp8'"),
        ({"max_steps": 1, "evaluate_every_minutes": 1}, "goes with max_minutes alone"),
        ({"max_steps": 1, "keep": 1}, "'keep' is 1"),
    ],
)
def test_bad_settings_are_named(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        build_config(TrainConfig, values)
