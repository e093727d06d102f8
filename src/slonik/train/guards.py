"""What keeps a run from harm: signals end it after a step, a diverging loss stops it, fp16 gradients are scaled."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

import torch

from slonik.core.errors import SlonikError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()))
_ONE_PRESS_SECONDS = 2.0
_SMOOTHING_STEPS = 50
_START_STEPS = 20
_SMALLEST_SCALE = 2.0**-10


class Interruption:
    """Ctrl-C, SIGTERM and SIGUSR1 end a run after the step at hand, so that it can save.

    A second Ctrl-C ends it at once. Schedulers and launchers both signal a process, so a second SIGINT within two
    seconds is taken for the first, and further ones of the other two are ignored: a save must not be cut by them.

    Within the block, `requested` turns true at the first signal. Does nothing outside the main thread.
    """

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._since = True, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since >= _ONE_PRESS_SECONDS:
            self._restore((signal.SIGINT,))
            signal.raise_signal(signal.SIGINT)

    def _restore(self, numbers: Sequence[signal.Signals]) -> None:
        for number in numbers:
            if number in self._previous:
                signal.signal(number, self._previous.pop(number))

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(_SIGNALS)


class DivergenceGuard:
    """Stops a run whose loss is no number or has exploded, naming step and batch.

    "Exploded" compares the loss smoothed over some 50 steps with the mean of the first 20: a single hard batch
    passes, a run that got several times worse than it started does not.

    Args:
        factor: how many times worse than the start is an explosion.
        state: as `state` gave it, to continue.
    """

    def __init__(self, factor: float, state: dict[str, Any] | None = None) -> None:
        self._factor = factor
        saved = state or {}
        self._start: list[float] = list(saved.get("start", []))
        self._smoothed: float | None = saved.get("smoothed")

    def check(self, step: int, loss: float, norm: float, where: str) -> None:
        """Take in the loss and gradient norm of `step`.

        Raises:
            SlonikError: NaN, infinity or explosion.
        """
        if not math.isfinite(loss) or not math.isfinite(norm):
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {norm}"
            raise SlonikError(
                f"{what} at step {step}, {where}: lower the learning rate, lengthen the warm-up, use fp32, "
                "or look at these texts; the last checkpoint is intact"
            )
        if len(self._start) < _START_STEPS:
            self._start.append(loss)
        previous = loss if self._smoothed is None else self._smoothed
        self._smoothed = previous + (loss - previous) / _SMOOTHING_STEPS
        start = abs(sum(self._start) / len(self._start))
        if len(self._start) == _START_STEPS and self._smoothed > self._factor * max(start, 1e-8):
            raise SlonikError(
                f"the loss has exploded at step {step}, {where}: {self._smoothed:.4g} (smoothed) against {start:.4g} "
                "at the start; lower the learning rate or lengthen the warm-up; the last checkpoint is intact"
            )

    @property
    def state(self) -> dict[str, Any]:
        """JSON values to continue from."""
        return {"start": self._start, "smoothed": self._smoothed}

    @property
    def smoothed(self) -> float:
        """The loss smoothed over some 50 steps."""
        return self._smoothed if self._smoothed is not None else math.nan


def loss_scaler(device: torch.device, *, enabled: bool, saved: Mapping[str, Any]) -> torch.amp.GradScaler:
    """torch's scaling of the loss in fp16, so that small gradients do not round to zero.

    A step whose gradients overflow is left out and the factor halved; after 2,000 good steps it is doubled
    (Micikevicius et al. 2018, "Mixed Precision Training", section 3.2).

    Args:
        enabled: whether the run is in fp16; otherwise nothing is scaled.
        saved: its `state_dict()` to continue from; empty for a fresh run.
    """
    scaler = torch.amp.GradScaler(device.type, enabled=enabled)
    if enabled and saved:
        older = {"scale": saved["factor"], "_growth_tracker": saved["good"]} if "factor" in saved else saved
        scaler.load_state_dict({**scaler.state_dict(), **older})
    return scaler


def check_scale(scaler: torch.amp.GradScaler, step: int) -> None:
    """To be asked after a step that overflowed.

    Raises:
        SlonikError: the factor has fallen so far that the model, not the format, is the cause.
    """
    scale = scaler.get_scale()
    if scale < _SMALLEST_SCALE:
        raise SlonikError(
            f"gradients overflow fp16 at step {step} even with the loss scaled by {scale:.2g}: "
            "use bf16 or fp32, or lower the learning rate; the last checkpoint is intact"
        )
