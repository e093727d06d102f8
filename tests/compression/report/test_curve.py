"""The forecast from a training curve."""

from __future__ import annotations

import pytest

from slonik.compression.report.curve import CurvePoint, fit, forecast


def points(exponent: float, count: int = 12) -> list[CurvePoint]:
    return [CurvePoint(60.0 * i, {"agreement": 1 - 0.3 * i**-exponent}) for i in range(1, count + 1)]


def test_an_exact_power_law_is_found() -> None:
    law = fit(points(0.5), "agreement")
    assert law is not None
    assert law.exponent == pytest.approx(0.5)
    assert law.error == pytest.approx(0, abs=1e-9)
    gap = 1 - points(0.5)[-1].metrics["agreement"]
    assert law.compute_for(gap / 2) == pytest.approx(4 * 720)


def test_forecast_says_it_is_one() -> None:
    words = forecast(points(0.5), "agreement", "seconds")
    assert "48.0 min" in words and "4.00 times" in words and "extrapolation" in words
    assert "tokens" in forecast(points(0.5), "agreement", "tokens")


def test_flat_and_short_curves_promise_nothing() -> None:
    for exponent in (0.0, 1e-6, 1e-4, 1e-3, -1e-6):  # hardly falling ones would take a power that no number holds
        assert "flat" in forecast(points(exponent), "agreement", "seconds")
    closed = [*points(0.5), CurvePoint(1000.0, {"agreement": 1.0})]
    assert "no gap left" in forecast(closed, "agreement", "seconds")
    assert "Too few" in forecast(points(0.5, 3), "agreement", "seconds")
    assert fit([CurvePoint(0, {"agreement": 0.5})], "agreement") is None
