"""What the commands share: option types, lists by commas, recipes, words on standard error, records and tables.

Results go to standard output; what is said about the work goes to standard error. `--quiet` silences the words about
progress, never warnings. Everything heavy is imported when it is used.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.evaluation.suite import Evaluation
    from slonik.reporting.table import Table


def file_to_write(path: Path | None) -> Path | None:
    """Of an option that names a file: a place that cannot be written to is refused before any work."""
    if path is not None:
        from slonik.core.files import check_new_file

        check_new_file(path)
    return path


def folder_to_fill(path: Path | None) -> Path | None:
    """Of an option that names a folder to put files into: as `file_to_write`."""
    if path is not None:
        from slonik.core.files import check_new_folder

        check_new_folder(path, overwrite=True)
    return path


def files_that_exist(names: list[str]) -> list[str]:
    """Of an option that names corpora: what is typed is never a text itself, so a name that is wrong is refused."""
    if names:
        from slonik.data.given import names_of_files

        names_of_files(names)
    return names


def group_with(default: str) -> type[TyperGroup]:
    """A group of commands in which words that name none of them belong to the command `default`."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
                args = [default, *args]
            return super().parse_args(ctx, args)

    return Group


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Write result records to this file.", metavar="FILE", callback=file_to_write),
]
Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override any field of the recipe.")]
DataDir = Annotated[Path | None, typer.Option(help="Data folder (default: $SLONIK_DATA, or the user's cache folder).")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: a GPU if there is one).")]
StampPassport = Annotated[bool, typer.Option(help="Add the records to the passport of a MODEL that is a folder.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with a checkpoint.")
]


def _converting(context: typer.Context, asked: bool) -> bool:
    """Let models of this command have their pickled weights converted."""
    if asked:
        from slonik.models.kinds import converting_weights

        context.with_resource(converting_weights())
    return asked


def _known_way(value: str | None) -> str | None:
    if value not in (None, "truncate", "average", "refuse"):
        from slonik.core.errors import SlonikError

        raise SlonikError(f"--long-texts is {value!r}: use truncate, average or refuse")
    return value


Pooling = Annotated[
    str | None,
    typer.Option(
        "--pooling",
        metavar="NAME",
        help="How a sentence vector is made where the folder does not say: mean, cls, max, mean_sqrt_len_tokens, "
        "weightedmean, lasttoken (several joined by +), or pooler (default: mean, and a warning).",
    ),
]
ConvertWeights = Annotated[
    bool,
    typer.Option(
        "--convert-weights",
        help="Read weights that are pickled (.bin) only: the weights alone, kept as safetensors in the cache.",
        callback=_converting,
    ),
]
LongTexts = Annotated[
    str | None,
    typer.Option(
        "--long-texts",
        metavar="WAY",
        help="Texts over the model's length: truncate, average (of windows) or refuse (default: as the model says).",
        callback=_known_way,
    ),
]

_SHOWN = 20
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Whether words about progress are left out from here on."""
    global _quiet
    _quiet = quiet


@contextmanager
def kept_quiet() -> Iterator[None]:
    """After the block, words about progress are as they were before it."""
    before = _quiet
    try:
        yield
    finally:
        set_quiet(before)


def announce(line: str) -> None:
    """Say on standard error what has begun or was found; a call of the library takes this as its `announce`."""
    if not _quiet:
        typer.echo(line, err=True)


def announce_task(model: str, task: str) -> None:
    """Say on standard error which task a model is at, where somebody sits before it; a log does not need every one."""
    if sys.stderr.isatty() and not _quiet:
        typer.echo(f"{model}: {task}", err=True)


def warn(sentences: str | Iterable[str]) -> None:
    """Warnings on standard error, `--quiet` or not."""
    for sentence in [sentences] if isinstance(sentences, str) else sentences:
        typer.echo(f"warning: {sentence}", err=True)


def first_few(say: Callable[[Any], str]) -> Callable[[Any], None]:
    """What names the first 20 bad lines on standard error, as they come; the rest are counted by the caller."""
    numbers = itertools.count(1)

    def named(line: Any) -> None:
        number = next(numbers)
        if number <= _SHOWN:
            typer.echo(say(line), err=True)
        elif number == _SHOWN + 1:
            typer.echo("more bad lines follow; they are counted at the end", err=True)

    return named


def split_names(names: str | None, option: str | None = None) -> list[str] | None:
    """Lower-case names of a list by commas; None for an option that was not given or names none.

    Raises:
        SlonikError: the list of `option` was given and names none, which would mean all or nothing.
    """
    from slonik.core.errors import SlonikError

    found = [name.strip().lower() for name in (names or "").split(",") if name.strip()]
    if names is not None and option is not None and not found:
        raise SlonikError(f"{option} names none: give one at least, or leave it out")
    return found or None


def split_numbers(text: str, option: str, *, least: int) -> list[int]:
    """Whole numbers of a list by commas.

    Raises:
        SlonikError: something else, or a number below `least`.
    """
    from slonik.core.errors import SlonikError

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < least:
        raise SlonikError(f"{option} is {text!r}: give whole numbers of at least {least} by commas, e.g. 8,32,128")
    return numbers


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the user gave: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def text_of(path: Path | None, option: str) -> str:
    """The text of a file that an option names; "" where it was not given.

    Raises:
        SlonikError: it cannot be read, or is not UTF-8.
    """
    from slonik.core.errors import SlonikError

    try:
        return "" if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SlonikError(f"{option} {path} cannot be read as text ({error})") from None


def save_records(path: Path | None, records: Iterable[Record]) -> None:
    """Write the records of `--json`, where it was given."""
    from slonik.core.records import write_records

    if path is not None:
        write_records(path, records)


def add_to_passport(folder: str | Path | None, records: Sequence[Record]) -> None:
    """Keep what was measured in the passport of the model; nothing happens where the model is no folder."""
    from slonik.evaluation.suite import add_to_passport as keep

    if folder is not None:
        warn(keep(folder, records))


def print_tables(tables: Iterable[Table]) -> None:
    """Draw tables on standard output."""
    from slonik.reporting.table import print_table

    for table in tables:
        print_table(table)


def show_evaluation(found: Evaluation) -> None:
    """What a suite found out: warnings on standard error, notes and tables on standard output."""
    warn(found.warnings)
    for note in found.notes:
        typer.echo(note)
    print_scores(found.tables, found.records)


def print_scores(tables: Iterable[Table], records: Iterable[Record]) -> None:
    """Tables of what was measured, with a warning of tasks that were measured on too few items."""
    from slonik.evaluation.suite import few_items

    warn(few_items(records))
    print_tables(tables)
