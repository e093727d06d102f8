"""Importance criteria: each is one function `score(model, batches, loss_fn, kinds) -> Scores`."""

from slonik.compression.criteria.fisher import fisher
from slonik.compression.criteria.gate import gate
from slonik.compression.criteria.magnitude import magnitude
from slonik.compression.criteria.random import random
from slonik.compression.criteria.taylor import taylor

CRITERIA = {"taylor": taylor, "gate": gate, "fisher": fisher, "magnitude": magnitude, "random": random}

__all__ = ["CRITERIA", "fisher", "gate", "magnitude", "random", "taylor"]
