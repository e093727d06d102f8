"""Tables as GitHub Markdown."""

from __future__ import annotations

import re

from slonik.reporting.table import Cell, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def to_markdown(table: Table, *, heading: str = "###") -> str:
    """`table` with its title as a heading and its notes below; text is escaped."""
    lines = [f"{heading} {escape(table.title)}", ""] if table.title else []
    lines.append("| " + " | ".join(escape(name) for name in table.columns) + " |")
    lines.append("|" + "|".join("---" if index == 0 else "---:" for index in range(len(table.columns))) + "|")
    for row in table.rows:
        cells = [_cell(cell) for cell in row.cells]
        if row.published:
            cells[0] = f"*{cells[0]}*"
        lines.append("| " + " | ".join(cells) + " |")
    for note in table.notes:
        lines += ["", escape(note)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.mark == "best":
        text = f"**{text}**"
    if cell.mark == "doubt":
        text += " (!)"
    return f"{text} {escape(cell.spread)}".strip()
