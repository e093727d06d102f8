"""Stacking: weights of the runs' log-probabilities that make the right candidates likeliest.

A conditional logit, p(k) ~ exp(sum_r w_r log p_r(k) + b_k): one weight per run whatever the number of candidates,
so it serves labels, choices and entities alike; biases only where all items have the same candidates. A quadratic
penalty draws the weights to equal ones (the geometric mean of the runs) and the biases to zero. Sources: Wolpert
1992; logarithmic opinion pool with learnt weights, Heskes 1998.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slonik.finetuning.ensembles.combine import logarithms, softmax

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_PENALTY = 1.0  # against the summed log-loss: a handful of items does not outweigh it, hundreds do


def stack(probabilities: Floats, known: Flags, right: Flags, *, with_biases: bool) -> tuple[Floats, Floats]:
    """Weights (R,) and biases (K,), or none of the latter.

    Args:
        probabilities: (R, N, K).
        known: (N, K) whether there is such a candidate.
        right: (N, K); items without a right candidate teach nothing.
    """
    from scipy.optimize import minimize

    taught = right.any(axis=1)
    scores, mask, targets = logarithms(probabilities)[:, taught], known[taught], right[taught].astype(np.float64)
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

    found = minimize(loss, start, jac=True, method="L-BFGS-B").x if taught.any() else start
    return found[:runs], found[runs:]
