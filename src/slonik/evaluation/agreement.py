"""How well a student agrees with its teacher on held-out texts: the metrics that choose checkpoints and settings.

Everything is computed from two arrays of vectors of the same texts; no benchmark is touched. Shapes: N texts,
D dimensions; P translation pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slonik.core.protocols import FloatArray

_NEIGHBOURS = 10
_SIMILARITY_PAIRS = 200_000
_ALL_AT_ONCE = 4096  # texts whose similarities are made as one matrix, at most 64 MB


def unit(vectors: FloatArray) -> FloatArray:
    """Rows divided by their L2 norm; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def agreement(student: FloatArray, teacher: FloatArray) -> dict[str, float]:
    """Agreement of (N, D) student vectors with (N, E) teacher vectors of the same texts.

    Returns:
        agreement: mean over texts of the cosine of the centred unit vectors (the teacher's mean taken off both);
            sentence encoders share a large mean vector, which makes plain cosines look alike. Only where D == E.
        cosine: mean plain cosine. Only where D == E.
        similarity: Spearman correlation of similarities over random pairs of texts.
        neighbours: share of the teacher's 10 nearest neighbours that are the student's too.
    """
    student, teacher = unit(student), unit(teacher)
    metrics = {
        "similarity": _similarity_correlation(student, teacher),
        "neighbours": float(neighbour_overlap(student, teacher).mean()),
    }
    if student.shape[1] == teacher.shape[1]:
        metrics["agreement"] = float(centred_cosines(student, teacher).mean())
        metrics["cosine"] = float((student * teacher).sum(1).mean())
    return metrics


def centred_cosines(student: FloatArray, teacher: FloatArray) -> FloatArray:
    """(N,) cosines of unit vectors after the teacher's mean was taken off both."""
    mean = teacher.mean(0)
    return np.asarray((unit(student - mean) * unit(teacher - mean)).sum(1), dtype=np.float32)


def neighbour_overlap(student: FloatArray, teacher: FloatArray, neighbours: int = _NEIGHBOURS) -> FloatArray:
    """(N,) share of each text's nearest neighbours that both have; unit vectors, the text itself left out."""
    count = min(neighbours, len(teacher) - 1)
    if count < 1:
        return np.ones(len(teacher), dtype=np.float32)
    found = [_nearest(vectors, count) for vectors in (student, teacher)]
    shared = [len(set(a) & set(b)) / count for a, b in zip(found[0].tolist(), found[1].tolist(), strict=True)]
    return np.asarray(shared, dtype=np.float32)


def _nearest(vectors: FloatArray, count: int) -> NDArray[np.intp]:
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    return np.argpartition(-similarities, count - 1, axis=1)[:, :count]


def _similarity_correlation(student: FloatArray, teacher: FloatArray) -> float:
    rng = np.random.default_rng(0)
    left = rng.integers(0, len(teacher), _SIMILARITY_PAIRS)
    right = rng.integers(0, len(teacher), _SIMILARITY_PAIRS)
    left, right = left[left != right], right[left != right]
    ranks = [_ranks(_similarities(vectors, left, right)) for vectors in (student, teacher)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _similarities(vectors: FloatArray, left: NDArray[np.int64], right: NDArray[np.int64]) -> FloatArray:
    """(P,) inner products of rows `left` with rows `right`; of few texts, whose pairs come again, each is made once."""
    if len(vectors) <= _ALL_AT_ONCE:
        return np.asarray((vectors @ vectors.T)[left, right])
    return np.asarray((vectors[left] * vectors[right]).sum(1))


def near_correlation(student: FloatArray, teacher: FloatArray) -> float:
    """Spearman correlation of the similarities inside pairs; rows 2i and 2i + 1 of both arrays are pair i.

    Where the pairs are near ones (paraphrases, altered copies), it says whether the order of very similar texts
    survived, which correlation over random pairs does not see.
    """
    ranks = [_ranks((vectors[::2] * vectors[1::2]).sum(1)) for vectors in (unit(student), unit(teacher))]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: FloatArray) -> NDArray[np.float64]:
    ranks = np.empty(len(values), dtype=np.float64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def translation_hits(russian: FloatArray, english: FloatArray) -> FloatArray:
    """(P,) 1 where the nearest English text of a Russian one is its translation, else 0."""
    nearest = (unit(russian) @ unit(english).T).argmax(1)
    return np.asarray(nearest == np.arange(len(russian)), dtype=np.float32)
