"""What chose the checkpoint of a distillation: which held-out metric, where it began, where it was best.

A student that was never better than at the start is as it was before: that is said, and is no success.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from slonik.train.run_log import read_metrics


@dataclass(frozen=True)
class Choice:
    """The evaluation that was taken.

    Attributes:
        metric: the held-out metric that chose; its value at the start and at the best evaluation.
        step, steps: of the best evaluation, and of the whole training.
    """

    metric: str
    start: float
    best: float
    step: int
    steps: int

    @property
    def unchanged(self) -> bool:
        """Whether the student is what it was before training."""
        return self.step == 0

    def sentence(self) -> str:
        """What a reader must know."""
        if self.unchanged:
            return (
                f"Distillation changed nothing: no evaluation in {self.steps:,} steps was better than the start "
                f"({self.metric} {self.start:.4f}), so the student is as it was before. More steps, or another "
                "learning rate, may help."
            )
        return (
            f"The held-out metric {self.metric} chose the checkpoint: {self.best:.4f} at step {self.step:,} of "
            f"{self.steps:,}, {self.start:.4f} at the start."
        )

    def summary(self) -> dict[str, Any]:
        """For a step's summary and the passport."""
        return asdict(self) | {"unchanged": self.unchanged}

    @classmethod
    def of(cls, metrics: Path | None) -> Self | None:
        """Read from a metrics log; None where there is none, or nothing was measured.

        Logs say what chose since they begin with a line about the run; older ones were chosen by "choice".
        """
        lines = read_metrics(metrics) if metrics is not None else []
        told: Mapping[str, Any] = next((line for line in lines if "best_metric" in line), {})
        metric = str(told.get("best_metric", "choice"))
        found = [
            (line["step"], float(line["evaluation"][metric])) for line in lines if metric in line.get("evaluation", {})
        ]
        if not found:
            return None
        sign = 1 if told.get("higher_is_better", True) else -1
        step, best = max(found, key=lambda one: (sign * one[1], -one[0]))
        return cls(metric, found[0][1], best, step, max(line["step"] for line in lines))
