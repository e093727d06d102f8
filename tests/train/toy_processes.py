"""Training runs in several processes: what each of them does (`main`).

A small network of plain torch, with blocks as FSDP wants them, dropout, a parameter that no
loss uses, and batches of unequal size, so that a mean of means would show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.train.loop import run
from slonik.train.processes import leave
from slonik.train.protocols import Batch, IntArray, Loss
from slonik.train.run_state import RunSummary
from slonik.train.train_config import TrainConfig

VOCABULARY, WIDTH, ROWS, STEPS = 40, 8, 24, 6
SIZES = (1, 3, 2, 2, 4, 1, 5, 2, 1, 3)  # of the batches of an epoch, texts


class Block(nn.Module):
    """A residual layer."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.dropout(torch.tanh(self.dense(states)))


class Network(nn.Module):
    """Embeddings, two blocks, a head, and a pooler that takes no part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, VOCABULARY)
        self.pooler = nn.Linear(WIDTH, WIDTH)

    def hidden(self, ids: Tensor) -> Tensor:
        """(B, T, D)."""
        states = self.words(ids)
        for layer in self.layers:
            states = layer(states)
        return states


class NextWord:
    """The word after the next; calls parts of the model, never its `forward`."""

    def loss(self, model: Any, batch: Batch) -> Loss:
        logits = model.head(model.hidden(batch["input_ids"])[:, :-1])
        wanted = batch["input_ids"][:, 1:]
        total = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        parts = {"words": total.detach()}
        if len(wanted) > 1:  # a part that not every batch has
            parts["several"] = total.detach()
        return Loss(total, parts, weight=float(wanted.numel()))


class Texts:
    """Batches of SIZES texts of 5 words; `shared_shard` gives every turn the same batch: FRED-T5's accident."""

    def __init__(self, shared_shard: bool = False) -> None:
        self.fingerprint = "texts"
        self._shared = shared_shard
        self._ids = torch.randint(0, VOCABULARY, (ROWS, 5), generator=torch.Generator().manual_seed(1))

    def plan(self, epoch: int) -> list[IntArray]:
        order = np.random.default_rng(epoch).permutation(ROWS).astype(np.int64)
        parts = np.split(order, np.cumsum(SIZES)[:-1])
        return [parts[0]] * len(parts) if self._shared else list(parts)

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        return {"input_ids": self._ids[torch.from_numpy(texts)]}


def config(**fields: object) -> TrainConfig:
    """Six steps in fp32."""
    defaults: dict[str, object] = {
        "max_steps": STEPS, "learning_rate": 0.02, "precision": "fp32", "device": "cpu", "log_every_steps": 1,
        "evaluate_every_steps": 2, "best_metric": "loss", "higher_is_better": False, "save_every_minutes": 0.0,
        "clip_norm": 0.1,
    }  # fmt: skip
    return TrainConfig.model_validate({**defaults, **fields})


class Crash(Exception):
    """Stands for a power cut."""


def train(folder: Path, *, crash_at: int = 0, shared_shard: bool = False, **fields: object) -> RunSummary:
    """One run; `crash_at` counts evaluations."""
    held_out = {"input_ids": torch.arange(20).reshape(4, 5)}
    calls = iter(range(1, 1000))

    def evaluate(model: nn.Module) -> dict[str, float]:
        if next(calls) == crash_at:
            raise Crash
        return {"loss": float(NextWord().loss(model, held_out).total)}

    return run(Network(), NextWord(), Texts(shared_shard), config(**fields), folder, evaluate=evaluate)


def crash(folder: Path, **fields: Any) -> None:
    """The beginning of a run, three of its steps saved."""
    try:
        train(folder, crash_at=3, **fields)
    except Crash:
        return
    raise AssertionError("it did not crash")


def main(folder: Path) -> None:
    """Copies, runs that crash and go on (as copies, in parts), parts, two batches a step, and the accident.

    `grown-*` were begun by one process; `shrunk-*` are left for one to go on with.
    """
    train(folder / "copies")
    train(folder / "grown-3", accumulate=3)
    train(folder / "grown-1", sharding="full")
    crash(folder / "shrunk-2")
    crash(folder / "shrunk-4", accumulate=2, sharding="full")
    for name, sharding in (("crashed", "none"), ("moved", "full")):
        crash(folder / name, checkpoints="sharded")
        resumed = train(folder / name, sharding=sharding, checkpoints="sharded").resumed_from
        assert resumed == 3, resumed
    train(folder / "parts", sharding="full")
    train(folder / "accumulated", accumulate=2)
    train(folder / "half", precision="fp16")
    train(folder / "half-parts", precision="fp16", sharding="full")
    rank = torch.distributed.get_rank()
    try:
        train(folder / "accident", shared_shard=True)
    except SlonikError as error:
        (folder / f"accident_{rank}.txt").write_text(str(error), encoding="utf-8")
    leave()
