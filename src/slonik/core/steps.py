"""Steps of a recipe that are done once: each is keyed by the hash of its inputs and skipped when its record exists.

A step writes into a folder that appears only when the step has ended, so an interrupted recipe finds each step
either whole or absent and goes on where it stopped. What a step kept to go on from (checkpoints of a training) is
removed when it has ended: copy from it what shall stay.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.atomic import new_folder, write_json
from slonik.core.hashing import sha256_json
from slonik.core.version import __version__

RECORD_NAME = "step.json"


@dataclass(frozen=True)
class StepResult:
    """A step that has ended, now or in an earlier run.

    Attributes:
        folder: what it wrote.
        summary: what it returned.
        seconds: how long it took when it ran.
        fresh: whether it ran now.
    """

    folder: Path
    summary: dict[str, Any]
    seconds: float
    fresh: bool


class Steps:
    """The steps of one run.

    Args:
        folder: each step has a folder in it, named after the step and its key.
        announce: called with a line for the user before a step runs and when one is skipped.
    """

    def __init__(self, folder: Path, announce: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder
        self.announce = announce

    def key(self, name: str, inputs: Mapping[str, Any]) -> str:
        """Hash of everything that decides what the step makes, the version of the code included."""
        return sha256_json({"step": name, "inputs": dict(inputs), "version": __version__})

    def scratch(self, name: str, inputs: Mapping[str, Any]) -> Path:
        """A folder that outlives an interruption, for a step that saves its own progress (training); `run` removes
        it when the step has ended."""
        folder = _unfinished(self.folder / f"{name}-{self.key(name, inputs)[:12]}")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(
        self, name: str, inputs: Mapping[str, Any], title: str, work: Callable[[Path], Mapping[str, Any]]
    ) -> StepResult:
        """Run `work(folder)` unless its record is there; what it returns is kept as JSON.

        Raises:
            SlonikError: what `work` raises, or a full disk; the step is then absent.
        """
        key = self.key(name, inputs)
        folder = self.folder / f"{name}-{key[:12]}"
        record = folder / RECORD_NAME
        if record.exists():
            content = json.loads(record.read_text(encoding="utf-8"))
            self.announce(f"{title}: done before")
            shutil.rmtree(_unfinished(folder), ignore_errors=True)
            return StepResult(folder, content["summary"], content["seconds"], fresh=False)
        self.announce(f"{title} ...")
        started = time.perf_counter()
        with new_folder(folder, overwrite=True) as unfinished:
            summary = dict(work(unfinished))
            seconds = time.perf_counter() - started
            write_json(
                unfinished / RECORD_NAME,
                {"step": name, "key": key, "seconds": seconds, "summary": summary, "inputs": dict(inputs)},
            )
        shutil.rmtree(_unfinished(folder), ignore_errors=True)
        return StepResult(folder, summary, seconds, fresh=True)


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unfinished")
