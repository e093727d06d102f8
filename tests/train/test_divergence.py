"""The guard: NaN at once, an explosion soon, one hard batch never; its state survives a checkpoint."""

from __future__ import annotations

import json

import pytest

from slonik.core.errors import SlonikError
from slonik.train.divergence import DivergenceGuard


def _fed(losses: list[float], guard: DivergenceGuard) -> DivergenceGuard:
    for step, loss in enumerate(losses, start=1):
        guard.check(step, loss, 1.0, f"batch {step}")
    return guard


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (1.0, float("nan"))])
def test_what_is_no_number_stops_at_once(loss: float, norm: float) -> None:
    with pytest.raises(SlonikError, match="at step 3, epoch 0, batch 2"):
        DivergenceGuard(5.0).check(3, loss, norm, "epoch 0, batch 2")


def test_one_hard_batch_passes_and_an_explosion_stops() -> None:
    guard = _fed([1.0] * 30 + [100.0] + [1.0] * 30, DivergenceGuard(5.0))
    with pytest.raises(SlonikError, match=r"exploded at step \d+, batch \d+"):
        _fed([20.0] * 50, guard)


def test_state_goes_through_json() -> None:
    losses = [1.0 / 3 + step / 7 for step in range(40)]
    whole = _fed(losses, DivergenceGuard(5.0))
    half = _fed(losses[:17], DivergenceGuard(5.0))
    continued = _fed(losses[17:], DivergenceGuard(5.0, json.loads(json.dumps(half.state))))
    assert continued.state == whole.state
