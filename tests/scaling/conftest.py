"""A folder with a recipe, and programs of schedulers that say what they are told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

RECIPE = {
    "version": 1, "out": "tiny", "corpus": {"language": "any"}, "objective": "mlm", "length": 32, "batch_tokens": 256,
    "model": {"family": "bert", "layers": 2, "hidden": 32, "heads": 2, "max_length": 64}, "train": {"max_steps": 10},
}  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and a corpus, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ru.txt").write_text("Слон пьёт воду.\n", encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program on PATH that notes its arguments in the file that is returned, and says a text (of a shell)."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def put(name: str, says: str) -> Path:
        notes = tmp_path / f"{name}.notes"
        script = f'#!/bin/sh\necho "$@" >> {notes}\ncat <<SAYS\n{says}\nSAYS\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
        return notes

    return put
