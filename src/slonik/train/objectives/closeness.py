"""Losses without labels, one number per example: what importance scores are taken of.

They train nothing by themselves; each returns the loss of every example apart, because importance is averaged per
example. Shapes: B examples, T tokens, D dimensions, P probes.

Which to use: `pair_closeness_loss` where there are translation pairs; `probe_loss` with the Fisher criterion where
there is text alone. `teacher_distance_loss` measures how far a model has moved from the original's vectors. At the
original itself it is smallest, so its gradient, and with it every score, is zero: it is meant for a model that has been
cut already (the later steps of iterative pruning).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Pool = Callable[[Tensor, Tensor], Tensor]
"""(hidden (B, T, D), attention_mask (B, T)) -> sentence vectors (B, D)."""
ExampleLoss = Callable[[Any, Mapping[str, Tensor]], Tensor]
"""(model, batch) -> (B,), or (P, B): several losses of each example."""


def sentence_vectors(model: Any, batch: Mapping[str, Tensor], pool: Pool, start: str = "") -> Tensor:
    """Unit sentence vectors (B, D) of `start`input_ids and `start`attention_mask."""
    mask = batch[f"{start}attention_mask"]
    output = model(input_ids=batch[f"{start}input_ids"], attention_mask=mask)
    return F.normalize(pool(output[0], mask), dim=-1)


def pair_closeness_loss(pool: Pool) -> ExampleLoss:
    """Squared distance of a text's unit vector to its translation's, per pair.

    The batch holds input_ids, attention_mask and pair_input_ids, pair_attention_mask. Source: the closeness of Russian
    and English vectors that prune_labse_en_ru takes its importance of.
    """

    def loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        left, right = sentence_vectors(model, batch, pool), sentence_vectors(model, batch, pool, "pair_")
        return (left - right).square().sum(-1)

    return loss


def teacher_distance_loss(pool: Pool) -> ExampleLoss:
    """1 - cos to the original's vector, which the batch holds under `teacher` (B, D). Zero gradient at the original."""

    def loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        return 1.0 - (sentence_vectors(model, batch, pool) * F.normalize(batch["teacher"], dim=-1)).sum(-1)

    return loss


def probe_loss(pool: Pool, *, probes: int = 4, seed: int = 0, center: Tensor | None = None) -> ExampleLoss:
    """The unit sentence vector along random +-1 directions, (P, B).

    E (v . J d)^2 = |J d|^2 over such v: the mean squared gradient is the squared movement of the vector (Hutchinson's
    estimate), so the Fisher criterion on this loss says how far each structure's removal moves sentence vectors.
    Directions follow from an example's tokens and `seed`, not from its place in a batch. `center` (D,), the mean unit
    vector of some texts, is taken off first: where all vectors share a large common part (E5) it would hide the rest.
    """

    def loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        vectors = sentence_vectors(model, batch, pool)
        if center is not None:
            vectors = F.normalize(vectors - center.to(vectors), dim=-1)
        directions = _directions(batch, probes, vectors.shape[-1], seed).to(vectors)
        return (directions * vectors[None]).sum(-1)

    return loss


def _directions(batch: Mapping[str, Tensor], probes: int, dimensions: int, seed: int) -> Tensor:
    """(P, B, D) of +-1."""
    rows = []
    for ids, mask in zip(batch["input_ids"].cpu(), batch["attention_mask"].cpu(), strict=True):
        content = ids[mask.bool()].numpy().astype("<i8").tobytes() + str(seed).encode()
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(content).digest()[:7], "little"))
        rows.append(torch.randint(0, 2, (probes, dimensions), generator=generator) * 2.0 - 1.0)
    return torch.stack(rows, dim=1)
