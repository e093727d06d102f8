"""Fitted combinations of runs: weighted mean of probabilities, weighted vote, weighted sum of their logarithms.

A combination is a few numbers, kept as JSON beside the predictions that it made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FLOOR = 1e-6  # of a probability under a logarithm: one sure run cannot veto all others
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
            return softmax(np.tensordot(weights, logarithms(probabilities), axes=1) + self._bias(known), known)
        if self.rule == "vote":
            return vote(probabilities, weights)
        return mean(probabilities, weights)

    def as_dict(self) -> dict[str, Any]:
        """The combination as JSON."""
        return {
            "method": self.method,
            "rule": self.rule,
            "weights": [round(weight, 6) for weight in self.weights],
            "biases": [round(bias, 6) for bias in self.biases],
        }

    def _bias(self, known: Flags) -> Floats:
        return np.asarray(self.biases) if self.biases else np.zeros(known.shape[1])


def mean(probabilities: Floats, weights: Sequence[float] | Floats | None = None) -> Floats:
    """Weighted mean over runs: (R, N, K) -> (N, K)."""
    return np.tensordot(_normalised(weights, len(probabilities)), probabilities, axes=1)


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


def _normalised(weights: Sequence[float] | Floats | None, runs: int) -> Floats:
    given = np.ones(runs) if weights is None else np.asarray(weights, dtype=np.float64)
    return given / given.sum() if given.sum() > 0 else np.full(runs, 1 / runs)
