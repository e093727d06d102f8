"""Every setting of a training run, its unit and its default."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config

Schedule = Literal["cosine", "linear", "constant", "wsd", "inverse_sqrt"]
TrackerName = Literal["tensorboard", "mlflow", "clearml", "wandb", "trackio"]


class TrainConfig(Config):
    """How long, how fast, how precisely, and how often to measure and save."""

    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps. Prefer this to minutes: only a run counted in steps can be repeated exactly."""
    max_minutes: float | None = Field(None, gt=0)
    """Active time, evaluation included and pauses between runs excluded. Alone, it also drives the schedule."""
    seed: int = Field(0, ge=0)
    optimizer: Literal["adamw", "adafactor", "lamb", "muon"] = "adamw"
    """adafactor: T5's, relative to each matrix's size (FRED-T5's authors: schedule constant, learning_rate 1e-3).
    lamb: LTG-BERT's, for large batches. muon: for matrices of hidden layers, AdamW for the rest."""
    learning_rate: float = Field(3e-4, gt=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each layer further from the head learns at this share of the rate of the one above it; 1 = all alike."""
    schedule: Schedule = "cosine"
    """After the warm-up. wsd: stable at the peak, then a short fall, so that a run can be made longer before it falls.
    inverse_sqrt: the peak times the root of (warm-up / steps so far), T5's and the transformer's own."""
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    """Share of the run in which the learning rate rises linearly from 0."""
    warmup_steps: int | None = Field(None, ge=0)
    """The same in steps, instead of warmup_ratio; goes with max_steps."""
    final_ratio: float = Field(0.0, ge=0, le=1)
    """The learning rate at the end, as a share of the peak; of cosine, linear and wsd."""
    decay_ratio: float | None = Field(None, gt=0, le=1)
    """wsd: share of the run in which the learning rate falls, at its end; None = 0.2."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled; not on biases, norms, embeddings and relative positions."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of adamw and lamb."""
    epsilon: float = Field(1e-8, gt=0)
    accumulate: int = Field(1, ge=1)
    """Batches per optimizer step of one process; a run keeps the batches of all its processes when it goes on with
    another number of them."""
    clip_norm: float | None = Field(1.0, gt=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the device computes it faster than fp32, else fp32; a run that goes on keeps the one it began
    with. bf16 and fp16 are autocast over fp32 weights; fp16 scales the loss and leaves out steps that overflow."""
    dropout: bool = True
    """Drop out as the model's own config says; False trains it in evaluation mode."""
    averaging: float | None = Field(None, gt=0, lt=1)
    """Measure, choose and keep an exponential average of the weights; this share of it stays at each step (.999 is
    usual for some thousands of steps)."""
    compile: bool = False
    """torch.compile for the forward and backward pass; worth its minute of compiling on a GPU."""
    attention: Literal["auto", "flex"] = "auto"
    """auto: torch's fused attention, plain in bfloat16 on a CPU. flex: for packed rows on a GPU; pairs of tokens from
    different texts are not computed. It drops nothing out."""
    gradient_checkpointing: bool = False
    """Keep the inputs of layers alone and compute the layers once more for the gradient: a third more work, and far
    less memory."""
    loader_processes: int = Field(0, ge=0)
    """Processes that prepare batches beside each process that trains; 0 = a thread of it, enough for all but the
    fastest accelerators."""
    embeddings: Literal["lazy", "dense", "frozen"] = "lazy"
    """Large embedding tables: update only the rows of the batch (with adamw or muon in one process), every row, or
    none."""
    sharding: Literal["none", "full"] = "none"
    """In several processes: a copy of the model in each (DDP), or parameters, gradients and optimizer state spread
    over them (FSDP; adamw only)."""
    device: Literal["auto", "cpu"] = "auto"
    evaluate_every_steps: int = Field(500, ge=1)
    evaluate_every_minutes: float | None = Field(None, gt=0)
    """Of active time, instead of by steps; for runs that minutes alone drive, whose steps nobody knows beforehand."""
    best_metric: str = "agreement"
    """The metric of the evaluation function that chooses the checkpoint."""
    higher_is_better: bool = True
    patience: int | None = Field(None, ge=1)
    """Stop after so many evaluations in a row without a better one; None = never early."""
    save_every_minutes: float = Field(5.0, ge=0)
    checkpoints: Literal["auto", "whole", "sharded"] = "auto"
    """Whole files that the first process writes, or one from each; auto: sharded where the model is. Either is written
    beside the training, and read by any number of processes."""
    keep: int = Field(2, ge=2)
    """Checkpoints kept; at least two, so that a damaged one has a predecessor."""
    timeout_minutes: float = Field(30.0, gt=0)
    """How long a step waits for a batch, or for other processes, before the run ends and says who stands still."""
    log_every_steps: int = Field(10, ge=1)
    trackers: tuple[TrackerName, ...] = ()
    """Besides metrics.jsonl: tensorboard, mlflow, clearml, wandb, trackio."""
    explosion_factor: float = Field(5.0, gt=1)
    """Stop when the smoothed loss exceeds this many times the loss at the start."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.max_steps is None and self.max_minutes is None:
            raise ValueError("give max_steps or max_minutes: a run needs an end")
        if self.evaluate_every_minutes is not None and self.max_steps is not None:
            raise ValueError("evaluate_every_minutes goes with max_minutes alone: by steps, give evaluate_every_steps")
        if self.sharding == "full" and self.optimizer != "adamw":
            raise ValueError(f"sharding full goes with optimizer adamw, not {self.optimizer}: it needs whole matrices")
        if self.sharding == "full" and self.averaging is not None:
            raise ValueError("averaging needs the whole model in each process: leave out sharding or averaging")
        return self

    @model_validator(mode="after")
    def _has_a_schedule(self) -> Self:
        if self.warmup_steps is not None:
            if self.max_steps is None or self.warmup_steps >= self.max_steps:
                raise ValueError(
                    f"warmup_steps is {self.warmup_steps}, and has to be below max_steps ({self.max_steps})"
                )
            if self.warmup_ratio != type(self).model_fields["warmup_ratio"].default:
                raise ValueError("give warmup_steps or warmup_ratio, not both")
        if self.decay_ratio is not None and self.schedule != "wsd":
            raise ValueError(f"decay_ratio is for schedule wsd, not for {self.schedule}")
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warm-up and decay together are {self.warmup + self.decay:.2f} of the run: at most 1")
        if self.schedule == "inverse_sqrt" and not self.warmup:
            raise ValueError(
                "schedule inverse_sqrt is counted from its warm-up: give warmup_ratio or warmup_steps above 0"
            )
        if self.final_ratio and self.schedule in ("constant", "inverse_sqrt"):
            raise ValueError(f"final_ratio is for schedules that fall to an end, and {self.schedule} does not")
        return self

    @property
    def warmup(self) -> float:
        """Share of the run in which the learning rate rises."""
        return self.warmup_ratio if self.warmup_steps is None else self.warmup_steps / (self.max_steps or 1)

    @property
    def decay(self) -> float:
        """wsd: share of the run in which it falls."""
        return 0.2 if self.decay_ratio is None else self.decay_ratio

    def identity(self) -> dict[str, object]:
        """The fields that decide the weights: a checkpoint is continued only where these are equal."""
        later = {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=set(_OPERATIONAL) | later)


_OPERATIONAL = (
    "save_every_minutes", "keep", "log_every_steps", "explosion_factor", "device", "max_minutes", "trackers",
    "sharding", "checkpoints", "timeout_minutes", "gradient_checkpointing", "loader_processes",
)  # fmt: skip
# Fields younger than the first runs: left out at their defaults, so that a run begun without them can go on.
_LATER = (
    "attention", "optimizer", "layer_decay", "compile", "patience", "evaluate_every_minutes", "dropout", "warmup_steps",
    "decay_ratio", "averaging",
)  # fmt: skip
