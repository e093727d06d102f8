"""Tables on a terminal, drawn with rich; whole width when the output goes to a file or a pipe."""

from __future__ import annotations

import sys
from typing import IO

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from slonik.reporting.table import Cell, Table

_STYLES = {"": "", "best": "bold", "better": "green", "worse": "red", "doubt": "yellow", "absent": "dim"}
_SIGNS = {"doubt": " !", "better": "", "worse": ""}
_WIDEST = 400


def print_table(table: Table, stream: IO[str] | None = None) -> None:
    """Write `table` to `stream` (default: standard output), notes under it."""
    target = stream if stream is not None else sys.stdout
    console = Console(file=target, highlight=False, width=None if target.isatty() else _WIDEST)
    drawn = RichTable(title=Text(table.title), title_justify="left", title_style="bold", header_style="bold")
    for index, heading in enumerate(table.columns):
        drawn.add_column(Text(heading), justify="left" if index == 0 else "right", overflow="fold")
    for row in table.rows:
        style = "dim italic" if row.published else ""
        drawn.add_row(*(_text(cell) for cell in row.cells), style=style)
    console.print(drawn)
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _text(cell: Cell) -> Text:
    text = Text(cell.text + _SIGNS.get(cell.mark, ""), style=_STYLES[cell.mark])
    if cell.spread:
        text.append(f" {cell.spread}", style="dim")
    return text
