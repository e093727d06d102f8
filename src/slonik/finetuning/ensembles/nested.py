"""What a combination is worth on items that had no say in it: every fold is answered by what the others chose.

Weights, members and methods that are chosen on a development set look better there than they are; a nested split
keeps the choosing and the measuring apart (Cawley & Talbot 2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slonik.core.lookup import lookup
from slonik.finetuning.ensembles.methods import METHODS, Problem

Floats = NDArray[np.float64]


def out_of_fold(method: str, problem: Problem) -> Floats:
    """Combined probabilities (N, K): each fold's by a combination fitted to the other folds.

    Raises:
        SlonikError: unknown method.
    """
    fitted = lookup(method, METHODS, "method")
    combined = np.zeros(problem.known.shape)
    numbers = np.arange(len(problem.known))
    for fold in np.unique(problem.folds):
        inside, outside = numbers[problem.folds == fold], numbers[problem.folds != fold]
        combiner = fitted(problem, outside)
        combined[inside] = combiner.combine(problem.probabilities[:, inside], problem.known[inside])
    return combined
