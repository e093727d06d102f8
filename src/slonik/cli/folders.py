"""Of `encode`, `tag` and `predict` over folders of Parquet and JSON Lines: options, their check, what is said."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slonik.cli.common import announce
from slonik.cli.numbers import COUNT

if TYPE_CHECKING:
    from slonik.scaling.parts import PartsResult

Column = Annotated[str | None, typer.Option(help="Folders: the column with the texts (default: text).")]
Engine = Annotated[str | None, typer.Option(help="Folders: local (this process, the default) or ray.")]
Workers = Annotated[
    int | None, typer.Option(help="Folders, ray: models at once (default: one per processor).", **COUNT)
]


def are_parts(files: Sequence[Path], options: Mapping[str, Any]) -> bool:
    """Whether folders of parts (or Parquet files) are to be gone through, and not lines.

    Args:
        options: name -> value of those that mean something to folders alone.

    Raises:
        SlonikError: parts beside other inputs, or such an option without parts.
    """
    from slonik.core.errors import SlonikError
    from slonik.data.part_files import holds_parts, is_part

    found = [holds_parts(path) for path in files]
    if any(found) and all(one or is_part(path) for one, path in zip(found, files, strict=True)):
        return True
    if any(found):
        other = files[found.index(False)]
        raise SlonikError(f"{files[found.index(True)]} is rows in parts and {other} is not: give them a command each")
    named = next((name for name, value in options.items() if value is not None), None)
    if named is not None:
        raise SlonikError(f"--{named} is for folders of Parquet or JSON Lines, and none was given: leave it out")
    return False


def folder_out(out: Path | None, others: Mapping[str, Any]) -> Path:
    """The folder to fill.

    Args:
        others: name -> value of options that mean nothing to folders; None where they were not given.

    Raises:
        SlonikError: none was named, or such an option was.
    """
    from slonik.core.errors import SlonikError

    named = next((name for name, value in others.items() if value is not None), None)
    if named is not None:
        raise SlonikError(f"--{named} means nothing to folders of Parquet or JSON Lines: leave it out")
    if out is None:
        raise SlonikError("the parts of a folder are written into a folder: say which with --out FOLDER")
    return out


def shown() -> dict[str, Any]:
    """How a call of the library over parts tells what it does."""
    return {"progress": True, "announce": announce}


def tell_parts(found: PartsResult) -> None:
    """One line at the end, and one per thing that happened to rows."""
    for words, count in sorted(found.counts.items()):
        if count:
            sys.stderr.write(f"  {count:,} {words}\n")
    before = f" ({found.skipped:,} done before)" if found.skipped else ""
    sys.stderr.write(f"{found.rows:,} rows in {found.parts:,} parts{before} -> {found.folder}\n")
