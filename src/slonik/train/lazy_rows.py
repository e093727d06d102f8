"""AdamW for the rows of an embedding table that a batch touched; the rest of the table is left alone.

A table of 37,000 x 384 has more numbers than six encoder layers, and a batch of 2,000 tokens reads some 3 % of its
rows: a dense step would spend its time on decaying moments of rows that saw nothing. The table must be an
`nn.Embedding` with sparse=True. Differs from dense AdamW on purpose: an untouched row does not move (dense Adam drifts
it along its old momentum), and bias correction counts the row's own updates, so that the first update of a rare row
has the size of one learning rate instead of three. Source of the idea: torch.optim.SparseAdam, which corrects by the
global count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class LazyRowAdamW(torch.optim.Optimizer):
    """Row-wise AdamW without weight decay.

    Args:
        params: (V, D) tables whose gradients are sparse, or groups of them.
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
