"""Variants of Adam that torch does not have: LAMB for very large batches, AdamW for rows of a table, and an Adafactor
that does not wait for the device.

Which parameters each of them trains is decided in `optimizers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """LAMB: Adam whose update of each matrix is rescaled to the matrix's own length.

    Source: You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2, with bias correction; phi is
    the identity. As in the authors' code, parameters without weight decay (biases, norms) keep the plain Adam update.

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


class Adafactor(torch.optim.Adafactor):
    """torch's Adafactor, state and numbers alike, for dense real gradients; sizes of matrices and of their steps stay
    on the device, where torch's own asks for two numbers of each matrix in every step and waits for them.

    Source: Shazeer and Stern, "Adafactor" (2018), algorithms 4 and 5.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lists: tuple[list[Any], ...] = ([], [], [], [], [], [])
            self._init_group(group, *lists)
            for each in zip(*lists, strict=True):
                self._update(group, *each)

    def _update(
        self,
        group: dict[str, Any],
        parameter: Tensor,
        gradient: Tensor,
        rows: Tensor | None,
        columns: Tensor | None,
        variance: Tensor | None,
        steps: Tensor,
    ) -> None:
        smallest = group["eps"][0] or torch.finfo(parameter.dtype).eps
        steps += 1
        count = float(steps)  # lies on the processor
        share, root = count ** group["beta2_decay"], parameter.numel() ** 0.5
        size = (parameter.norm() / root).clamp_(min=group["eps"][1])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        if rows is not None and columns is not None:
            rows.lerp_(gradient.square().mean(-1, keepdim=True), share)
            columns.lerp_(gradient.square().mean(-2, keepdim=True), share)
            estimate = (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=smallest))
        else:
            assert variance is not None
            estimate = variance.lerp_(gradient.square(), share).clone()
        update = estimate.clamp_(min=smallest * smallest).rsqrt_().mul_(gradient)
        excess = (update.norm() / (root * group["d"])).clamp_(min=1.0)
        parameter.sub_(update.mul_(size / excess * min(group["lr"], count**-0.5)))


class LazyRowAdamW(torch.optim.Optimizer):
    """AdamW without weight decay for the rows of an embedding table that a batch touched; the rest is left alone.

    A table of 37,000 x 384 has more numbers than six encoder layers, and a batch of 2,000 tokens reads some 3 % of its
    rows: a dense step would spend its time on decaying moments of rows that saw nothing. Differs from dense AdamW on
    purpose: an untouched row does not move (dense Adam drifts it along its old momentum), and bias correction counts
    the row's own updates, so that the first update of a rare row has the size of one learning rate instead of three.
    Source of the idea: torch.optim.SparseAdam, which corrects by the global count.

    Args:
        params: (V, D) tables of `nn.Embedding` with sparse=True, or groups of them.
        lr: learning rate.
        betas: decay of the moments, counted in updates of the row.
        eps: added to the root of the second moment.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the rows named by each table's sparse gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, group)

    def _update(self, table: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state["exp_avg"] = torch.zeros_like(table, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(table, dtype=torch.float32)
            state["updates"] = torch.zeros(len(table), dtype=torch.float32, device=table.device)
        assert table.grad is not None
        gradient = table.grad.coalesce()
        rows, values = gradient.indices()[0], gradient.values().float()  # (R,), (R, D)
        first, second = group["betas"]
        mean = state["exp_avg"][rows].lerp_(values, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(values, values, value=1 - second)
        count = (state["updates"][rows] + 1)[:, None]  # (R, 1)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        state["updates"][rows] = count[:, 0]
        root = (square / (1 - second**count)).sqrt_().add_(group["eps"])
        update = (mean / (1 - first**count)).div_(root)
        table.index_add_(0, rows, update.to(table.dtype), alpha=-group["lr"])
