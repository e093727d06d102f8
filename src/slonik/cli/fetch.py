"""`slonik fetch SUITE`: benchmark data into the data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from slonik.cli.common import DataDir, warn

if TYPE_CHECKING:
    from slonik.data.fetch import Fetched


def fetch(
    suite: str = typer.Argument(help="encodechka, russian_superglue, rusenteval, ud, seccoll, nerel or morocco."),
    data_dir: DataDir = None,
) -> None:
    """Download a benchmark's data, checked against pinned hashes; what is there already stays."""
    from slonik.core import paths
    from slonik.data import fetch as data

    folder = paths.data_dir(data_dir)
    results = data.fetch(suite.replace("-", "_"), folder, on_result=_tell)
    new = sum(result.status == "downloaded" for result in results)
    typer.echo(f"{len(results)} of {len(results)} in {folder}, {new} of them new")


def _tell(result: Fetched) -> None:
    source = result.source
    if result.status == "other":
        warn(
            f"{result.path} has sha256 {result.sha256}, not the published {source.sha256}: it is kept and "
            "used as it is; remove it and fetch again for the published one"
        )
        return
    unknown = f", not checked: no hash of it is published. Its sha256 {result.sha256} is pinned now, for the next time"
    pinned = unknown if result.pinned_now else ""
    licence = f"licence: {source.licence}" if result.status == "downloaded" else ""
    typer.echo("  ".join(part for part in (f"{source.file}: {result.status}{pinned}", licence) if part))
