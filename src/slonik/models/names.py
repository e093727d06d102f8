"""The names of everything that encodes without a folder: baselines and embedded models. Names only."""

from __future__ import annotations

from slonik.models.embedded import CHECKPOINTS, ENCODER_ONLY, PREFIX

BASELINE_NAMES = ("hashing_300", "hashing_1000", "hashing_300_char", "hashing_1000_char", "navec")
UNIVERSAL_SENTENCE_ENCODER = PREFIX + ENCODER_ONLY
ENCODER_NAMES = (*BASELINE_NAMES, *(PREFIX + name for name in CHECKPOINTS), UNIVERSAL_SENTENCE_ENCODER)
