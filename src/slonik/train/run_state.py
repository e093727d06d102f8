"""Where a run stands, apart from tensors: what a checkpoint keeps as JSON, what `run` returns, what a step leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.version import __version__

FORMAT = 2
"""Of `state.json`: 1 = the number of processes was fixed."""
_BEGUN = "begun.json"
_NOTHING = 1e-9  # a batch in which nothing was masked has no items, and no gradient either


@dataclass(frozen=True)
class Best:
    """The best evaluation so far.

    Attributes:
        step: when. value: the metric that chose it. metrics: all of that evaluation.
        folder: name of the folder with the weights, beside the checkpoints.
    """

    step: int
    value: float
    metrics: dict[str, float]
    folder: str


@dataclass
class RunState:
    """Counters of a run; `epoch` and `index`: position of the next batch; `stale`: evaluations since `best`.

    `batches` of a step, over all processes, and whether large embedding tables are trained by `rows`: as the run was
    begun, whatever the number of processes since.
    """

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
    batches: int = 1
    rows: bool = False

    def to_json(self) -> dict[str, Any]:
        values = {"format": FORMAT, "slonik": __version__, **asdict(self)}
        if self.best is not None:
            values["best"]["figures"] = values["best"].pop("metrics")  # the key that saved runs have
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], folder: Path) -> RunState:
        """The state that `to_json` gave, or an earlier version's.

        Raises:
            SlonikError: the checkpoint in `folder` is of a later version, or something else.
        """
        form = values.get("format", 1)
        if not isinstance(form, int) or form > FORMAT:
            raise SlonikError(
                f"the checkpoint {folder} is of format {form}, written by slonik {values.get('slonik')}; this one "
                f"({__version__}) reads up to {FORMAT}: go on with that version; nothing was changed"
            )
        fields = {name: value for name, value in values.items() if name not in ("format", "slonik")}
        try:
            best = fields["best"]
            found = Best(best["step"], best["value"], best["figures"], best["folder"]) if best else None
            if form == 1:
                identity = dict(fields["identity"])
                # Its processes were fixed, and each had `accumulate` batches.
                fields["batches"] = int(identity.pop("processes", 1)) * int(identity["config"]["accumulate"])
                fields["identity"] = identity
            return cls(**{**fields, "best": found})
        except (KeyError, TypeError, ValueError) as error:
            raise SlonikError(
                f"the checkpoint {folder} is none of slonik's training ({error}): choose another folder, or remove "
                "that one to start anew"
            ) from None


def begun(folder: Path, state: RunState) -> RunState:
    """`state` of a run that has no checkpoint yet, with the size of its steps as it was first begun.

    A run that lost a node before its first checkpoint goes on with fewer processes and makes the same steps. To be
    called in the first process.
    """
    path = folder / _BEGUN
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["identity"] == json.loads(json.dumps(state.identity)):
            return replace(state, batches=int(known["batches"]), rows=bool(known["rows"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    write_json(path, {"batches": state.batches, "rows": state.rows, "identity": state.identity})
    return state


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
        precision: that matrix products were computed in: fp32, bf16 or fp16.
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
    precision: str


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
    what = f"was started with {name} = {old!r}, this one has {new!r}"
    if name == "data":
        what = f"was started on another corpus or with other batches (data = {_short(old)}, now {_short(new)})"
    return SlonikError(
        f"the unfinished run in {folder} {what}: "
        "run the same command as before, or choose another folder (or remove that one) to start anew"
    )


def _short(value: object) -> str:
    return str(value)[:12]


class StepRecord:
    """What one optimizer step leaves for the log and the divergence guard, without waiting for the device.

    Summed over its batches and, after `merge`, over the processes.

    Args:
        step: number of the step, from 1.
        learning_rate: used in it.
        started: seconds of the run when it began.
    """

    def __init__(self, step: int, learning_rate: float, started: float) -> None:
        self.step, self.learning_rate, self.started = step, learning_rate, started
        self.norm: Tensor = torch.zeros(())
        self.skipped = False  # its gradients overflowed fp16
        self._texts = self._tokens = 0
        self._weight = 0.0
        self._places: list[str] = []
        self._totals: dict[str, Tensor] = {}
        self._merged: Tensor | None = None

    def add_data(self, place: str, texts: int, tokens: int) -> None:
        """Count a batch that stands at `place`."""
        self._places.append(place)
        self._texts += texts
        self._tokens += tokens

    def add_loss(self, total: Tensor, parts: Mapping[str, Tensor], weight: float) -> None:
        """Add the loss of a batch, a mean over `weight` items."""
        self._weight += weight
        named = {"loss": total, **{f"loss.{name}": part for name, part in parts.items()}}
        for name, value in named.items():
            added = value.detach().float() * weight
            self._totals[name] = self._totals[name] + added if name in self._totals else added

    @property
    def names(self) -> list[str]:
        return sorted(self._totals)

    def merge(self, add_up: Callable[[Tensor], Tensor], names: Sequence[str], device: torch.device) -> None:
        """Add up with the other processes' records of this step.

        Args:
            add_up: the sum of a tensor over the processes.
            names: the loss and its parts, the same everywhere; a process without one of them (a batch in which nothing
                was masked has no accuracy) adds nothing to it.
            device: where the losses are.
        """
        nothing = torch.zeros((), dtype=torch.float64, device=device)
        counts = torch.tensor([self._weight, self._texts, self._tokens], dtype=torch.float64, device=device)
        totals = torch.stack([self._totals[name].double() if name in self._totals else nothing for name in names])
        merged = add_up(torch.cat([counts, totals]))
        self._merged = merged
        self._totals = {name: merged[3 + place] for place, name in enumerate(names)}

    @property
    def weight(self) -> float | Tensor:
        """Items of the step, never quite 0; a tensor on the device after `merge`."""
        return max(self._weight, _NOTHING) if self._merged is None else self._merged[0].clamp(min=_NOTHING)

    @property
    def texts(self) -> int:
        """Texts of the step; waits for the device after `merge`."""
        return self._texts if self._merged is None else int(self._merged[1])

    @property
    def tokens(self) -> int:
        """Tokens of the step; waits for the device after `merge`."""
        return self._tokens if self._merged is None else int(self._merged[2])

    @property
    def where(self) -> str:
        """The batches that this process read."""
        return "; ".join(self._places)

    def loss(self) -> float:
        return float(self._totals["loss"]) / float(self.weight)

    def metrics(self) -> dict[str, Any]:
        means = {name: float(total) / float(self.weight) for name, total in self._totals.items()}
        rate = {"learning_rate": self.learning_rate, "gradient_norm": float(self.norm)}
        skipped = {"skipped": True} if self.skipped else {}
        return {"step": self.step, **means, **rate, **skipped, "tokens": self.tokens}
