"""Description length: how many bits it takes to send a task's labels to somebody who has a layer's vectors.

The online code of Voita and Titov (2020, section 2.2.2): labels are sent in portions, each coded with a logistic probe
fitted to all portions before it, the first one uniformly. Fewer bits mean that the property is easier to get at, and,
unlike accuracy, the effort of the probe is counted.

The penalty is part of the code: all of a grid are tried, the one with the shortest code is taken, and saying which one
costs the logarithm of their number. So layers are compared each at its own best, and nothing is borrowed from
validation. The length for control labels (`control`) is what knowing words by heart would give.

Shapes: N training sentences, D dimensions, S orders of the sentences.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.evaluation.logistic import PreparedLogistic
from slonik.inspection.intervals import Z
from slonik.inspection.probing.probes import PENALTIES

# Where portions of the online code end, as shares of the training sentences.
PORTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
_FEWEST = 16  # sentences before the first probe
_UNIFORM = 0.01  # share of the uniform code mixed in: a probability of zero would cost infinitely many bits

Matrix = NDArray[np.float32]
Labels = NDArray[np.str_]


@dataclass(frozen=True)
class Codelength:
    """Bits to send the training labels.

    Attributes:
        sentences: (S, N) bits of every sentence in every order, in the order of the task.
        uniform: by the uniform code. choice: for saying which penalty was taken. settings: the penalty of every order.
    """

    sentences: NDArray[np.float64]
    uniform: float
    choice: float
    settings: tuple[float, ...]

    @property
    def bits(self) -> tuple[float, ...]:
        """Of the whole code, per order."""
        return tuple(float(total) + self.choice for total in self.sentences.sum(1))

    @property
    def per_sentence(self) -> NDArray[np.float64]:
        """(N,) mean over orders, the choice of the penalty shared out."""
        found: NDArray[np.float64] = self.sentences.mean(0) + self.choice / self.sentences.shape[1]
        return found

    @property
    def compression(self) -> float:
        """Uniform over online code, of the mean length over orders."""
        return self.uniform / float(self.per_sentence.sum())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the compression for other sentences and other orders.

        A code is a sum over sentences; its variance is that of the bits within an order, times their number, and what
        sentences do to each other's probes, for which the variance between orders stands. (Bits averaged over orders
        first vary too little: their mean takes out luck that another sample would have.)
        """
        n = self.sentences.shape[1]
        if n < 2:
            return self.compression, self.compression
        variance = n * float(self.sentences.var(axis=1, ddof=1).mean())
        if len(self.sentences) > 1:
            variance += float(np.var(self.bits, ddof=1))
        total, spread = float(self.per_sentence.sum()), Z * variance**0.5
        return self.uniform / (total + spread), self.uniform / max(total - spread, 1e-9)


def online_codelength(
    vectors: Matrix, labels: Labels, seeds: Sequence[int], *, task: str = "", penalties: Sequence[float] = PENALTIES
) -> Codelength:
    """Description length of labels given a layer's vectors.

    Args:
        vectors: (N, D), of unit deviation. labels: (N,). seeds: one order of the sentences each.
        task: its name, which decides the orders together with the seeds. penalties: C, inverse strengths, tried.
    """
    classes = np.unique(labels)
    n, uniform = len(labels), float(np.log2(len(classes)))
    ends = sorted({max(min(_FEWEST, n), int(share * n)) for share in PORTIONS})
    lengths, settings = [], []
    for seed in seeds:
        order = np.random.default_rng(derive_seed(seed, "mdl", task)).permutation(n)
        bits = np.full((len(penalties), n), uniform)
        for start, end in itertools.pairwise(ends):
            seen, coming = order[:start], order[start:end]
            bits[:, coming] = _portion(vectors, labels, seen, coming, classes, penalties)
        best = int(bits.sum(1).argmin())  # the first of equals
        lengths.append(bits[best])
        settings.append(float(penalties[best]))
    choice = float(np.log2(len(penalties))) if len(ends) > 1 else 0.0
    return Codelength(np.array(lengths), n * uniform, choice, tuple(settings))


def _portion(
    vectors: Matrix,
    labels: Labels,
    seen: NDArray[np.intp],
    coming: NDArray[np.intp],
    classes: Labels,
    penalties: Sequence[float],
) -> NDArray[np.float64]:
    """(penalties, sentences to come) bits."""
    known = np.unique(labels[seen])
    places = np.arange(len(coming)), np.searchsorted(classes, labels[coming])
    prepared = PreparedLogistic(vectors[seen]) if len(known) >= 2 else None
    found = []
    for c in penalties:
        probabilities = np.zeros((len(coming), len(classes)))
        if prepared is None:
            probabilities[:, np.searchsorted(classes, known)] = 1.0
        else:
            model = prepared.fit(labels[seen], c=c)
            probabilities[:, np.searchsorted(classes, model.classes)] = model.probabilities(vectors[coming])
        mixed = (1 - _UNIFORM) * probabilities + _UNIFORM / len(classes)
        found.append(-np.log2(mixed[places]))
    return np.array(found)
