"""Importance criteria: each is one function `score(model, batches, loss_fn, kinds) -> Scores`."""

from slonik.compress.criteria.fisher import fisher
from slonik.compress.criteria.gate import gate
from slonik.compress.criteria.magnitude import magnitude
from slonik.compress.criteria.random import random
from slonik.compress.criteria.taylor import taylor

CRITERIA = {"taylor": taylor, "gate": gate, "fisher": fisher, "magnitude": magnitude, "random": random}

__all__ = ["CRITERIA", "fisher", "gate", "magnitude", "random", "taylor"]
