"""LAMB: Adam whose update of each matrix is rescaled to the matrix's own length, for very large batches.

Source: You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2, with bias correction; phi is the
identity. As in the authors' code, parameters without weight decay (biases, norms) keep the plain Adam update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """Layer-wise adaptive moments.

    Args:
        params: parameters or groups with dense gradients; a vector is never rescaled.
        lr: learning rate. LTG-BERT: 1e-2.
        betas: decay of the moments.
        eps: added to the root of the second moment.
        weight_decay: added to the update before it is rescaled.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        first, second = group["betas"]
        state["step"] += 1
        count = int(state["step"])
        mean = state["exp_avg"].lerp_(gradient, 1 - first)
        square = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = (square / (1 - second**count)).sqrt_().add_(group["eps"])
        update = (mean / (1 - first**count)).div_(root)
        if parameter.dim() < 2:
            parameter.add_(update, alpha=-group["lr"])
            return
        update.add_(parameter, alpha=group["weight_decay"])
        length, step_length = parameter.norm(), update.norm()
        # A zero matrix (a fresh head) or a zero update keeps Adam's own length.
        trust = torch.where((length > 0) & (step_length > 0), length / step_length, 1.0)
        parameter.sub_(update.mul_(trust * group["lr"]))
