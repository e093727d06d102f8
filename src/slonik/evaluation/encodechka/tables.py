"""encodechka's tables: per model with intervals, differences, and beside published rows.

A cell that was not measured is empty, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from slonik.core.records import Record
from slonik.evaluation.encodechka.run import EncoderScores
from slonik.evaluation.encodechka.tasks import AVERAGES, PUBLISHED, TASKS
from slonik.reporting.table import Cell, Content, Row, Table

_COLUMNS = tuple(task for task in (*TASKS, *AVERAGES) if task != "speed")


def per_model(evaluation: EncoderScores) -> Table:
    """Every task of one model: value and 95 % interval under both variants, and the pooling that was taken."""
    variants = list(dict.fromkeys(variant for variant, _ in evaluation.measured))
    lines: list[list[Content]] = []
    for task in (*TASKS, *AVERAGES):
        found = [evaluation.measured.get((variant, task)) for variant in variants]
        if any(found):
            lines.append([_name(task), *(cell for one in found for cell in _cells(one.record if one else None))])
    columns = ("task", *(part for variant in variants for part in (f"{variant} [95 %]", "taken")))
    return Table.of(f"{evaluation.model}: encodechka", columns, lines, ("speed: ms per text, on this machine now",))


def leaderboard(evaluations: Sequence[EncoderScores]) -> Table:
    """Measured rows above published ones; published values are the greatest over poolings on the test set."""
    rows = []
    for evaluation in evaluations:
        for variant in dict.fromkeys(variant for variant, _ in evaluation.measured):
            found = [evaluation.measured.get((variant, task)) for task in _COLUMNS]
            cells = [_three(item.record.value) if item else "" for item in found]
            rows.append(Row(tuple(map(Cell, (evaluation.model, variant, *cells)))))
    for row in PUBLISHED:
        cells = [_published(row.scores.get(task), row.source) for task in _COLUMNS]
        rows.append(Row(tuple(map(Cell, (row.model, "not measured here", *cells))), published=True))
    columns = ("model", "variant", *(_name(task) for task in _COLUMNS))
    note = "not measured here: published values (leaderboard, model cards); they compare with `compatible`"
    return Table("beside published models", columns, tuple(rows), (note,))


def differences(records: Sequence[Record]) -> Table:
    """Paired differences with interval and p-value."""
    lines: list[list[Content]] = [
        [
            record.model,
            record.variant,
            _name(record.task),
            Cell(f"{record.value:+.4f}", f"[{record.low:+.4f}, {record.high:+.4f}]"),
            f"{record.detail['p_value']:.3f}",
        ]
        for record in records
        if record.value is not None
    ]
    note = "paired bootstrap over test items; averages over all their tasks at once"
    return Table.of("differences", ("models", "variant", "task", "difference [95 %]", "p"), lines, (note,))


def _cells(record: Record | None) -> tuple[Cell, Cell]:
    """Value with interval, and what it was taken from."""
    if record is None or record.value is None:
        return Cell(""), Cell("")
    taken = "/".join(str(record.detail[part]) for part in ("pooling", "classifier") if part in record.detail)
    form = "{:.2f}" if record.task == "speed" else "{:.4f}"
    spread = f"[{form.format(record.low)}, {form.format(record.high)}]"
    return Cell(form.format(record.value), spread), Cell(taken)


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _published(value: float | None, source: str) -> str:
    if value is None:
        return ""
    digits = 2 if "leaderboard" in source and round(value, 2) == value else 3
    return f"{value:.{digits}f}"


def _name(task: str) -> str:
    return {"mean_s": "Mean S", "mean_s5": "Mean S5", "mean_sw": "Mean S+W"}.get(task, task.upper())
