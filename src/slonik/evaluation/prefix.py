"""Which prefix an encoder puts before texts: what records say, so that nobody has to guess what a default was."""

from __future__ import annotations

from typing import Any

from slonik.core.protocols import Encoder


def applied_prefix(encoder: Encoder, given: str | None = None) -> str:
    """The prefix of texts where `given` is asked for: None is the encoder's own default, "" none."""
    sentence: Any = getattr(encoder, "sentence", None)
    return str(sentence.prefix(given)) if hasattr(sentence, "prefix") else given or ""
