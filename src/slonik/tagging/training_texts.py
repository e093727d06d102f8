"""Which texts a tagger was trained on, as hashes beside it, so that nobody scores it on them by mistake."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from slonik.core.files import write_json
from slonik.core.hashing import sha256_bytes

FILE_NAME = "training_texts.json"
_DIGITS = 16  # of the hash: enough to tell texts apart, too few to matter for size


def text_key(text: str) -> str:
    """The first digits of the text's SHA-256."""
    return sha256_bytes(text.encode("utf-8", "surrogatepass"))[:_DIGITS]


def write_training_texts(folder: str | Path, texts: Iterable[str], *, also_of: Iterable[str | Path] = ()) -> None:
    """Write the keys of `texts`, and those in the folders `also_of`, into `folder`, sorted."""
    inherited = (read_training_texts(other) for other in also_of)
    write_json(Path(folder) / FILE_NAME, sorted({text_key(text) for text in texts}.union(*inherited)))


def read_training_texts(folder: str | Path) -> frozenset[str]:
    """The keys in `folder`; empty where the file is not there or not readable: nothing is known then."""
    try:
        content = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, content)) if isinstance(content, list) else frozenset()
