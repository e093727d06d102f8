"""Train a table of token vectors: the mean of a text's rows comes to stand where the teacher's vector stands.

Rows begin as the teacher's vectors of single tokens, weighted so that frequent ones count less, and are trained on the
teacher's vectors of sentences: cosine distance and the rows of similarities inside a batch. Only rows that a batch
holds move. Agreement with the teacher on held-out sentences chooses the epoch; no benchmark is read.

Sources: the weight a / (a + p) of a token of probability p: Arora et al., "A Simple but Tough-to-Beat Baseline for
Sentence Embeddings" (2017), section 3. Vectors of single tokens as a table: Model2Vec (Tulkens and van Dongen, 2024).

Shapes: N texts, V tokens, D dimensions of the table, E of a teacher.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from slonik.compression.losses import cosine_distance, similarity_kl
from slonik.compression.static.config import TableConfig
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray

_SIF = 1e-3  # Arora et al.: between 1e-3 and 1e-4 makes little difference
_BETAS = (0.9, 0.99)
_STATE = "table.npz"


@dataclass(frozen=True)
class Lesson:
    """Texts and what a teacher says of them.

    Attributes:
        ids: token ids of N texts.
        targets: (N, E) the teacher's vectors.
        view: (D, E) what turns a vector of the table into the teacher's space; None where the two are one space.
    """

    ids: Sequence[NDArray[np.integer]]
    targets: NDArray[np.floating]
    view: FloatArray | None = None


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


def token_counts(ids: Sequence[NDArray[np.integer]], tokens: int) -> NDArray[np.int64]:
    """(V,) how often each token stands in texts of ids."""
    return np.bincount(np.concatenate([np.zeros(0, dtype=np.int64), *ids]), minlength=tokens)


def means(vectors: Tensor, ids: Sequence[NDArray[np.integer]]) -> Tensor:
    """(N, D) means of the rows of each text's tokens; zeros for a text without tokens."""
    return functional.embedding_bag(*_flat(ids), vectors, mode="mean")


def train_table(
    start: FloatArray,
    lessons: Sequence[Lesson],
    held: Lesson,
    config: TableConfig = TableConfig(),
    *,
    seed: int = 0,
    folder: Path | None = None,
) -> Table:
    """Train a table so that means of its rows point where the teacher's vectors point.

    Args:
        start: (V, D) rows to begin with.
        lessons: what to learn from; a batch is of one lesson, and lessons take turns by their size.
        held: texts that are not trained on; they choose the epoch.
        folder: where each epoch is saved; the same call after a crash goes on from there.

    Raises:
        SlonikError: no texts, or targets of another dimension than the table's vectors have there.
    """
    lessons = [lesson for lesson in lessons if len(lesson.ids)]
    if not lessons or not len(held.ids):
        raise SlonikError("a static model learns from texts and is chosen by others: give a larger corpus")
    for lesson in (*lessons, held):
        width = start.shape[1] if lesson.view is None else lesson.view.shape[1]
        if lesson.targets.shape[1] != width:
            sizes = f"{lesson.targets.shape[1]} dimensions and the table {width}"
            raise SlonikError(f"the teacher has {sizes}: make them equal")
    state = _State.read(folder) or _State.begin(start, _agreement(torch.from_numpy(start), held))
    batches = sum(-(-len(lesson.ids) // config.batch_texts) for lesson in lessons)
    with progress_bar("training the table", config.epochs * batches, completed=state.epoch * batches) as bar:
        while state.epoch < config.epochs:
            rng = np.random.default_rng([seed, state.epoch])
            for number, (lesson, chosen) in enumerate(_batches(lessons, config.batch_texts, rng)):
                done = (state.epoch * batches + number) / (config.epochs * batches)
                rate = config.learning_rate * (1 + math.cos(math.pi * done)) / 2
                _learn(state, lesson, chosen, config, rate, rng)
                bar.advance(1)
            state.ended(_agreement(state.rows, held))
            if folder is not None:
                state.write(folder)
    return Table(state.kept, tuple(state.agreement), state.best)


@dataclass
class _State:
    """Rows, Adam's moments, how often each row has moved, and what was found so far."""

    rows: Tensor
    first: Tensor
    second: Tensor
    moves: Tensor
    epoch: int
    agreement: list[float]
    best: int
    kept: FloatArray

    @classmethod
    def begin(cls, start: FloatArray, agreement: float) -> _State:
        rows = torch.from_numpy(start.astype(np.float32, copy=True))
        moves = torch.zeros(len(rows), 1)
        return cls(rows, torch.zeros_like(rows), torch.zeros_like(rows), moves, 0, [agreement], 0, start.copy())

    def ended(self, agreement: float) -> None:
        """Note that an epoch has ended."""
        self.epoch += 1
        self.agreement.append(agreement)
        if agreement > self.agreement[self.best]:
            self.best, self.kept = self.epoch, self.rows.numpy().copy()

    def write(self, folder: Path) -> None:
        """Save it; the file is whole, or the one before stays."""
        arrays = {"rows": self.rows, "first": self.first, "second": self.second, "moves": self.moves}
        unfinished = folder / f"unfinished.{_STATE}"
        np.savez(
            unfinished, kept=self.kept, agreement=np.asarray(self.agreement), best=self.best, epoch=self.epoch,
            **{name: tensor.numpy() for name, tensor in arrays.items()},
        )  # fmt: skip
        unfinished.replace(folder / _STATE)

    @classmethod
    def read(cls, folder: Path | None) -> _State | None:
        """What `write` has left; None where there is nothing."""
        if folder is None or not (folder / _STATE).is_file():
            return None
        with np.load(folder / _STATE, allow_pickle=False) as found:
            tensors = (torch.from_numpy(found[name]) for name in ("rows", "first", "second", "moves"))
            return cls(
                *tensors, int(found["epoch"]), [float(value) for value in found["agreement"]], int(found["best"]),
                found["kept"],
            )  # fmt: skip


def _batches(
    lessons: Sequence[Lesson], size: int, rng: np.random.Generator
) -> Iterator[tuple[Lesson, NDArray[np.int64]]]:
    """(lesson, numbers of its texts), every text once, in an order of chance."""
    parts: list[tuple[Lesson, NDArray[np.int64]]] = []
    for lesson in lessons:
        order = rng.permutation(len(lesson.ids))
        parts += [(lesson, order[first : first + size]) for first in range(0, len(order), size)]
    for place in rng.permutation(len(parts)):
        yield parts[place]


def _learn(
    state: _State, lesson: Lesson, chosen: NDArray[np.int64], config: TableConfig, rate: float, rng: np.random.Generator
) -> None:
    """One step of Adam on the rows that a batch holds."""
    texts = [lesson.ids[number] for number in chosen]
    flat, starts = _flat(_dropped(texts, config.dropout, rng))
    used, places = torch.unique(flat, return_inverse=True)
    rows = state.rows[used].requires_grad_()
    made = functional.embedding_bag(places, rows, starts, mode="mean")
    if lesson.view is not None:
        made = made @ torch.from_numpy(lesson.view)
    wanted = torch.from_numpy(np.asarray(lesson.targets[chosen], dtype=np.float32))
    loss = made.new_zeros(())
    if config.cosine:
        loss = loss + config.cosine * cosine_distance(made, wanted)
    if config.similarity_kl:
        loss = loss + config.similarity_kl * similarity_kl(made, wanted, config.temperature)
    (slope,) = torch.autograd.grad(loss, rows)
    state.moves[used] += 1
    moves = state.moves[used]
    first = _BETAS[0] * state.first[used] + (1 - _BETAS[0]) * slope
    second = _BETAS[1] * state.second[used] + (1 - _BETAS[1]) * slope.square()
    state.first[used], state.second[used] = first, second
    size = (second / (1 - _BETAS[1] ** moves)).sqrt() + 1e-8
    state.rows[used] -= rate * first / (1 - _BETAS[0] ** moves) / size


def _dropped(
    texts: Sequence[NDArray[np.integer]], share: float, rng: np.random.Generator
) -> Sequence[NDArray[np.integer]]:
    if not share:
        return texts
    drawn = [text[rng.random(len(text)) >= share] for text in texts]
    return [some if len(some) else text for some, text in zip(drawn, texts, strict=True)]


def _flat(ids: Sequence[NDArray[np.integer]]) -> tuple[Tensor, Tensor]:
    """All ids one after the other, and where each text begins."""
    starts = np.concatenate([[0], np.cumsum([len(text) for text in ids])[:-1]]).astype(np.int64)
    return torch.from_numpy(np.concatenate(ids).astype(np.int64)), torch.from_numpy(starts)


@torch.no_grad()
def _agreement(rows: Tensor, held: Lesson) -> float:
    """Mean cosine between the table's vectors and the teacher's."""
    made = means(rows, held.ids)
    if held.view is not None:
        made = made @ torch.from_numpy(held.view)
    wanted = torch.from_numpy(np.asarray(held.targets, dtype=np.float32))
    return float(functional.cosine_similarity(made, wanted).mean())
