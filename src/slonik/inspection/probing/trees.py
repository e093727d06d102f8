"""The structural probe (Hewitt and Manning 2019): are distances in the dependency tree distances between word vectors?

A linear map B (rank x D) is fitted so that |B (h_i - h_j)|^2 is the number of edges between words i and j, by the mean
absolute error over pairs and sentences, as there. Then: `uuas`, the share of the tree's edges that are in the minimum
spanning tree of the distances (punctuation is left out), and `spearman`, the correlation of distances word by word,
averaged over words, sentences of one length, and lengths from 5 to 50.

Beside it: the words in a row, each tied to the next one; the model's architecture with random weights, and its own
embeddings (layer 0), which know words alone; and a control (after Hewitt and Liang 2019, section 3): in a control tree
every word is tied to the first or to the last word of its sentence, at random by its form. Shapes: W words of a
sentence, L layers, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.hashing import derive_seed
from slonik.core.progress import track
from slonik.data.conllu import Sentence

RANK = 64
_STEPS = 800
_CHECK = 25  # steps between looks at the held sentences
_PATIENCE = 3  # looks without a gain before the rate falls, and rates before the end
_BATCH = 20
_RATE = 1e-2
_LENGTHS = range(5, 51)

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """A sentence without punctuation.

    Attributes:
        words: places of its words among the units. distances: (W, W) edges between every two of them.
        edges: pairs (i, j), i < j, of words, counted in `words`, that the tree ties.
    """

    words: NDArray[np.intp]
    distances: Distances
    edges: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class TreeScores:
    """What a probe's distances are worth on some sentences.

    Attributes:
        hits, edges: (N,) edges found and edges there are, per sentence.
        correlations: (N,) mean over words of Spearman's correlation, NaN for sentences too short or too long for it.
        lengths: (N,) words.
    """

    hits: NDArray[np.float64]
    edges: NDArray[np.float64]
    correlations: NDArray[np.float64]
    lengths: NDArray[np.intp]

    @property
    def uuas(self) -> float:
        """Edges found, of all edges."""
        return float(self.hits.sum() / self.edges.sum())

    @property
    def spearman(self) -> float:
        """Mean over lengths of the mean over sentences; NaN where no sentence is of such a length."""
        return float(self.resampled(np.ones((1, len(self.hits))))[1][0])

    def resampled(self, counts: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """uuas and spearman (B,) when sentences are drawn so often: counts (B, N)."""
        weights = np.asarray(counts, dtype=np.float64)
        uuas = (weights @ self.hits) / np.maximum(weights @ self.edges, 1e-12)
        known = ~np.isnan(self.correlations)
        values = np.where(known, self.correlations, 0.0)
        total, groups = np.zeros(len(weights)), np.zeros(len(weights))
        for length in np.unique(self.lengths[known]):
            own = weights * (known & (self.lengths == length))
            sizes = own.sum(1)
            total += np.divide(own @ values, sizes, out=np.zeros_like(sizes), where=sizes > 0)
            groups += sizes > 0
        return uuas, np.divide(total, groups, out=np.full_like(total, np.nan), where=groups > 0)


def tree_of(sentence: Sentence) -> Tree | None:
    """The dependency tree of a sentence; None with fewer than two words."""
    heads = np.array([(word.head or 0) - 1 for word in sentence.words])
    return _tree(sentence, heads)


def control_tree_of(sentence: Sentence, seed: int) -> Tree | None:
    """A tree in which every word is tied to the first or the last word, at random by its form."""
    kept = [at for at, word in enumerate(sentence.words) if word.upos not in ("PUNCT", "SYM")]
    if len(kept) < 2:
        return None
    heads = np.full(len(sentence.words), -1)
    for at, word in enumerate(sentence.words):
        last = derive_seed(seed, "control tree", word.form.lower()) % 2 == 1
        heads[at] = kept[-1] if last and at != kept[-1] else kept[0]
    heads[kept[0]] = -1
    return _tree(sentence, heads)


def _tree(sentence: Sentence, heads: NDArray[np.integer]) -> Tree | None:
    size = len(heads)
    kept = np.array([at for at, word in enumerate(sentence.words) if word.upos not in ("PUNCT", "SYM")], dtype=np.intp)
    if len(kept) < 2:
        return None
    tied: list[list[int]] = [[] for _ in range(size)]
    for at, head in enumerate(heads):
        if head >= 0:
            tied[at].append(int(head))
            tied[int(head)].append(at)
    distances = np.full((size, size), np.inf)
    for start in range(size):
        distances[start, start] = 0
        level = [start]
        while level:
            following = []
            for at in level:
                for other in tied[at]:
                    if np.isinf(distances[start, other]):
                        distances[start, other] = distances[start, at] + 1
                        following.append(other)
            level = following
    inside = distances[np.ix_(kept, kept)]
    edges = frozenset((i, j) for i in range(len(kept)) for j in range(i + 1, len(kept)) if inside[i, j] == 1)
    return Tree(kept, inside, edges) if edges else None


def score_distances(trees: Sequence[Tree], distances: Sequence[Distances]) -> TreeScores:
    """Compare distances (W, W) of every sentence with its tree's."""
    hits, edges, correlations, lengths = [], [], [], []
    for tree, found in zip(trees, distances, strict=True):
        spanned = spanning_tree(found)
        hits.append(len(spanned & tree.edges))
        edges.append(len(tree.edges))
        lengths.append(len(tree.words))
        correlations.append(_rank_correlation(found, tree.distances) if len(tree.words) in _LENGTHS else np.nan)
    return TreeScores(
        np.array(hits, dtype=np.float64), np.array(edges, dtype=np.float64), np.array(correlations), np.array(lengths)
    )


def in_a_row(tree: Tree) -> Distances:
    """How far apart words stand: the baseline that ties each to the next."""
    at = np.arange(len(tree.words), dtype=np.float64)
    return np.abs(at[:, None] - at[None, :])


def spanning_tree(distances: Distances) -> set[tuple[int, int]]:
    """Pairs (i, j), i < j, of the minimum spanning tree of (W, W) distances."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    moved = distances - distances.min() + 1.0  # scipy takes zeros for missing edges
    rows, columns = minimum_spanning_tree(np.triu(moved, 1)).nonzero()
    return {(int(min(i, j)), int(max(i, j))) for i, j in zip(rows, columns, strict=True)}


def _rank_correlation(found: Distances, true: Distances) -> float:
    """Mean over words of Spearman's correlation between the two rows of distances to the other words."""
    from scipy.stats import rankdata

    others = ~np.eye(len(true), dtype=bool)
    size = len(true) - 1
    pair = [rankdata(part[others].reshape(len(true), size), axis=1) for part in (found, true)]
    centred = [ranks - ranks.mean(1, keepdims=True) for ranks in pair]
    norms = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    values = np.divide((centred[0] * centred[1]).sum(1), norms, out=np.zeros(len(true)), where=norms > 1e-12)
    return float(values.mean())


class StructuralProbe:
    """A linear map under which squared distances of word vectors are distances in trees.

    Args:
        vectors: (W, D) per sentence, of the words of its tree. trees: to fit to. seed: of weights and batches.
        held: sentences whose error decides when to stop.
    """

    def __init__(
        self,
        vectors: Sequence[NDArray[np.floating]],
        trees: Sequence[Tree],
        held: tuple[Sequence[NDArray[np.floating]], Sequence[Tree]],
        *,
        rank: int = RANK,
        seed: int = 0,
    ) -> None:
        together = np.concatenate([np.asarray(part, dtype=np.float32) for part in vectors])
        self._scale = float(np.sqrt(together.var(axis=0, dtype=np.float64).sum())) or 1.0
        dimension = together.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "structural probe") % 2**31)
            weights = torch.empty(dimension, min(rank, dimension)).uniform_(-1, 1) * (3.0 / dimension) ** 0.5
            weights.requires_grad_(True)
            optimizer = torch.optim.Adam([weights], lr=_RATE)
            lowest, self._weights = float("inf"), weights.detach().clone()
            waited = falls = 0
            order: list[int] = []
            for step in range(1, _STEPS + 1):
                if not order:
                    order = torch.randperm(len(trees)).tolist()
                batch, order = order[:_BATCH], order[_BATCH:]
                optimizer.zero_grad()
                loss = self._loss(weights, [vectors[at] for at in batch], [trees[at] for at in batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if step % _CHECK:
                    continue
                with torch.no_grad():
                    error = float(self._loss(weights, *held))
                if error < lowest - 1e-3:
                    lowest, self._weights, waited = error, weights.detach().clone(), 0
                    continue
                waited += 1
                if waited == _PATIENCE:
                    waited, falls = 0, falls + 1
                    optimizer.param_groups[0]["lr"] *= 0.3
                    if falls == _PATIENCE:
                        break

    def distances(self, vectors: Sequence[NDArray[np.floating]]) -> list[Distances]:
        """(W, W) of every sentence."""
        with torch.no_grad():
            return [self._pairs(self._weights, [part])[0][0].double().numpy() for part in vectors]

    def _pairs(self, weights: Tensor, vectors: Sequence[NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
        """Squared distances (B, W, W), and which places are words (B, W)."""
        longest = max(len(part) for part in vectors)
        padded = torch.zeros(len(vectors), longest, vectors[0].shape[1])
        real = torch.zeros(len(vectors), longest, dtype=torch.bool)
        for place, part in enumerate(vectors):
            padded[place, : len(part)] = torch.from_numpy(np.asarray(part, dtype=np.float32)) / self._scale
            real[place, : len(part)] = True
        mapped = padded @ weights * weights.shape[0] ** 0.5
        squares = (mapped * mapped).sum(-1)
        products = mapped @ mapped.transpose(1, 2)
        return (squares[:, :, None] + squares[:, None, :] - 2 * products).clamp_min(0.0), real

    def _loss(self, weights: Tensor, vectors: Sequence[NDArray[np.floating]], trees: Sequence[Tree]) -> Tensor:
        found, real = self._pairs(weights, vectors)
        wanted = torch.zeros_like(found)
        for place, tree in enumerate(trees):
            size = len(tree.words)
            wanted[place, :size, :size] = torch.from_numpy(tree.distances).float()
        both = real[:, :, None] & real[:, None, :]
        error = ((found - wanted).abs() * both).sum((1, 2)) / both.sum((1, 2))
        loss: Tensor = error.mean()
        return loss


def probe_trees(
    layers: int,
    vectors: Callable[[int, int], NDArray[np.floating]],
    trees: Sequence[Tree],
    parts: tuple[Sequence[int], Sequence[int], Sequence[int]],
    name: str = "",
) -> list[tuple[TreeScores, TreeScores]]:
    """Validation and test scores of a probe on every layer.

    Args:
        layers: how many there are. vectors: (layer, number of a tree) -> (W, D) of its words.
        trees: all of them. parts: numbers of training, validation and test trees. name: of the model, for progress.
    """
    found = []
    for layer in track(range(layers), f"trees in the layers of {name}", layers):
        own = [[vectors(layer, at) for at in part] for part in parts]
        kept = [[trees[at] for at in part] for part in parts]
        probe = StructuralProbe(own[0], kept[0], (own[1], kept[1]))
        scores = [score_distances(kept[place], probe.distances(own[place])) for place in (1, 2)]
        found.append((scores[0], scores[1]))
    return found
