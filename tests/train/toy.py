"""A tiny distillation run: two-layer student, random teacher vectors, 60 short texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from slonik.compression.objective import Distillation, DistillationTerms
from slonik.train.loaders import BatchLoader, Column, partner_rows, rows, text_loader
from slonik.train.loop import OnBest, run
from slonik.train.ragged import Ragged
from slonik.train.run_state import RunSummary
from slonik.train.train_config import TrainConfig
from tests import tiny

TEXTS = 60
DIMENSION = 32


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of real tokens."""
    weight = mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)


def student(family: str = "bert", **shape: int) -> nn.Module:
    """A two-layer student with dropout, so that randomness in the forward pass is tested too."""
    made = tiny.model(family, **shape)
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.1
    return made


def texts(vocab_size: int = 500) -> Ragged:
    """Random texts of 4 to 12 tokens."""
    rng = np.random.default_rng(1)
    rows = [[0, *rng.integers(5, vocab_size, size=length).tolist(), 2] for length in rng.integers(2, 11, size=TEXTS)]
    return Ragged.of(rows, key="toy")


def columns() -> dict[str, Column]:
    """Random teacher vectors; every third text has a translation."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((TEXTS, DIMENSION)).astype(np.float16)
    partners = np.where(np.arange(TEXTS) % 3 == 0, np.arange(TEXTS)[::-1], -1).astype(np.int64)
    return {"teacher": rows(vectors), "teacher_partner": partner_rows(vectors, partners)}


def loader(objective: Distillation, *, further: Sequence[str] = (), **options: int) -> BatchLoader:
    """Batches of 8 with their columns; `further` names more teachers, which say what the first one says."""
    named = columns()
    named |= dict.fromkeys(further, named["teacher"])
    return text_loader(texts(), objective, columns=named, **{"max_texts": 8, **options})


def objective() -> Distillation:
    """The default terms."""
    return Distillation(DistillationTerms(), pool=mean_pool, pad_id=1, dimension=DIMENSION)


def config(**fields: object) -> TrainConfig:
    """Twelve steps, saved at the end."""
    defaults: dict[str, object] = {"max_steps": 12, "learning_rate": 1e-3, "save_every_minutes": 60.0, "device": "cpu"}
    defaults |= {"evaluate_every_steps": 4, "log_every_steps": 1, "best_metric": "cosine"}
    return TrainConfig.model_validate({**defaults, **fields})


def train(
    folder: Path,
    *,
    pause: float = 0.0,
    model: nn.Module | None = None,
    on_best: OnBest | None = None,
    on_evaluate: Callable[[], None] = lambda: None,
    **fields: object,
) -> RunSummary:
    """Train a toy student in `folder`."""
    made = model if model is not None else student(vocab_size=5000)
    goal = objective()
    batches = loader(goal)
    held_out = batches.batch(0, 0, np.arange(20))

    def evaluate(current: nn.Module) -> dict[str, float]:
        time.sleep(pause)
        on_evaluate()
        return {"cosine": 1.0 - float(goal.loss(current, held_out).parts["cosine"])}

    return run(made, goal, batches, config(**fields), folder, evaluate=evaluate, on_best=on_best)
