"""What a table of the board is made of: columns, rows, cells, and the keys of columns that sum up others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WRONG_INTERVAL, BEYOND, WARNED = 1, 2, 4  # flags of a cell
MEAN_KEY, BORDA_KEY, COPELAND_KEY, COVERED_KEY, MORE_KEY = (
    "= mean",
    "= Borda",
    "= Copeland",
    "= tasks",
    "= mean of more",
)


@dataclass
class Column:
    """A column of a table.

    Attributes:
        key: its name in links; unique in its table.
        label: its heading.
        kind: how its values are written: "score", "ms", "s", "rate", "gib", "bytes", "count", "ratio", "number",
            "points", "share".
        less: less is better.
        role: "task", "average" (an average that the suite defines), "summary" (over the tasks here), "cost".
        shown: whether it is shown where nobody has chosen columns.
        about: what it is, for people.
    """

    key: str
    label: str
    kind: str = "score"
    less: bool = False
    role: str = "task"
    shown: bool = True
    about: str = ""


@dataclass
class Cell:
    """One value in a table; `rank` is the range of ranks in its column among rows of its standing, (0, 0) = none."""

    row: int
    column: int
    value: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    how: int = 0
    flags: int = 0
    rank: tuple[int, int] = (0, 0)


@dataclass
class BoardTable:
    """One table of the board.

    Attributes:
        rows: (model, qualifier, standing, by).
        notes: what a reader has to know, a sentence each.
        paired: (row, row, column) -> (difference first minus second, low, high, p-value) on the same items.
        extra: (row, column, name, content): per-label tables, confusion and the like.
    """

    id: str
    title: str
    suite: str
    variant: str = ""
    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paired: dict[tuple[int, int, int], tuple[float, float, float, float]] = field(default_factory=dict)
    extra: list[tuple[int, int, str, Any]] = field(default_factory=list)
