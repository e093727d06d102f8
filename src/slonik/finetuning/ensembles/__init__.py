"""Combining the answers of several models: means, votes, selection, stacking; how different they are; what it gains.

Works on tables of probabilities (R runs, N items, K candidates) and on a function that scores a choice; which
benchmark they come from is not known here.
"""

from slonik.finetuning.ensembles.combine import Combiner, mean, vote
from slonik.finetuning.ensembles.diversity import disagreement
from slonik.finetuning.ensembles.methods import METHODS, Problem, fit
from slonik.finetuning.ensembles.nested import out_of_fold

__all__ = ["METHODS", "Combiner", "Problem", "disagreement", "fit", "mean", "out_of_fold", "vote"]
