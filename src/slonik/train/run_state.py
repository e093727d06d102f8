"""Where a run stands, apart from tensors: what a checkpoint keeps as JSON and what `run` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError


@dataclass(frozen=True)
class Best:
    """The best evaluation so far.

    Attributes:
        step: when. value: the figure that chose it. figures: all of that evaluation.
        folder: name of the folder with the weights, beside the checkpoints.
    """

    step: int
    value: float
    figures: dict[str, float]
    folder: str


@dataclass
class RunState:
    """Counters of a run; `epoch` and `index`: position of the next batch; `stale`: evaluations since `best`."""

    step: int = 0
    epoch: int = 0
    index: int = 0
    seconds: float = 0.0
    tokens: int = 0
    texts: int = 0
    best: Best | None = None
    stale: int = 0
    scaling: dict[str, float] = field(default_factory=dict)
    guard: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunState:
        """The state that `to_json` gave."""
        best = values["best"]
        return cls(**{**values, "best": Best(**best) if best else None})


@dataclass(frozen=True)
class RunSummary:
    """What a finished run reports.

    Attributes:
        step, epoch: where it ended. resumed_from: the step it went on from, 0 for a fresh run.
        seconds: active time over all its processes one after another; tokens, texts: trained on, repeats counted.
        loss: smoothed over some 50 steps.
        best: the best evaluation; None without an evaluation function.
        best_weights: safetensors file of the model at that evaluation.
        weights: the same, or of the last step without an evaluation function.
        metrics: the JSONL log.
    """

    step: int
    epoch: int
    resumed_from: int
    seconds: float
    tokens: int
    texts: int
    loss: float
    best: Best | None
    best_weights: Path | None
    weights: Path
    metrics: Path


def check_identity(saved: Mapping[str, Any], current: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with other settings or data than the checkpoint's.

    Raises:
        SlonikError: naming the first difference with both values.
    """
    for name in sorted(set(saved) | set(current)):
        old, new = saved.get(name), current.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            for key in sorted(set(old) | set(new)):
                if old.get(key) != new.get(key):
                    raise _different(f"{name}.{key}", old.get(key), new.get(key), folder)
        elif old != new:
            raise _different(name, old, new, folder)


def _different(name: str, old: object, new: object, folder: Path) -> SlonikError:
    return SlonikError(
        f"the unfinished run in {folder} was started with {name} = {old!r}, this one has {new!r}: "
        "run the same command as before, or choose another folder (or remove that one) to start anew"
    )
