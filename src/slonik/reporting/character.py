"""Tables of how an encoder behaves: what its cosines mean, and what it is bad at (`slonik.evaluation.character`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from slonik.core.records import Record
from slonik.reporting.formatting import score
from slonik.reporting.table import Cell, Content, Table

SUITE = "character"
COSINES = {"random": "two texts at random", "translated": "a text and its translation"}
_QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")


def character_tables(records: Sequence[Record], part: Literal["cosines", "weak"]) -> list[Table]:
    """The tables of one part; empty where nothing of it was measured.

    Args:
        part: "cosines": their distribution; "weak": how often the translation is found, by kind of text.
    """
    own = [record for record in records if record.suite == SUITE]
    return _cosine_tables(own) if part == "cosines" else _found_tables(own)


def weaknesses(records: Sequence[Record], model: str) -> list[str]:
    """Sentences about the kinds of text on which a model finds surely fewer translations than on sentences."""
    found = {record.task: record for record in records if _is_found(record) and record.model == model}
    best = found.get("sentences")
    if best is None or best.low is None or best.value is None:
        return []
    said = []
    for task, record in found.items():
        if record.high is not None and record.value is not None and record.high < best.low:
            said.append(
                f"{record.detail.get('about', task)}: the right translation is found for {record.value:.0%} "
                f"[{record.low:.0%}, {record.high:.0%}], of sentences for {best.value:.0%}"
            )
    return said or ["on no kind of text that was tried does it find surely fewer translations than on sentences"]


def _is_found(record: Record) -> bool:
    return record.suite == SUITE and record.metric == "accuracy"


def _cosine_tables(records: Sequence[Record]) -> list[Table]:
    rows: list[list[Content]] = []
    for record in records:
        if record.metric == "cosine" and record.value is not None:
            quantiles = record.detail.get("quantiles", {})
            values: list[Content] = [score(float(quantiles[key])) if key in quantiles else None for key in _QUANTILES]
            rows.append([record.model, COSINES.get(record.task, record.task), _cell(record), *values, record.n])
    columns = ("model", "cosine of", "mean [95 %]", "5 %", "25 %", "median", "75 %", "95 %", "pairs")
    return [Table.of("Cosines", columns, rows)] if rows else []


def _found_tables(records: Sequence[Record]) -> list[Table]:
    found = [record for record in records if _is_found(record)]
    tasks = list(dict.fromkeys(record.task for record in found))
    by = {(record.model, record.task): record for record in found}
    names = {model: model for model in dict.fromkeys(record.model for record in found)}
    about = {task: next(str(r.detail.get("about", task)) for r in found if r.task == task) for task in tasks}
    if not found:
        return []
    sizes = {task: next((r.n for r in found if r.task == task), None) for task in tasks}
    rows = [
        [about[task], sizes[task], *(_cell(by[model, task]) if (model, task) in by else None for model in names)]
        for task in tasks
    ]
    note = "Share of texts whose translation is the nearest of all the translations in the row [95 %]."
    return [Table.of("Translations found", ("texts", "n", *names), rows, [note])]


def _cell(record: Record) -> Cell:
    spread = "" if record.low is None or record.high is None else f"[{score(record.low)}, {score(record.high)}]"
    return Cell("–" if record.value is None else score(record.value), spread)
