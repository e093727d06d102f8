"""Guards: NaN at once, an explosion soon, one hard batch never; the loss in fp16; states survive a checkpoint."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.train import guards
from slonik.train.guards import DivergenceGuard, Interruption, check_scale, loss_scaler


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


def _overflow(scaler: torch.amp.GradScaler) -> None:
    """One step whose gradient is no number in fp16."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], 0.1)
    scaler.scale(weight.sum() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(weight, torch.ones(2))


def test_the_factor_of_the_loss_goes_through_json_and_halves_at_an_overflow() -> None:
    scaler = loss_scaler(torch.device("cpu"), enabled=True, saved={})
    start = scaler.get_scale()
    _overflow(scaler)
    again = loss_scaler(torch.device("cpu"), enabled=True, saved=json.loads(json.dumps(scaler.state_dict())))
    assert again.state_dict() == scaler.state_dict() and again.get_scale() == start / 2
    older = loss_scaler(torch.device("cpu"), enabled=True, saved={"factor": 512.0, "good": 7})
    assert older.get_scale() == 512.0 and older.state_dict()["_growth_tracker"] == 7
    assert loss_scaler(torch.device("cpu"), enabled=False, saved={}).state_dict() == {}


def test_a_loss_that_overflows_however_small_its_factor_ends_the_run() -> None:
    scaler = loss_scaler(torch.device("cpu"), enabled=True, saved={})
    check_scale(scaler, 1)
    with pytest.raises(SlonikError, match="overflow fp16 at step 7"):
        while True:
            _overflow(scaler)
            check_scale(scaler, 7)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_that_come_twice_let_a_save_end_and_only_a_second_ctrl_c_does_not(
    first: signal.Signals, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # A process that a shell started in the background ignores Ctrl-C.
    restored = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, restored))
    clock = [100.0]
    monkeypatch.setattr(guards.time, "monotonic", lambda: clock[0])
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        signal.raise_signal(first)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):  # of the launcher, the scheduler, the terminal
            signal.raise_signal(number)
        assert interruption.requested
        clock[0] += 3
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
