"""The page of `slonik evaluate own`: every row with what is right and what each model says, to be filtered and read.

One HTML file that loads nothing; texts are data, never markup (`slonik.reporting.page`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from slonik.finetuning.items import Item
from slonik.finetuning.own_rows import right_label
from slonik.finetuning.text_metrics import rouge_l
from slonik.reporting.page import figure, page, section, table
from slonik.reporting.plots import Plot
from slonik.reporting.table import Table
from slonik.text.answers import answer_line
from slonik.text.task_config import TaskConfig

_BROWSER = """<div id="browser">
<p class="controls">
<label>model <select id="model"></select></label>
<label>show <select id="show"><option value="wrong">errors</option><option value="all">all rows</option>
<option value="right">right ones</option><option value="apart">rows on which models differ</option></select></label>
<label>right label <select id="label"></select></label>
<label>text <input id="search" type="search"></label>
<label>first <select id="order"><option value="sure">the surest</option><option value="unsure">the least sure</option>
<option value="row">by row</option></select></label>
<span id="count" role="status"></span></p>
<div class="scroll"><table><thead><tr id="heads"></tr></thead><tbody id="rows"></tbody></table></div>
<p><button id="more" type="button">more rows</button></p></div>"""
_STYLE = """
#browser td { vertical-align: top; white-space: normal; max-width: 42rem; overflow-wrap: anywhere; }
#browser .wrong { color: var(--worse, #b3261e); } #browser .right { color: var(--better, #1b7f3b); }
.controls label { margin-right: 1em; } .controls select, .controls input { font: inherit; max-width: 16em; }
"""


def error_page(
    task: str,
    items: Sequence[Item],
    rows: Sequence[Mapping[str, Any]],
    models: Sequence[tuple[str, Sequence[Any], TaskConfig]],
    tables: Sequence[Table],
    plot: Plot | None = None,
) -> str:
    """The whole page.

    Args:
        items, rows: as they were read.
        models: name, answers and task of each.
        plot: a learning curve.
    """
    config = models[0][2]
    data = {
        "models": [name for name, _, _ in models],
        "labels": sorted({label for item in items for label in _shown(right_label(item, config))}),
        "rows": [
            {
                "row": int(item.key) + 1,
                "texts": [str(row[column]) for column in config.columns["text"]],
                "right": _shown(right_label(item, config)),
                "answers": [_answer(answers[n], item, own) for _, answers, own in models],
            }
            for n, (item, row) in enumerate(zip(items, rows, strict=True))
        ],
    }
    script = resources.files("slonik.finetuning").joinpath("error_page.js").read_text(encoding="utf-8")
    blocks = [section("Rows", _BROWSER), *(section(one.title, table(one)) for one in tables)]
    if plot is not None:
        blocks.insert(1, section("Learning curve", figure(plot)))
    wrong = sum(not row["answers"][0]["right"] for row in data["rows"])  # type: ignore[attr-defined]
    lead = [f"{len(items):,} rows; {models[0][0]} is wrong on {wrong:,} of them."]
    return page(f"{task}: errors", eyebrow="evaluation on own rows", lead=lead, blocks=blocks, style=_STYLE,
                script=script, data=data)  # fmt: skip


def _shown(label: Any) -> list[str]:
    if isinstance(label, list):
        return label or ["(none)"]
    return [f"{label:.4g}" if isinstance(label, float) else str(label)]


def _answer(values: Any, item: Item, config: TaskConfig) -> dict[str, Any]:
    """What a model says of a row: its label, how sure it is (or how far off), and whether it is right."""
    line = answer_line(config, values)
    given, right = line["label"], right_label(item, config)
    if config.target == "number":
        off = abs(given - right)
        return {"label": _shown(float(given)), "sure": off, "right": off < 0.5 * (config.scale or (0.0, 1.0))[1]}
    if config.target == "text":
        return {"label": _shown(given), "sure": 1.0 - rouge_l(given, right), "right": given.strip() == right.strip()}
    sure = np.asarray(values, dtype=float)
    chance = float(sure.max()) if config.target == "single" else float(np.abs(sure - 0.5).min() + 0.5)
    return {"label": _shown(given), "sure": round(chance, 4), "right": sorted(_shown(given)) == sorted(_shown(right))}
