"""`slonik cache`: what slonik keeps on this machine to save work, and how to free the space."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import print_tables
from slonik.cli.numbers import AT_LEAST_NONE

if TYPE_CHECKING:
    from slonik.core.paths import CacheEntry


def register(app: typer.Typer) -> None:
    """Add the `cache` command with `clear` under it."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(show)
    group.command("clear")(clear)
    app.add_typer(group, name="cache")


def show(context: typer.Context) -> None:
    """What is kept to save work: kinds, sizes, last use; `clear` frees the space.

    The folder is `$SLONIK_CACHE`, or `slonik` in the user's cache folder. Everything but `data`
    is made again when it is needed.

    Example: `slonik cache`, then `slonik cache clear training --unused-days 7`
    """
    if context.invoked_subcommand is not None:
        return
    from slonik.core.paths import KINDS, cache_dir, cache_entries
    from slonik.reporting.table import Table

    entries = cache_entries(cache_dir())
    lines = []
    for kind, what in KINDS.items():
        mine = [entry for entry in entries if entry.kind == kind]
        if mine:
            lines.append((kind, what, len(mine), _size(mine), _ago(max(entry.used for entry in mine))))
    if not lines:
        typer.echo(f"nothing is kept in {cache_dir()}")
        return
    notes = (f"{_size(entries)} in all", "slonik cache clear KIND... frees them")
    print_tables([Table.of(f"Cache in {cache_dir()}", ("kind", "what", "entries", "size", "last used"), lines, notes)])


def clear(
    kinds: list[str] = typer.Argument(help="Kinds as `slonik cache` names them; `training` is all of its parts."),
    unused_days: float = typer.Option(
        0.0, help="Only what was not used for so many days.", metavar="DAYS", **AT_LEAST_NONE
    ),
) -> None:
    """Remove what is kept; do not do it under a running command that uses it.

    Example: `slonik cache clear training embeddings --unused-days 7`
    """
    from slonik.core.paths import cache_dir, clear_cache

    removed = clear_cache(cache_dir(), kinds, unused_days=unused_days)
    typer.echo(f"{len(removed)} removed from {cache_dir()}, {_size(removed)} freed")


def _ago(when: float) -> str:
    """Whole days since a time in seconds since 1970."""
    days = int((time.time() - when) // 86400)
    return "today" if days < 1 else f"{days} day{'s' if days > 1 else ''} ago"


def _size(entries: list[CacheEntry]) -> str:
    total = sum(entry.size for entry in entries)
    return f"{total / 1e9:.2f} GB" if total >= 1e8 else f"{total / 1e6:.1f} MB"
