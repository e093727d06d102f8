"""fp16: the loss is multiplied before the backward pass, so that small gradients do not round to zero.

A step whose gradients overflow is left out and the factor halved; after `_GROWTH_STEPS` good steps it is doubled
(Micikevicius et al. 2018, "Mixed Precision Training", section 3.2). The same on every device, and its state is JSON.
"""

from __future__ import annotations

import math

from slonik.core.errors import SlonikError

_START = 65536.0
_SMALLEST = 2.0**-10
_GROWTH_STEPS = 2000


class LossScaling:
    """The factor of the loss; 1 and untouched where it is not needed.

    Args:
        enabled: whether the run is in fp16.
        state: as `state` gave it, to continue.
    """

    def __init__(self, enabled: bool, state: dict[str, float] | None = None) -> None:
        self._enabled = enabled
        saved = state or {}
        self.factor: float = saved.get("factor", _START) if enabled else 1.0
        self._good = int(saved.get("good", 0))

    def accepts(self, norm: float, step: int) -> bool:
        """Whether the step with this gradient norm (gradients already divided by the factor) is to be made.

        Raises:
            SlonikError: the factor has fallen so far that the model, not the format, is the cause.
        """
        if not self._enabled:
            return True
        if math.isfinite(norm):
            self._good += 1
            if self._good == _GROWTH_STEPS:
                self.factor, self._good = self.factor * 2, 0
            return True
        self.factor, self._good = self.factor / 2, 0
        if self.factor < _SMALLEST:
            raise SlonikError(
                f"gradients overflow fp16 at step {step} even with the loss scaled by {self.factor:.2g}: "
                "use bf16 or fp32, or lower the learning rate; the last checkpoint is intact"
            )
        return False

    @property
    def state(self) -> dict[str, float]:
        """JSON values to continue from; empty where scaling is off."""
        return {"factor": self.factor, "good": self._good} if self._enabled else {}
