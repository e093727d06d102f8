"""Lines of shell scripts: quoted words, the elements of an array, exports, containers.

Everything that a user gave is quoted; `raw` words are the script's own variables.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from slonik.core.passport import LAUNCH_VARIABLE
from slonik.core.version import __version__
from slonik.scaling.job import Job

REFUSAL_VARIABLE = "SLONIK_REFUSAL_FILE"
"""Environment variable with the file to which the command line adds the sentence of a user's mistake."""


def quoted(words: Iterable[str]) -> str:
    """Words as a shell reads them back."""
    return " ".join(shlex.quote(word) for word in words)


def command_line(job: Job, number: int = 0) -> str:
    """An element's command, as it would be typed."""
    return f"slonik {quoted(job.commands[number])}"


def opening(job: Job) -> list[str]:
    """The first lines of a script, for people."""
    lines = [f"# Written by slonik {__version__}: slonik launch --on {job.on}"]
    return lines + [f"# {command_line(job, number)}" for number in range(len(job.commands))]


def elements(job: Job, index: str) -> list[str]:
    """Lines that set the array `command` to the words of the element.

    Args:
        index: the shell's variable with the element's number, where there are several.
    """
    if not job.array:
        return [f"command=({quoted(job.commands[0])})"]
    cases = [f"    {number}) command=({quoted(words)}) ;;" for number, words in enumerate(job.commands)]
    return [f'case "{index}" in', *cases, "esac"]


def exports(job: Job, more: Mapping[str, str] | None = None) -> list[str]:
    """Lines that export what slonik is told of the job, the user's variables, and `more` (not quoted)."""
    told = json.dumps(job.told(), ensure_ascii=False)
    lines = [f"export {LAUNCH_VARIABLE}={shlex.quote(told)}"]
    lines += [f"export {name}={value}" for name, value in (more or {}).items()]
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in job.env.items()]


def in_container(job: Job, more: Iterable[str | Path] = ()) -> list[str]:
    """Words that run what follows in the image with Apptainer; none without an image.

    The working folder is there under its own name, so that relative paths mean the same.

    Args:
        more: further folders that the job writes to.
    """
    if job.image is None:
        return []
    words = ["apptainer", "exec", *(["--nv"] if job.gpus else []), "--pwd", str(job.folder)]
    for folder in dict.fromkeys(map(str, (job.folder, *more))):
        words += ["--bind", folder]
    for mount in job.mounts:
        words += ["--bind", f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")]
    return [*words, job.image]
