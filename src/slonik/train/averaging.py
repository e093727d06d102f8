"""An exponential average of the weights over the steps of a run, which is measured and kept instead of the last ones.

The average itself is torch's (`torch.optim.swa_utils`); here is how fast it forgets, and how a model wears it while it
is measured. Does not: save it (`saving`, as a further part of a checkpoint) or choose (`loop`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Averages(AveragedModel):
    """The average of a model's parameters; `update_parameters` takes the model in after a step.

    After n steps the average keeps min(decay, (1 + n) / (10 + n)) of itself, so that the weights of the start are soon
    forgotten: the rule of TensorFlow's ExponentialMovingAverage with `num_updates`.

    Args:
        model: whole in this process; it is copied.
        decay: share of the average that stays at each step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def update(averages: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
            seen = int(self.n_averaged)  # lies on the processor; the number handed over may be an accelerator's
            kept = min(decay, (1 + seen) / (10 + seen))
            torch._foreach_lerp_(list(averages), list(current), 1 - kept)

        super().__init__(model, multi_avg_fn=update)
        self.requires_grad_(False)

    @contextmanager
    def worn(self, model: nn.Module) -> Iterator[None]:
        """Within the block `model` has the averages, and its own weights again behind it."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        # By value: compiled code and wrappers know the parameters by their place.
        for own, average in zip(model.parameters(), self.module.parameters(), strict=True):
            before = own.clone()
            own.copy_(average)
            average.copy_(before)
