"""Writes the board: one page with its script, its style and its data inside, which opens from a file and asks nobody.

`index.html` is the whole site: tables, models and comparisons are its states, each with a permanent link. The page's
policy lets no address be asked and no script run but its own; names and texts reach it as data and are put in as text,
never as HTML.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import check_new_folder, new_folder, write_text
from slonik.core.run import Result
from slonik.core.version import __version__
from slonik.reporting.board.apart import put_apart
from slonik.reporting.board.cells import BoardTable
from slonik.reporting.board.models import model_facts
from slonik.reporting.board.packing import as_text, packed
from slonik.reporting.board.reading import Answers, Found
from slonik.reporting.board.tables import Hows, board_tables, overview_table
from slonik.reporting.scores import is_difference

_SCRIPTS = ("data.js", "grid.js", "pages.js", "app.js")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<div id="app"><p class="loading">Opening the board…</p>
<noscript><p class="loading">The board's tables are drawn by JavaScript, which is switched off here. It asks no server
anything.</p></noscript></div>
<script type="application/octet-stream" id="board-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True, kw_only=True)
class Board(Result):
    """A board that was written.

    Attributes:
        page: its page.
        models: how many models, `figures` how many values, `tables` how many tables.
        notices: what who made the board has to know: what was passed over, parted, doubted.
    """

    page: Path | None = None
    models: int = 0
    figures: int = 0
    tables: int = 0
    notices: tuple[str, ...] = ()


def write_site(
    found: Found, out: str | Path, *, title: str = "Models side by side", about: str = "",
    aliases: dict[str, str] | None = None, overwrite: bool = False, built: datetime | None = None,
) -> Board:  # fmt: skip
    """Write the board's folder, whole or not at all.

    Args:
        title: of the page.
        about: a sentence under it.
        aliases: name -> the name of the model that it is of, beside those that are known.
        built: the moment that the page tells; None = now.

    Raises:
        SlonikError: `out` is there already and `overwrite` is not set, or cannot be written.
    """
    if not overwrite and Path(out).is_dir() and any(Path(out).iterdir()):
        raise SlonikError(
            f"the folder {out} is there already and is not empty: replace it with --overwrite, or choose another"
        )
    check_new_folder(out, overwrite=overwrite)
    put_apart(found, aliases)
    hows = Hows()
    tables = board_tables(found.figures, hows)
    models = model_facts(found)
    tables.insert(
        0, overview_table(tables, [model["n"] for model in models if "measured" in model["s"] or not model["s"]])
    )
    measured = [figure for figure in found.figures if not is_difference(figure.record)]
    header = {
        "title": title,
        "about": about,
        "slonik": __version__,
        "built": (built or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        "figures": len(measured),
        "models": models,
        "hows": hows.all,
        "notices": found.notices,
        "answers": [_answers(one) for one in found.answers],
    }
    page = site_page(header, tables)
    with new_folder(out, overwrite=overwrite) as folder:
        write_text(folder / "index.html", page)
    return Board(
        page=Path(out) / "index.html", models=len(models), figures=len(measured), tables=len(tables),
        notices=tuple(found.notices), report=Path(out) / "index.html",
    )  # fmt: skip


def site_page(header: dict[str, Any], tables: Sequence[BoardTable]) -> str:
    """The page, with everything inside."""
    script = "\n".join(_part(name) for name in _SCRIPTS)
    script = f'"use strict";(() => {{\n{script}\n}})();'
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return _PAGE.format(
        policy=policy, title=escape(str(header["title"])), style=_part("board.css"), script=script,
        data=as_text(packed(header, tables)),
    )  # fmt: skip


def _part(name: str) -> str:
    return resources.files("slonik.reporting.board").joinpath("page", name).read_text(encoding="utf-8")


def _answers(one: Answers) -> dict[str, Any]:
    return {
        "suite": one.suite, "task": one.task, "split": one.split, "items": one.items[:12], "ids": one.ids,
        "gold": one.gold, "texts": one.texts, "licence": one.licence, "models": one.by_model,
    }  # fmt: skip
