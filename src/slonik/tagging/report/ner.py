"""Tables of NER records: systems side by side with cost, F1 per label, and paired differences; published rows apart.

Reads records of the suite "ner" only. Nothing is computed but the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slonik.core.records import Record
from slonik.reporting.formatting import score, significant, size
from slonik.reporting.scores import difference_tables, is_difference, is_published
from slonik.reporting.table import ABSENT, Cell, Row, Table

_METRICS = {
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "precision_micro": "precision",
    "recall_micro": "recall",
    "f1_overlap": "F1, any overlap",
}
_INTERVALS = "95 % intervals by bootstrap over documents"


def ner_tables(records: Sequence[Record], *, caution: str = "") -> list[Table]:
    """Systems, labels, differences: the tables that the records fill.

    Args:
        caution: what must be said beside published rows.
    """
    figures = [record for record in records if record.suite == "ner" and not is_difference(record)]
    if not figures:
        return []
    tables = [_systems(figures, caution), _labels(figures)]
    tables += difference_tables([record for record in records if record.suite == "ner"])
    return [table for table in tables if table.rows]


def _systems(records: Sequence[Record], caution: str) -> Table:
    rows = []
    for name, found in _by_system(records).items():
        first = next(iter(found.values()))
        cells = [_figure(found.get(metric)) for metric in _METRICS]
        detail = found["f1_micro"].detail if "f1_micro" in found else {}
        cells += [_number(detail.get("ms_per_text"), significant), _number(detail.get("bytes"), size)]
        cells.append(Cell(str(first.n)) if first.n else ABSENT)
        rows.append(Row((Cell(name), *cells), published=is_published(first)))
    notes = [_INTERVALS]
    if any(row.published for row in rows):
        notes.append(f"rows in italics were not measured here: {caution}" if caution else "rows in italics: published")
    columns = ("system", *_METRICS.values(), "ms per text", "size", "texts")
    return Table(f"Named entities: {records[0].task}", columns, tuple(rows), tuple(notes))


def _labels(records: Sequence[Record]) -> Table:
    systems = {
        name: found["f1_micro"].detail.get("per_label", {})
        for name, found in _by_system(records).items()
        if "f1_micro" in found
    }
    measured = [record for record in records if record.metric == "f1_micro" and not is_published(record)]
    labels = sorted({label for record in measured for label in record.detail.get("per_label", {})})
    gold = measured[0].detail.get("per_label", {}) if measured else {}
    shown = {name: found for name, found in systems.items() if found}
    rows = []
    for label in labels:
        cells = [_label_figure(found.get(label)) for found in shown.values()]
        rows.append(Row((Cell(label), Cell(str(gold.get(label, {}).get("gold", ""))), *cells)))
    return Table("F1 per label", ("label", "gold spans", *shown), tuple(rows), (_INTERVALS,))


def _by_system(records: Sequence[Record]) -> dict[str, dict[str, Record]]:
    """Name (with the variant where there is one) -> metric -> record."""
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        name = f"{record.model}, {record.variant}" if record.variant else record.model
        name += ", published" if is_published(record) else ""
        found.setdefault(name, {})[record.metric] = record
    return found


def _figure(record: Record | None) -> Cell:
    if record is None or record.value is None:
        return ABSENT
    return Cell(score(record.value), _interval(record.low, record.high))


def _label_figure(found: dict[str, Any] | None) -> Cell:
    if not found or found.get("f1") is None:
        return ABSENT
    return Cell(score(found["f1"]), _interval(found.get("low"), found.get("high")))


def _interval(low: float | None, high: float | None) -> str:
    return f"[{score(low)}, {score(high)}]" if low is not None and high is not None else ""


def _number(value: Any, write: Any) -> Cell:
    return ABSENT if value is None else Cell(write(value))
