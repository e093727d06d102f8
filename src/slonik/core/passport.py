"""The passport of a checkpoint: where it came from, and everything that was measured on it.

A checkpoint is an ordinary Hugging Face folder plus `passport.json`. Each command that makes a checkpoint from
another copies the parent's lineage and adds a step; each measurement adds records. The passport holds no
weights and takes part in no computation: a folder without one works, and gets an empty one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.records import Record, merge_records
from slonik.core.version import __version__

FILE_NAME = "passport.json"
FORMAT = 1

LAUNCH_VARIABLE = "SLONIK_LAUNCH"
"""Environment variable with what `slonik launch` tells of a job, as JSON."""
_JOB_VARIABLES = {"job": ("SLONIK_JOB", "SLURM_JOB_ID"), "restarts": ("SLURM_RESTART_COUNT",)}


def launched() -> dict[str, Any] | None:
    """What the job that this process belongs to tells of itself; None where `slonik launch` did not start it."""
    try:
        content = json.loads(os.environ.get(LAUNCH_VARIABLE, ""))
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    found = {
        name: next((os.environ[v] for v in names if os.environ.get(v)), None) for name, names in _JOB_VARIABLES.items()
    }
    return content | {name: value for name, value in found.items() if value is not None}


class Step(BaseModel):
    """One stage of a checkpoint's life.

    Attributes:
        command: what was run, e.g. "compress" or "embedded".
        config: the full configuration of that run.
        inputs: name of each input (corpus, parent, recipe) -> its content hash.
        seed: the run's seed.
        seconds: how long it took.
        version: the version of slonik that ran.
        summary: what the step itself found (tokens kept, loss at the end).
        license: licence of what the step brought in, where it is known.
        launch: how `slonik launch` started the run (scheduler, nodes, hash of the recipe, job's number), if it did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    config: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    seed: int | None = None
    seconds: float | None = None
    version: str = __version__
    summary: dict[str, Any] = Field(default_factory=dict)
    license: str | None = None
    launch: dict[str, Any] | None = None


class Passport(BaseModel):
    """Lineage (oldest step first) and measured records of one checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    origin: str = ""
    lineage: tuple[Step, ...] = ()
    records: tuple[Record, ...] = ()

    def with_step(self, step: Step, *, name: str | None = None) -> Passport:
        """The passport of a child: this lineage plus `step`; the parent's records do not carry over.

        Where this process was started by `slonik launch`, the step tells of it.
        """
        step = step.model_copy(update={"launch": launched()}) if step.launch is None else step
        return Passport(
            name=name or self.name, origin=self.origin or self.name, lineage=(*self.lineage, step), records=()
        )

    def with_records(self, records: Iterable[Record]) -> Passport:
        """The same passport with `records` added; a record with the same key is replaced."""
        return self.model_copy(update={"records": merge_records(self.records, records)})

    def write(self, folder: str | Path) -> None:
        """Write `passport.json` into `folder`, atomically."""
        write_json(Path(folder) / FILE_NAME, json.loads(self.model_dump_json()))

    @classmethod
    def read(cls, folder: str | Path) -> Passport:
        """The passport in `folder`; an empty one with the folder's name if there is none.

        Raises:
            SlonikError: the file is there but is not a passport, or a later version's.
        """
        path = Path(folder) / FILE_NAME
        if not path.exists():
            return cls(name=Path(folder).name)
        try:
            text = path.read_text(encoding="utf-8")
            _check_format(text, path)
            return cls.model_validate_json(text)
        except (UnicodeDecodeError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise SlonikError(f"{path} is not a passport ({first}): remove it to start a new one") from None


def _check_format(text: str, path: Path) -> None:
    """Raise SlonikError where a later version of slonik wrote the passport, whatever else is wrong with it."""
    try:
        content = json.loads(text)
    except ValueError:
        return
    number = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if isinstance(number, int) and number > FORMAT:
        raise SlonikError(
            f"{path} is a passport of format {number}, written by a later version; slonik {__version__} reads up to "
            f"format {FORMAT}: update slonik"
        )
