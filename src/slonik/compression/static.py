"""Distil an encoder into a table of token vectors: the mean of a text's rows stands where the network's vector stood.

Rows begin as the teacher's vectors of single tokens, weighted so that frequent ones count less, and are trained on the
teacher's vectors of sentences: cosine distance and the rows of similarities inside a batch. Agreement with the teacher
on held-out sentences chooses the epoch; no benchmark is read. The result is a `slonik.runtime.static.StaticEncoder`.

Sources: the weight a / (a + p) of a token of probability p: Arora et al., "A Simple but Tough-to-Beat Baseline for
Sentence Embeddings" (2017), section 3. Vectors of single tokens as a table: Model2Vec (Tulkens and van Dongen, 2024).

Shapes: N texts, V tokens, D dimensions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor, nn

from slonik.compression.losses import cosine_distance, similarity_kl
from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray

_SIF = 1e-3  # Arora et al.: between 1e-3 and 1e-4 makes little difference


class StaticConfig(Config):
    """How a table is trained."""

    epochs: int = Field(12, ge=0)
    """Passes over the sentences; 0 leaves the table as it begins."""
    batch_texts: int = Field(1024, ge=8)
    learning_rate: float = Field(0.01, gt=0)
    """Of the rows, where they begin with a mean length of 1; falls to 0 along a cosine."""
    cosine: float = Field(1.0, ge=0)
    similarity_kl: float = Field(1.0, ge=0)
    temperature: float = Field(0.05, gt=0)
    """Of the similarity rows."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of a text's tokens that are left out in training."""


@dataclass(frozen=True)
class Table:
    """A trained table.

    Attributes:
        vectors: (V, D) float32.
        agreement: mean cosine to the teacher on held-out texts, of the table as it began and after each epoch.
        best: the epoch that was kept; 0 = as it began.
    """

    vectors: FloatArray
    agreement: tuple[float, ...]
    best: int


class Bag(nn.Module):
    """Means of rows; texts as one run of ids and where each begins."""

    def __init__(self, start: FloatArray) -> None:
        super().__init__()
        self.rows = nn.EmbeddingBag.from_pretrained(torch.from_numpy(start.copy()), freeze=False, mode="mean")

    def forward(self, ids: Tensor, starts: Tensor) -> Tensor:
        """(n,) ids and (B,) starts -> (B, D); zeros for a text without tokens."""
        means: Tensor = self.rows(ids, starts)
        return means


def start_table(token_vectors: FloatArray, counts: NDArray[np.integer]) -> FloatArray:
    """Rows to begin with: the teacher's vectors of single tokens, frequent tokens shorter; mean length 1.

    Args:
        token_vectors: (V, D), centred (those of a centred blend are).
        counts: (V,) of the tokens in the corpus.
    """
    chances = counts / max(int(counts.sum()), 1)
    weights = (_SIF / (_SIF + chances)).astype(np.float32)
    rows: FloatArray = token_vectors.astype(np.float32) * weights[:, None]
    return rows / max(float(np.linalg.norm(rows, axis=1).mean()), 1e-12)


def token_counts(ids: Sequence[Sequence[int]], tokens: int) -> NDArray[np.int64]:
    """(V,) how often each token stands in texts of ids."""
    counts = np.zeros(tokens, dtype=np.int64)
    for row in ids:
        np.add.at(counts, row, 1)
    return counts


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token says as a text of its own (V,), its leading space included where it has one."""
    return [tokenizer.decode([number], skip_special_tokens=True) for number in range(tokenizer.get_vocab_size())]


def train_table(
    start: FloatArray,
    ids: Sequence[NDArray[np.integer]],
    targets: NDArray[np.floating],
    held_ids: Sequence[NDArray[np.integer]],
    held_targets: NDArray[np.floating],
    config: StaticConfig = StaticConfig(),
    *,
    seed: int = 0,
) -> Table:
    """Train a table so that means of its rows point where the teacher's vectors point.

    Args:
        start: (V, D) rows to begin with.
        ids: token ids of N texts; targets: (N, D) the teacher's vectors of them.
        held_ids, held_targets: of texts that are not trained on; they choose the epoch.

    Raises:
        SlonikError: no texts, or targets of another dimension.
    """
    if not len(ids) or not len(held_ids):
        raise SlonikError("a static model learns from texts and is chosen by others: give a larger corpus")
    if targets.shape[1] != start.shape[1]:
        sizes = f"{targets.shape[1]} dimensions and the table {start.shape[1]}"
        raise SlonikError(f"the teacher has {sizes}: make them equal")
    model = Bag(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    rng = np.random.default_rng(seed)
    batches = max(1, -(-len(ids) // config.batch_texts))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, config.epochs * batches))
    found, best, kept = [_agreement(model, held_ids, held_targets)], 0, start.copy()
    with progress_bar("training the table", total=config.epochs * batches) as bar:
        for epoch in range(1, config.epochs + 1):
            order = rng.permutation(len(ids))
            for first in range(0, len(order), config.batch_texts):
                chosen = order[first : first + config.batch_texts]
                made = model(*_batch([ids[number] for number in chosen], config.dropout, rng))
                wanted = torch.from_numpy(np.asarray(targets[chosen], dtype=np.float32))
                loss = config.cosine * cosine_distance(made, wanted)
                loss = loss + config.similarity_kl * similarity_kl(made, wanted, config.temperature)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                bar.advance(1)
            found.append(_agreement(model, held_ids, held_targets))
            if found[-1] > found[best]:
                best, kept = epoch, copy.deepcopy(model.rows.weight.detach().numpy())
    return Table(kept, tuple(found), best)


def _batch(rows: Sequence[NDArray[np.integer]], dropout: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    if dropout:
        drawn = [row[rng.random(len(row)) >= dropout] for row in rows]
        rows = [some if len(some) else row for some, row in zip(drawn, rows, strict=True)]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])[:-1]]).astype(np.int64)
    return torch.from_numpy(np.concatenate(rows).astype(np.int64)), torch.from_numpy(starts)


@torch.no_grad()
def _agreement(model: Bag, ids: Sequence[NDArray[np.integer]], targets: NDArray[np.floating]) -> float:
    """Mean cosine between the table's vectors and the teacher's."""
    made = model(*_batch(ids, 0.0, np.random.default_rng(0)))
    return float(nn.functional.cosine_similarity(made, torch.from_numpy(np.asarray(targets, dtype=np.float32))).mean())
