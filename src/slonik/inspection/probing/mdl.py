"""Minimum description length of a task's labels given a layer's vectors: the online code of Voita and Titov (2020).

Labels are sent in portions; each portion is coded with a logistic probe fitted to all portions before it, the first
one uniformly. Fewer bits mean that the property is easier to get at, and, unlike accuracy, the effort of the probe is
counted. Compression is the uniform code's length over this code's. Several orders of the sentences are averaged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.evaluation.logistic import fit_logistic
from slonik.inspection.probing.readers import TaskData

SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
_FEWEST = 16  # sentences before the first probe
_UNIFORM = 0.01  # share of the uniform code mixed in: a probability of zero would cost infinitely many bits


@dataclass(frozen=True)
class Codelength:
    """Bits to send the training labels: `bits` by the online code per order, `uniform` by the uniform code."""

    bits: tuple[float, ...]
    uniform: float

    @property
    def compressions(self) -> NDArray[np.float64]:
        """Uniform over online code, per order."""
        found: NDArray[np.float64] = self.uniform / np.array(self.bits)
        return found


def online_codelength(vectors: NDArray[np.float32], data: TaskData, c: float, seeds: Sequence[int]) -> Codelength:
    """Code the training labels.

    Args:
        vectors: (N train, D). c: inverse strength of the probe's penalty. seeds: one order of the sentences each.
    """
    labels = data.train.labels
    classes = np.array(data.classes)
    uniform = float(np.log2(len(classes)))
    ends = sorted({max(min(_FEWEST, len(labels)), int(share * len(labels))) for share in SHARES})
    lengths = []
    for seed in seeds:
        order = np.random.default_rng(derive_seed(seed, "mdl", data.task.id)).permutation(len(labels))
        bits = ends[0] * uniform
        for start, end in itertools.pairwise(ends):
            seen, coming = order[:start], order[start:end]
            bits += _portion(vectors, labels, seen, coming, classes, c)
        lengths.append(bits)
    return Codelength(tuple(lengths), len(labels) * uniform)


def _portion(
    vectors: NDArray[np.float32],
    labels: NDArray[np.str_],
    seen: NDArray[np.intp],
    coming: NDArray[np.intp],
    classes: NDArray[np.str_],
    c: float,
) -> float:
    probabilities = np.zeros((len(coming), len(classes)))
    known = np.unique(labels[seen])
    if len(known) < 2:
        probabilities[:, np.searchsorted(classes, known)] = 1.0
    else:
        model = fit_logistic(vectors[seen], labels[seen], c=c)
        probabilities[:, np.searchsorted(classes, model.classes)] = model.probabilities(vectors[coming])
    mixed = (1 - _UNIFORM) * probabilities + _UNIFORM / len(classes)
    return float(-np.log2(mixed[np.arange(len(coming)), np.searchsorted(classes, labels[coming])]).sum())
