"""Taggers of words: a CRF over features, BiLSTMs, encoders with a token head; made, saved and opened alike.

`load_tagger` opens any of them. The rest is imported from its module, so that one kind does not need the packages of
another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slonik.data.annotations.document import Tagger


def load_tagger(model: str | Path, *, device: str | None = None, trust_remote_code: bool = False) -> Tagger:
    """The tagger in a folder, whatever its kind; see `slonik.tagging.models.loading`."""
    from slonik.tagging.models.loading import open_tagger

    return open_tagger(model, device=device, trust_remote_code=trust_remote_code)
