"""The names of everything that encodes without a folder: baselines and embedded models. Names only."""

from __future__ import annotations

EMBEDDED_PREFIX = "embedded:"
BASELINE_NAMES = ("hashing_300", "hashing_1000", "hashing_300_char", "hashing_1000_char", "navec")
DEFAULTS = ("slonik-mini-ru", "slonik-static-ru")
"""Models that ship in distributions of their own, under `models/` of the repository: where no model is named, the first
of them that is installed."""
WEIGHTS_FILE = "weights.safetensors"
"""The numbers of a model that ships, beside its graph in `onnx/`."""
EMBEDDED_CHECKPOINTS = ("multilingual-e5-small", "all-minilm-l6-v2")
UNIVERSAL_SENTENCE_ENCODER = EMBEDDED_PREFIX + "use-multilingual-3"
"""Runs in its own package and is no checkpoint."""
ENCODER_NAMES = (
    *BASELINE_NAMES, *(EMBEDDED_PREFIX + name for name in EMBEDDED_CHECKPOINTS), UNIVERSAL_SENTENCE_ENCODER,
)  # fmt: skip
