"""Models: load, save, describe, encode. Needs torch; the torch-free encoder is in `slonik.runtime`."""

from slonik.models.encoder import TorchEncoder
from slonik.models.load import load, load_any, load_transformer, resolve, save

__all__ = ["TorchEncoder", "load", "load_any", "load_transformer", "resolve", "save"]
