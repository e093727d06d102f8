"""Drawing tokens: each rule against its definition, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.runtime.sampling import SamplingConfig, draw, next_token, token_probabilities

LOGITS = np.array([2.0, 1.0, 0.0, -1.0])


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
    generator = np.random.default_rng(0)
    probabilities = np.array([0.5, 0.3, 0.2, 0.0])
    counts = np.bincount([draw(probabilities, generator) for _ in range(3000)], minlength=4)
    deviation = np.sqrt(3000 * probabilities * (1 - probabilities))
    assert np.all(np.abs(counts - 3000 * probabilities) <= 3.5 * deviation + 1e-6)


@pytest.mark.parametrize("fields", [{"temperature": 5e-324}, {"temperature": 1e-40}, {"top_p": 5e-324}, {"top_k": 1}])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_coldest_settings_are_greedy_and_the_hottest_are_numbers(fields: dict[str, float], scale: float) -> None:
    found = token_probabilities(LOGITS * scale, (1,), SamplingConfig.model_validate(fields))
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(1) or ("temperature" in fields and scale < 1)
    warm = token_probabilities(LOGITS * scale, (1,), SamplingConfig(temperature=1e300, repetition_penalty=1e300))
    assert np.isfinite(warm).all()


def test_a_large_vocabulary_is_cut_as_a_sorted_one() -> None:
    logits = np.random.default_rng(0).standard_normal(5000) * 4
    for top_p in (0.01, 0.5, 0.9, 0.9999):
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        order = np.argsort(-chances)
        kept = order[: int((chances[order].cumsum() < top_p).sum()) + 1]
        found = token_probabilities(logits, (), SamplingConfig(top_p=top_p))
        assert set(np.flatnonzero(found)) == set(kept)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("field", ["temperature", "top_p", "repetition_penalty"])
def test_what_is_no_number_is_refused(field: str, bad: float) -> None:
    with pytest.raises(SlonikError, match=field):
        build_config(SamplingConfig, {field: bad})


def test_logits_that_are_no_numbers_are_an_error_not_a_token() -> None:
    for temperature in (0, 1):
        with pytest.raises(SlonikError, match="no numbers"):
            next_token(np.array([0.0, np.nan]), (), SamplingConfig(temperature=temperature), np.random.default_rng(0))
