"""A table as data: what the terminal, Markdown and HTML renderers all draw.

Cells are finished text; a cell that is a figure has its interval beside it. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Mark = Literal["", "best", "better", "worse", "doubt", "absent"]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: the figure or the words.
        spread: its interval, e.g. "[.81, .83]"; drawn smaller.
        mark: "best" (on the Pareto front, or first), "better" / "worse" (a difference whose interval excludes 0),
            "doubt" (a figure with a warning), "absent".
    """

    text: str
    spread: str = ""
    mark: Mark = ""

    def plain(self) -> str:
        """Text and interval in one string."""
        return f"{self.text} {self.spread}".strip()


ABSENT = Cell("–", mark="absent")


@dataclass(frozen=True)
class Row:
    """One row; `published` rows were not measured here."""

    cells: tuple[Cell, ...]
    published: bool = False


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        columns: headings; the first column names the row.
        notes: sentences under the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def row(name: str, cells: Sequence[Cell], *, published: bool = False) -> Row:
    """A row that starts with its name."""
    return Row((Cell(name), *cells), published)
