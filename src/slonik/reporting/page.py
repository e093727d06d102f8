"""One self-contained HTML page: inline style, inline SVG, nothing loaded from anywhere, all text escaped.

No script, but for a page that brings one of its own with its data.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from slonik.core.version import __version__
from slonik.reporting.plots import Plot
from slonik.reporting.table import Cell, Table

# The page may load nothing, not even by mistake.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Tile:
    """One headline number: what it is, its value, and a line under it."""

    name: str
    value: str
    below: str = ""


def page(
    title: str, *, eyebrow: str, lead: Sequence[str], blocks: Iterable[str], style: str = "", script: str = "",
    data: Any = None,
) -> str:  # fmt: skip
    """The whole page.

    Args:
        lead: sentences under the title.
        blocks: HTML made by the functions below.
        style: CSS behind the page's own.
        script: the one script that the page's policy lets run, by its hash, and `data` that it reads as JSON.
    """
    style = resources.files("slonik.reporting").joinpath("page.css").read_text(encoding="utf-8") + style
    policy, source, ending = _POLICY, " from result records alone", ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        source = ""
        policy += f"; script-src 'sha256-{digest}'"
        content = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
        ending = f'<script type="application/json" id="data">{content}</script>\n<script>{script}</script>\n'
    sentences = "".join(f'<p class="lead">{escape(sentence)}</p>' for sentence in lead)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>{sentences}</header>\n'
        + "\n".join(block for block in blocks if block)
        + f"\n<footer>Written by slonik {escape(__version__)}{source}.</footer>\n"
        + f"</main>\n{ending}</body>\n</html>\n"
    )


def tiles(items: Sequence[Tile]) -> str:
    """Headline numbers in a grid."""
    cells = "".join(
        f'<div class="tile"><span>{escape(item.name)}</span><b>{escape(item.value)}</b>'
        f"<span>{escape(item.below)}</span></div>"
        for item in items
    )
    return f'<div class="tiles">{cells}</div>' if items else ""


def section(title: str, *content: str) -> str:
    """A titled card; "" when it would be empty."""
    inside = "".join(content)
    return f"<section><h2>{escape(title)}</h2>{inside}</section>" if inside else ""


def split(*sections: str) -> str:
    """Cards side by side where there is room."""
    inside = "".join(sections)
    return f'<div class="split">{inside}</div>' if inside else ""


def paragraph(text: str, *, note: bool = False) -> str:
    """A paragraph of plain text."""
    return f'<p class="note">{escape(text)}</p>' if note else f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    """Commands or a program."""
    return f"<pre><code>{escape(text)}</code></pre>"


def fold(summary: str, content: str) -> str:
    """`content` (HTML) behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def figure(plot: Plot | None, caption: str = "") -> str:
    """A plot with its caption; "" where there is no plot."""
    if plot is None:
        return ""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{plot.svg}{words}</figure>"


def table(content: Table) -> str:
    """A table that scrolls sideways on a small screen, its notes under it."""
    sides = ["words" if side == "left" else "" for side in content.justify()]
    heads = "".join(
        f'<th scope="col"{_kind(side)}>{_breakable(name)}</th>'
        for name, side in zip(content.columns, sides, strict=True)
    )
    rows = []
    for row in content.rows:
        kind = _kind("published" if row.published else "baseline" if row.baseline else "")
        cells = "".join(_cell(cell, side) for cell, side in zip(row.cells, sides, strict=True))
        rows.append(f"<tr{kind}>{cells}</tr>")
    notes = "".join(paragraph(note, note=True) for note in content.notes)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>{notes}'
    )


def _breakable(name: str) -> str:
    """A heading or a name that may break after the marks that hub ids are made of."""
    return re.sub(r"(?<=\w)([:/\-_])(?=\w)", r"\1<wbr>", escape(name))


def _cell(cell: Cell, side: str) -> str:
    spread = f"<small>{escape(cell.spread)}</small>" if cell.spread else ""
    return f"<td{_kind(cell.mark, side)}>{_breakable(cell.text)}{spread}</td>"


def _kind(*names: str) -> str:
    found = " ".join(name for name in names if name)
    return f' class="{found}"' if found else ""
