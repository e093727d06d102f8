"""Every setting of a training run, its unit and its default."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config


class TrainConfig(Config):
    """How long, how fast, how precisely, and how often to measure and save."""

    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps. Prefer this to minutes: only a run counted in steps can be repeated exactly."""
    max_minutes: float | None = Field(None, gt=0)
    """Active time, evaluation included and pauses between runs excluded. Alone, it also drives the schedule."""
    seed: int = Field(0, ge=0)
    learning_rate: float = Field(3e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    """Share of the run in which the learning rate rises linearly from 0."""
    final_ratio: float = Field(0.0, ge=0, le=1)
    """The learning rate at the end, as a share of the peak."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled; not on biases, norms and embeddings."""
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(1e-8, gt=0)
    accumulate: int = Field(1, ge=1)
    """Batches per optimizer step."""
    clip_norm: float | None = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast over fp32 weights."""
    embeddings: Literal["lazy", "dense", "frozen"] = "lazy"
    """Large embedding tables: update only the rows of the batch, every row, or none."""
    device: Literal["auto", "cpu"] = "auto"
    evaluate_every_steps: int = Field(500, ge=1)
    best_metric: str = "agreement"
    """The figure of the evaluation function that chooses the checkpoint."""
    higher_is_better: bool = True
    save_every_minutes: float = Field(5.0, ge=0)
    keep: int = Field(2, ge=2)
    """Checkpoints kept; at least two, so that a damaged one has a predecessor."""
    log_every_steps: int = Field(10, ge=1)
    explosion_factor: float = Field(5.0, gt=1)
    """Stop when the smoothed loss exceeds this many times the loss at the start."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.max_steps is None and self.max_minutes is None:
            raise ValueError("give max_steps or max_minutes: a run needs an end")
        return self

    def identity(self) -> dict[str, object]:
        """The fields that decide the weights: a checkpoint is continued only where these are equal."""
        return self.model_dump(mode="json", exclude=set(_OPERATIONAL))


_OPERATIONAL = ("save_every_minutes", "keep", "log_every_steps", "explosion_factor", "device", "max_minutes")
