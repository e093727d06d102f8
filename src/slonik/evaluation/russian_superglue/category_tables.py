"""Tables by category: how each model does on the parts of a diagnostic set that its records keep in their detail.

Reads records only; a category with one class has a correlation of 0 by convention, hence the number of items beside.
"""

from __future__ import annotations

from collections.abc import Iterable

from slonik.core.records import Record
from slonik.reporting.figures import interval, write
from slonik.reporting.scores import is_published, title_of
from slonik.reporting.table import ABSENT, Cell, Table, row


def category_tables(records: Iterable[Record]) -> list[Table]:
    """One table per suite, variant, task and metric whose records have `detail.categories`: a row per category."""
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        if record.detail.get("categories") and not is_published(record):
            groups.setdefault((record.suite, record.variant, record.task, record.metric), []).append(record)
    tables = []
    for (suite, variant, task, metric), found in groups.items():
        names = dict.fromkeys(name for record in found for name in record.detail["categories"])
        rows = []
        for name in names:
            cells = [_cell(record, name, metric) for record in found]
            counts = [record.detail["categories"][name]["n"] for record in found if name in record.detail["categories"]]
            rows.append(row(name, [Cell(str(counts[0])), *cells]))
        columns = ("category", "items", *(record.model for record in found))
        title = f"{title_of(suite, variant)}: {task} by category, {metric}"
        note = "95 % intervals by bootstrap; with one class only the correlation is 0 by convention"
        tables.append(Table(title, columns, tuple(rows), (note,)))
    return tables


def _cell(record: Record, name: str, metric: str) -> Cell:
    found = record.detail["categories"].get(name)
    if found is None:
        return ABSENT
    return Cell(write(metric, found["value"]), interval(metric, found["low"], found["high"]))
