"""A tagger from a folder, behind the server: imported only when one is served."""

from __future__ import annotations

import json
from pathlib import Path

from slonik.serving.tag_queue import SpanTagger
from slonik.tagging.models import load_tagger

_TAGGER_FILE, _TASK_FILE = "tagger.json", "task.json"


def is_tagger(model: str | Path) -> bool:
    """Whether the folder `model` holds a tagger: one of its own kind, or an encoder with a head for tokens."""
    folder = Path(model)
    if (folder / _TAGGER_FILE).is_file():
        return True
    try:
        task = json.loads((folder / _TASK_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    return isinstance(task, dict) and task.get("target") == "tags"


def open_tagger(folder: str | Path) -> SpanTagger:
    """The tagger in `folder`.

    Raises:
        SlonikError: it is damaged, or the packages of its kind are missing.
    """
    return load_tagger(folder)
