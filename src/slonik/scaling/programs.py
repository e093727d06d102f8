"""Programs of schedulers: found on this machine or missed in a sentence, asked, and what they said on failing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from slonik.core.errors import SlonikError

_SECONDS = 120
"""A scheduler that is busy answers late; one that is down does not answer at all."""


def needed(program: str, of: str) -> str:
    """The program's name, where it is installed.

    Args:
        of: the scheduler that it belongs to.

    Raises:
        SlonikError: it is not here.
    """
    if shutil.which(program) is None:
        raise SlonikError(
            f"{program} is not installed here, so {of} cannot be asked: run this on a machine of the cluster, or leave "
            "--submit out and take the files there"
        )
    return program


def answer(command: Sequence[str], what: str) -> str:
    """What a program writes to standard output.

    Args:
        what: went wrong where it fails, for the sentence.

    Raises:
        SlonikError: it fails, or does not answer; what it said is in the sentence.
        FileNotFoundError: there is no such program.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise SlonikError(f"{what}: {command[0]} did not answer for {_SECONDS} seconds; ask again later") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlonikError(f"{what}: {said or f'{command[0]} ended with exit code {done.returncode}'}")
    return done.stdout
