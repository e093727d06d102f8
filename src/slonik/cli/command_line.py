"""slonik's own command line as other parts of it read it: is this a command, what are its options, would it begin?

For commands that start commands (`launch`, `sweep`). Does: parse words with the real options; have a run checked up to
the moment at which it would begin. Does not: run anything.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from slonik.cli.common import kept_quiet
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.run import Checked, Run, checking

_CHECKED = {"pretrain", "adapt", "finetune", "distill", "compress", "study repetition", "study ner"}
"""Commands that begin with a `Run`: before it they read options and recipe, and make nothing."""


@dataclass(frozen=True)
class CommandLine:
    """A command line that was parsed.

    Attributes:
        name: of the command, with its group: "study ner".
        words: all words after `slonik`.
        options: parameter -> value, defaults included.
    """

    name: str
    words: tuple[str, ...]
    options: dict[str, Any]

    @property
    def out(self) -> str | None:
        """Where the result goes, if an option says so."""
        value = self.options.get("out")
        return None if value is None else str(value)

    @property
    def recipe(self) -> Path | None:
        """The recipe file, if one was named."""
        value = self.options.get("recipe")
        return None if value is None else Path(value)


class _Parsed(Exception):
    def __init__(self, name: str, options: dict[str, Any]) -> None:
        super().__init__(name)
        self.name, self.options = name, options


def parse(words: Sequence[str], *, here: bool = True) -> CommandLine:
    """Read words as `slonik WORDS` would be.

    Args:
        here: options that name files to write are checked on this machine, too.

    Raises:
        SlonikError: no such command or option, a value that is missing or of the wrong kind.
    """
    shown = f"slonik {' '.join(words)}"
    try:
        _parser(here)(list(words), standalone_mode=False)
    except _Parsed as found:
        return CommandLine(found.name, tuple(words), found.options)
    except SlonikError as error:
        raise SlonikError(f"{shown}: {error}") from None
    except Exception as error:
        said = getattr(error, "format_message", None)  # click's usage errors, whichever click Typer brings
        if said is None:
            raise
        sentence = " ".join(str(said()).split()).rstrip(".")
        raise SlonikError(f"{shown}: {sentence}; slonik COMMAND --help lists what there is") from None
    raise SlonikError(f"{shown} names no work: give a whole command, for example pretrain recipe.yaml --corpus ru.txt")


@functools.cache
def _parser(here: bool) -> Any:
    """The whole command line, whose commands tell their options in the place of their work."""
    command = typer.main.get_command(build_app())
    _only_parsed(command, "", here=here)
    return command


def _only_parsed(command: Any, name: str, *, here: bool) -> None:
    """Let a command, and those in it, tell its options in the place of its work."""
    inner = getattr(command, "commands", None)
    if inner is None:

        def told(**options: Any) -> None:
            raise _Parsed(name, options)

        command.callback = told
    else:
        command.callback = None
        for key, each in inner.items():
            _only_parsed(each, f"{name} {key}".strip(), here=here)
    if not here:
        for parameter in command.params:
            parameter.callback = None


def checked(line: CommandLine) -> Run | None:
    """The run that the command would begin, with its configuration; None where it begins none.

    Raises:
        SlonikError: what the command says of its options, its recipe or its place.
        ModuleNotFoundError: an extra that it needs is not installed here.
    """
    if line.name not in _CHECKED:
        return None
    try:
        with kept_quiet(), checking():
            build_app(line.words)(["--quiet", *line.words], standalone_mode=False)
    except Checked as found:
        return found.run
    except SlonikError as error:
        raise SlonikError(f"slonik {' '.join(line.words)}: {error}") from None
    return None
