"""What one optimizer step leaves for the log and the divergence guard, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class StepRecord:
    """Figures of one step, summed over its batches.

    Args:
        step: number of the step, from 1.
        learning_rate: used in it.
        started: seconds of the run when it began.
    """

    def __init__(self, step: int, learning_rate: float, started: float) -> None:
        self.step, self.learning_rate, self.started = step, learning_rate, started
        self.texts = self.tokens = 0
        self.weight = 0.0
        self.norm: Tensor = torch.zeros(())
        self.skipped = False  # its gradients overflowed fp16
        self._places: list[str] = []
        self._totals: dict[str, Tensor] = {}

    def add_data(self, place: str, texts: int, tokens: int) -> None:
        """Count a batch that stands at `place`."""
        self._places.append(place)
        self.texts += texts
        self.tokens += tokens

    def add_loss(self, total: Tensor, parts: Mapping[str, Tensor], weight: float) -> None:
        """Add the loss of a batch, a mean over `weight` items."""
        self.weight += weight
        named = {"loss": total, **{f"loss.{name}": part for name, part in parts.items()}}
        for name, value in named.items():
            added = value.detach().float() * weight
            self._totals[name] = self._totals[name] + added if name in self._totals else added

    @property
    def where(self) -> str:
        """The batches of the step."""
        return "; ".join(self._places)

    def loss(self) -> float:
        """Mean loss per item."""
        return float(self._totals["loss"]) / self.weight

    def figures(self, seconds: float) -> dict[str, Any]:
        """Values for the metrics log; the step took `seconds`."""
        means = {name: float(total) / self.weight for name, total in self._totals.items()}
        rates = {"tokens_per_second": round(self.tokens / seconds), "texts_per_second": round(self.texts / seconds, 1)}
        rate = {"learning_rate": self.learning_rate, "gradient_norm": float(self.norm)}
        skipped = {"skipped": True} if self.skipped else {}
        return {"step": self.step, **means, **rate, **skipped, "tokens": self.tokens, **rates}
