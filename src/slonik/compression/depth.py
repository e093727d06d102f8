"""Which layers to keep: how well the rest, untrained, still agrees with the whole model.

A cut encoder is the sequence of its kept layers, so cuts that begin alike share their first states. `search_layers`
walks the tree of kept layers and computes every shared beginning once; with `width` it follows only the most promising
cuts, dropping one layer at a time. Agreement before training ranks starting points; training changes the order little
but not never, so try the best few. Nothing is cut for good here: `plan.keep_layers` makes the plan.

Agreement of a cut, on B texts with unit vectors s (cut) and t (whole), both centred on their mean and made unit again:

- centred cosine: mean of s_i . t_i;
- row correlation: mean over texts of the correlation of the rows s_i . s_j and t_i . t_j over j, what retrieval sees.

The score of a cut is the mean of both. Shapes: B texts, T tokens, L layers, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from slonik.compression.criteria import Batch, scoring
from slonik.compression.replay import Replay
from slonik.core.errors import SlonikError
from slonik.core.progress import Bar, progress_bar
from slonik.models.anatomy import Body, dissect

Pool = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerCut:
    """Kept layers (0-based) and the agreement of what they compute with the whole model."""

    layers: tuple[int, ...]
    cosine: float
    correlation: float

    @property
    def score(self) -> float:
        """Mean of both agreements."""
        return (self.cosine + self.correlation) / 2


def search_layers(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    pool: Pool,
    keep: int,
    *,
    width: int | None = None,
    fixed: Sequence[int] = (),
) -> list[LayerCut]:
    """Cuts to `keep` layers, best first.

    Args:
        batches: dicts with input_ids and attention_mask, some hundred short texts in all.
        pool: hidden states and mask to sentence vectors. keep: how many layers stay.
        width: follow this many cuts per step (beam); None tries every cut.
        fixed: layers that stay in any case.

    Raises:
        SlonikError: `keep` below 1 or above the number of layers, or no texts.
    """
    body = dissect(model)
    depth = len(body.layers)
    batches = list(batches)
    if not 1 <= keep <= depth:
        raise SlonikError(f"{keep} layers cannot stay: keep 1 to {depth}")
    if not batches:
        raise SlonikError("there are no texts to compare layers on")
    must = {*fixed, *([0] if body.first_layer_pinned else [])}
    runner = _Runner(body, batches, pool)
    if width is None:
        cuts = [cut for cut in combinations(range(depth), keep) if must <= set(cut)]
        found = runner.all(cuts, f"trying {len(cuts)} cuts of {comb(depth, keep)}")
    else:
        found = _beam(runner, depth, keep, width, must)
    return sorted(found, key=lambda cut: (-cut.score, cut.layers))


def _beam(runner: _Runner, depth: int, keep: int, width: int, must: set[int]) -> list[LayerCut]:
    beam = [tuple(range(depth))]
    found = runner.all(beam, "") if keep == depth else []
    for left in range(depth - 1, keep - 1, -1):
        cuts = {
            tuple(layer for layer in cut if layer != dropped) for cut in beam for dropped in cut if dropped not in must
        }
        found = runner.all(sorted(cuts), f"dropping to {left} layers")
        best = sorted(found, key=lambda cut: (-cut.score, cut.layers))
        beam = [cut.layers for cut in best[:width]]
    return found


class _Runner:
    """Runs any increasing sequence of layers, sharing the states of equal beginnings."""

    def __init__(self, body: Body, batches: Sequence[Batch], pool: Pool) -> None:
        self._body = body
        self._pool = pool
        with scoring(body.model), torch.inference_mode():
            self._replay = Replay(body, batches)
            self._teacher = torch.cat([self._vectors(state, index) for index, state in enumerate(self._replay.ends)])

    def all(self, cuts: Sequence[tuple[int, ...]], description: str) -> list[LayerCut]:
        """Agreement of every cut, in any order."""
        found: list[LayerCut] = []
        with scoring(self._body.model), torch.inference_mode(), progress_bar(description, total=len(cuts)) as bar:
            self._walk(sorted(cuts), 0, self._replay.starts, found, bar)
        return found

    def _walk(
        self, cuts: Sequence[tuple[int, ...]], done: int, states: list[Tensor], found: list[LayerCut], bar: Bar
    ) -> None:
        """All of `cuts` begin with the same `done` layers, whose states are `states`."""
        for layer in sorted({cut[done] for cut in cuts if len(cut) > done}):
            after = [self._replay.run(layer, index, state) for index, state in enumerate(states)]
            self._walk([cut for cut in cuts if len(cut) > done and cut[done] == layer], done + 1, after, found, bar)
        for cut in cuts:
            if len(cut) == done:
                vectors = torch.cat([self._vectors(state, index) for index, state in enumerate(states)])
                found.append(LayerCut(cut, *agreement(vectors, self._teacher)))
                bar.advance()

    def _vectors(self, state: Tensor, batch: int) -> Tensor:
        if path := self._body.anatomy.final_norm:
            state = self._body.base.get_submodule(path)(state)
        return F.normalize(self._pool(state, self._replay.masks[batch]).float(), dim=-1)


def agreement(vectors: Tensor, teacher: Tensor) -> tuple[float, float]:
    """(centred cosine, row correlation) of unit vectors (B, D) and (B, E); the cosine needs D = E, else it is 0."""
    ours, theirs = _centred(vectors.double()), _centred(teacher.double())
    cosine = float((ours * theirs).sum(-1).mean()) if ours.shape == theirs.shape else 0.0
    left, right = ours @ ours.T, theirs @ theirs.T
    others = ~torch.eye(len(left), dtype=torch.bool, device=left.device)
    rows = [_centre(matrix[others].view(len(left), -1)) for matrix in (left, right)]
    correlation = F.cosine_similarity(rows[0], rows[1], dim=-1).mean() if len(left) > 2 else torch.ones(())
    return cosine, float(correlation)


def _centred(vectors: Tensor) -> Tensor:
    return F.normalize(vectors - vectors.mean(0), dim=-1)


def _centre(rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True)
