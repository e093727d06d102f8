"""Combinations of runs: weighted mean of probabilities, weighted vote, weighted sum of their logarithms. Weights are
found by selection and by stacking.

A combination is a few numbers, kept as JSON beside the predictions that it made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FLOOR = 1e-6  # of a probability under a logarithm: one sure run cannot veto all others
_ROUNDS = 20  # of selection
_PENALTY = 1.0  # against the summed log-loss: a handful of items does not outweigh it, hundreds do
_TIE = 1e-3  # weight of mean probabilities in a vote: they decide between equal counts only


@dataclass(frozen=True)
class Combiner:
    """How runs are put together.

    Attributes:
        method: its name.
        rule: "mean" of probabilities, "vote" (each run its best candidate), or "logits" (sum of logarithms).
        weights: one per run.
        biases: added per candidate under "logits", where all items have the same candidates; else empty.
    """

    method: str
    rule: Literal["mean", "vote", "logits"]
    weights: tuple[float, ...]
    biases: tuple[float, ...] = ()

    def combine(self, probabilities: Floats, known: Flags) -> Floats:
        """Combined probabilities (N, K) of runs (R, N, K); 0 where there is no candidate."""
        weights = np.asarray(self.weights)
        if self.rule == "logits":
            bias = np.asarray(self.biases) if self.biases else np.zeros(known.shape[1])
            return softmax(np.tensordot(weights, logarithms(probabilities), axes=1) + bias, known)
        if self.rule == "vote":
            return vote(probabilities, weights)
        return mean(probabilities, weights)

    def as_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "rule": self.rule,
            "weights": [round(weight, 6) for weight in self.weights],
            "biases": [round(bias, 6) for bias in self.biases],
        }


def mean(probabilities: Floats, weights: Sequence[float] | Floats | None = None) -> Floats:
    """Weighted mean over runs: (R, N, K) -> (N, K)."""
    runs = len(probabilities)
    given = np.ones(runs) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = given / given.sum() if given.sum() > 0 else np.full(runs, 1 / runs)
    return np.tensordot(shares, probabilities, axes=1)


def vote(probabilities: Floats, weights: Sequence[float] | Floats | None = None) -> Floats:
    """Share of votes per candidate (N, K): each run votes for its best; equal counts go to the greater mean."""
    chosen = np.zeros_like(probabilities)
    best = probabilities.argmax(axis=2)
    np.put_along_axis(chosen, best[:, :, None], 1.0, axis=2)
    return (1 - _TIE) * mean(chosen, weights) + _TIE * mean(probabilities, weights)


def logarithms(probabilities: Floats) -> Floats:
    """Logarithms of probabilities, floored."""
    return np.log(np.maximum(probabilities, _FLOOR))


def softmax(scores: Floats, known: Flags) -> Floats:
    """Softmax over the last axis, over known candidates only."""
    shifted = np.where(known, scores - np.where(known, scores, -np.inf).max(axis=-1, keepdims=True), -np.inf)
    values = np.exp(shifted)
    total: Floats = values / values.sum(axis=-1, keepdims=True)
    return total


def select(probabilities: Floats, score: Callable[[Floats], float], *, rounds: int = _ROUNDS) -> Floats:
    """Weights (R,) of the best bag of runs, summing to one: a run may enter several times, which gives it weight.

    Forward selection with replacement, Caruana et al. 2004 (Ensemble selection from libraries of models), section 2.1
    and 2.2: start from the best single run, add at each step the run whose probabilities raise the score most, keep
    the best bag that was met.

    Args:
        probabilities: (R, N, K).
        score: combined probabilities (N, K) -> the score to raise.
        rounds: how many runs are added at most.
    """
    counts = np.zeros(len(probabilities))
    counts[int(np.argmax([score(run) for run in probabilities]))] = 1
    total = np.tensordot(counts, probabilities, axes=1)
    best_counts, best = counts.copy(), score(total)
    for _ in range(rounds):
        scores = [score(total + run) for run in probabilities]
        chosen = int(np.argmax(scores))
        counts[chosen] += 1
        total = total + probabilities[chosen]
        if scores[chosen] > best:
            best_counts, best = counts.copy(), scores[chosen]
    return best_counts / best_counts.sum()


def stack(probabilities: Floats, known: Flags, right: Flags, *, with_biases: bool) -> tuple[Floats, Floats]:
    """Weights (R,) of the runs' log-probabilities that make the right candidates likeliest; biases (K,), or none.

    A conditional logit, p(k) ~ exp(sum_r w_r log p_r(k) + b_k): one weight per run whatever the number of candidates,
    so it serves labels, choices and entities alike; biases only where all items have the same candidates. A quadratic
    penalty draws the weights to equal ones (the geometric mean of the runs) and the biases to zero. Sources: Wolpert
    1992; logarithmic opinion pool with trained weights, Heskes 1998.

    Args:
        probabilities: (R, N, K).
        known: (N, K) whether there is such a candidate.
        right: (N, K); items without a right candidate teach nothing.
    """
    from scipy.optimize import minimize

    known_right = right.any(axis=1)
    scores, mask = logarithms(probabilities)[:, known_right], known[known_right]
    targets = right[known_right].astype(np.float64)
    targets /= targets.sum(axis=1, keepdims=True)
    runs, width = len(scores), mask.shape[1]
    start = np.concatenate([np.full(runs, 1 / runs), np.zeros(width if with_biases else 0)])

    def loss(parameters: Floats) -> tuple[float, Floats]:
        bias = parameters[runs:] if with_biases else np.zeros(width)
        shares = softmax(np.tensordot(parameters[:runs], scores, axes=1) + bias, mask)
        apart = np.where(mask, shares - targets, 0.0)
        value = -float((targets * np.log(np.maximum(shares, 1e-300))).sum())
        gradient = np.concatenate([np.einsum("rnk,nk->r", scores, apart), apart.sum(axis=0) if with_biases else []])
        shift = parameters - start
        return value + _PENALTY * float(shift @ shift), gradient + 2 * _PENALTY * shift

    found = minimize(loss, start, jac=True, method="L-BFGS-B").x if known_right.any() else start
    return found[:runs], found[runs:]
