"""`launch.json` of a launch's folder: what was launched, and the numbers that the scheduler gave.

A folder is one job's. Files of a launch that was written, never submitted and left no log may be written anew.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import Lock, check_new_folder, write_json

SUFFIX = ".launch"
FILE = "launch.json"
FORMAT = 1
_LOCK = "lock"


def launch_folder(name: str | Path) -> Path:
    """The folder of a launch from what the user calls it: the result's place, or the folder itself."""
    path = Path(name)
    return path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)


def launch_name(folder: Path) -> str:
    """What `slonik launch status` calls the launch of a folder."""
    return str(folder).removesuffix(SUFFIX)


class LaunchRecord:
    """The record of one launch.

    Args:
        folder: of the launch.
        content: of `launch.json`; empty where there is none yet.
    """

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.folder = folder
        self.content = dict(content)

    @classmethod
    def read(cls, folder: Path) -> LaunchRecord:
        """The record of a launch that is there.

        Raises:
            SlonikError: there is none, or it is of another slonik.
        """
        file = folder / FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise SlonikError(
                f"there is no launch {launch_name(folder)} (no {file}): name it as slonik launch did, from the "
                "folder in which that was called"
            ) from None
        except (OSError, ValueError) as error:
            raise SlonikError(f"{file} cannot be read ({error}): launch under another --job") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise SlonikError(f"{file} is not of this slonik's format {FORMAT}: launch under another --job")
        return cls(folder, content)

    @property
    def on(self) -> str:
        """The scheduler."""
        return str(self.content["job"]["on"])

    @property
    def is_submitted(self) -> bool:
        """Whether a scheduler was given the job."""
        return bool(self.content.get("submissions"))

    def identity(self) -> str:
        """The scheduler's number of the job that was submitted last.

        Raises:
            SlonikError: none was.
        """
        if not self.is_submitted:
            raise SlonikError(
                f"{launch_name(self.folder)} was written and not submitted ({', '.join(self.content['files'])} in "
                f"{self.folder}): launch it with --submit, or hand the file to the scheduler yourself and ask that"
            )
        return str(self.content["submissions"][-1]["job"])

    def take(self, new: Mapping[str, Any]) -> None:
        """Let the record be of `new`; submissions of the same commands stay in it.

        Raises:
            SlonikError: the folder is of other commands that have run.
        """
        has_run = self.is_submitted or any(self.folder.glob("*.log"))
        if has_run and self.content and self.content["commands"] != new["commands"]:
            raise SlonikError(
                f"{self.folder} is of another launch ({self.content['commands'][0]}): give another --out, or another "
                "--job; nothing was overwritten"
            )
        for name in self.content.get("files", ()):
            (self.folder / name).unlink(missing_ok=True)
        self.content = {**new, "submissions": self.content.get("submissions", [])}

    def submitted(self, identity: str) -> None:
        """Note what the scheduler gave."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        self.content["submissions"] = [*self.content["submissions"], {"job": identity, "when": when}]

    def write(self) -> None:
        """Put it into the folder.

        Raises:
            SlonikError: a full disk, no permission.
        """
        write_json(self.folder / FILE, self.content)


@contextmanager
def changed(folder: Path) -> Iterator[LaunchRecord]:
    """The record of a folder in the hands of this process alone; the folder is made.

    Raises:
        SlonikError: the folder cannot be made, another process has it, or something else lies in it.
    """
    check_new_folder(folder, overwrite=True)
    lock = Lock(folder / _LOCK, f"the launch {folder}")
    lock.take()
    try:
        if (folder / FILE).is_file():
            yield LaunchRecord.read(folder)
        elif any(path.name != _LOCK for path in folder.iterdir()):
            raise SlonikError(f"{folder} is there already and is no launch: give another --job, or remove it")
        else:
            yield LaunchRecord(folder, {})
    finally:
        lock.release()
        with contextlib.suppress(OSError):  # only where nothing was written
            folder.rmdir()
