"""Drawing tokens: each rule against its definition, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from slonik.models.sampling import SamplingConfig, draw, token_probabilities

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


def _softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def _probabilities(seen: tuple[int, ...] = (), **fields: float) -> list[float]:
    found: list[float] = token_probabilities(LOGITS, seen, SamplingConfig.model_validate(fields)).tolist()
    return found


def test_temperature_divides_logits_and_zero_takes_the_likeliest() -> None:
    assert _probabilities(temperature=0.5) == pytest.approx(_softmax([4.0, 2.0, 0.0, -2.0]), abs=1e-6)
    assert _probabilities(temperature=0) == [1.0, 0.0, 0.0, 0.0]


def test_top_k_keeps_the_k_likeliest() -> None:
    assert _probabilities(top_k=2) == pytest.approx([*_softmax([2.0, 1.0]), 0.0, 0.0], abs=1e-6)
    assert _probabilities(top_k=9) == pytest.approx(_softmax(LOGITS.tolist()), abs=1e-6)


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    whole = _softmax(LOGITS.tolist())  # .644, .237, .087, .032
    expected = [whole[0] / sum(whole[:2]), whole[1] / sum(whole[:2]), 0.0, 0.0]
    assert _probabilities(top_p=0.7) == pytest.approx(expected, abs=1e-6)
    assert _probabilities(top_p=0.1) == [1.0, 0.0, 0.0, 0.0]


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits_once() -> None:
    found = _probabilities((0, 0, 3), repetition_penalty=2.0)
    assert found == pytest.approx(_softmax([1.0, 1.0, 0.0, -2.0]), abs=1e-6)
    assert _probabilities((0, 1), temperature=0, repetition_penalty=3.0) == [1.0, 0.0, 0.0, 0.0]


def test_draws_follow_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.tensor([0.5, 0.3, 0.2, 0.0])
    counts = torch.bincount(torch.tensor([draw(probabilities, generator) for _ in range(3000)]), minlength=4)
    deviation = (3000 * probabilities * (1 - probabilities)).sqrt()
    assert torch.all((counts - 3000 * probabilities).abs() <= 3.5 * deviation + 1e-6)
