"""The one table type: finished text in cells, an interval beside each value, drawn on a terminal and as Markdown.

`Table.of` takes lines as they are; `Table.grid` asks for the cell of each row and column. Tables of result records are
made by `scores.record_table`, cells of records by `formatting`, the HTML of a table by `page.table`.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal, TypeVar

Mark = Literal["", "best", "better", "worse", "warning", "absent"]
R = TypeVar("R")
C = TypeVar("C")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: the value or the words.
        spread: its interval, e.g. "[.81, .83]"; drawn smaller.
        mark: "best" (on the Pareto front, or first), "better" / "worse" (a difference whose interval excludes 0),
            "warning" (a value with a warning), "absent".
        good: what a table is sorted by, more being better; None where that is not known.
    """

    text: str
    spread: str = ""
    mark: Mark = ""
    good: float | None = field(default=None, compare=False)

    def plain(self) -> str:
        """Text and interval in one string."""
        return f"{self.text} {self.spread}".strip()


ABSENT = Cell("–", mark="absent")
Content = Cell | str | int | None
"""What stands for a cell: text and whole numbers are written as they are, None is a dash."""


@dataclass(frozen=True)
class Row:
    """One row; `published` rows were not measured here, `baseline` rows are there to compare with."""

    cells: tuple[Cell, ...]
    published: bool = False
    baseline: bool = False


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

    @classmethod
    def of(
        cls, title: str, columns: Sequence[str], lines: Iterable[Sequence[Content]], notes: Iterable[str] = ()
    ) -> Table:
        """A table of lines that are finished: one content per column."""
        rows = tuple(Row(tuple(_cell(content) for content in line)) for line in lines)
        return cls(title, tuple(columns), rows, tuple(notes))

    @classmethod
    def grid(
        cls,
        title: str,
        corner: str | Sequence[str],
        rows: Mapping[R, str | Sequence[str]],
        columns: Mapping[C, str],
        cell: Callable[[R, C], Content],
        *,
        notes: Iterable[str] = (),
        published: Container[R] = (),
        baselines: Container[R] = (),
    ) -> Table:
        """A table with a row per key of `rows` and a column per key of `columns`.

        Args:
            corner: heading of the column that names the rows; several where the names have several parts.
            rows, columns: key -> what is written for it.
            cell: what stands in a row and column, both by their keys; None where there is nothing.
            published, baselines: rows to be marked as such.
        """
        corners, names = _parts(corner), {key: _parts(name) for key, name in rows.items()}
        lines = tuple(
            Row(
                (*map(Cell, name), *(_cell(cell(key, column)) for column in columns)),
                published=key in published,
                baseline=key in baselines,
            )
            for key, name in names.items()
        )
        return cls(title, (*corners, *columns.values()), lines, tuple(notes))

    def sorted(self, column: str) -> Table:
        """The same table with the best rows of a column first, rows without a value there last."""
        place = self.columns.index(column)
        known = [row for row in self.rows if row.cells[place].good is not None]
        known.sort(key=lambda row: row.cells[place].good or 0.0, reverse=True)
        rest = [row for row in self.rows if row.cells[place].good is None]
        return Table(self.title, self.columns, (*known, *rest), self.notes)

    def justify(self) -> list[Literal["left", "right"]]:
        """How each column stands: the first and those of words to the left, numbers to the right."""
        columns = [[row.cells[index].text for row in self.rows] for index in range(len(self.columns))]
        return ["left" if index == 0 or _are_words(texts) else "right" for index, texts in enumerate(columns)]

    def __str__(self) -> str:
        """The table as it stands on a terminal, without colours."""
        stream = io.StringIO()
        print_table(self, stream)
        return stream.getvalue().rstrip()

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return to_markdown(self)


def _are_words(texts: Sequence[str]) -> bool:
    """Whether most of the texts that say something begin with a letter."""
    said = [text[0].isalpha() for text in texts if text not in ("", ABSENT.text)]
    return 2 * sum(said) > len(said)


def _parts(name: str | Sequence[str]) -> tuple[str, ...]:
    return (name,) if isinstance(name, str) else tuple(name)


def _cell(content: Content) -> Cell:
    if content is None:
        return ABSENT
    return content if isinstance(content, Cell) else Cell(str(content))


# On a terminal.

_STYLES = {"": "", "best": "bold", "better": "green", "worse": "red", "warning": "yellow", "absent": "dim"}
_WIDEST = 400  # columns where the output goes to a file or a pipe


def print_table(table: Table, stream: IO[str] | None = None) -> None:
    """Write `table` to `stream` (default: standard output), notes under it; as wide as it is where that is a file."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    target = stream if stream is not None else sys.stdout
    console = Console(file=target, highlight=False, width=None if target.isatty() else _WIDEST)
    drawn = RichTable(
        title=Text(table.title), title_justify="left", title_style="bold", header_style="bold",
        show_header=any(table.columns),
    )  # fmt: skip
    for heading, side in zip(table.columns, table.justify(), strict=True):
        drawn.add_column(Text(heading), justify=side, overflow="fold")
    for row in table.rows:
        style = "dim italic" if row.published else "dim" if row.baseline else ""
        drawn.add_row(*(_terminal_text(cell) for cell in row.cells), style=style)
    console.print(drawn)
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _terminal_text(cell: Cell) -> Any:
    from rich.text import Text

    text = Text(cell.text + (" !" if cell.mark == "warning" else ""), style=_STYLES[cell.mark])
    if cell.spread:
        text.append(f" {cell.spread}", style="dim")
    return text


# As GitHub Markdown.

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def to_markdown(table: Table, *, heading: str = "###") -> str:
    """`table` with its title as a heading and its notes below; text is escaped."""
    lines = [f"{heading} {escape_markdown(table.title)}", ""] if table.title else []
    lines.append("| " + " | ".join(escape_markdown(name) for name in table.columns) + " |")
    lines.append("|" + "|".join("---" if side == "left" else "---:" for side in table.justify()) + "|")
    for row in table.rows:
        cells = [_markdown_cell(cell) for cell in row.cells]
        if row.published:
            cells[0] = f"*{cells[0]}*"
        lines.append("| " + " | ".join(cells) + " |")
    for note in table.notes:
        lines += ["", escape_markdown(note)]
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    if cell.mark == "best":
        text = f"**{text}**"
    if cell.mark == "warning":
        text += " (!)"
    return f"{text} {escape_markdown(cell.spread)}".strip()
