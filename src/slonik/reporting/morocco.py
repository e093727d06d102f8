"""MOROCCO's figures as a table: initialisation, records per second and memory of each model and task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slonik.core.records import Record
from slonik.reporting.figures import cell
from slonik.reporting.resources import level
from slonik.reporting.table import Cell, Table, row

SUITE = "morocco"
_COLUMNS = {"init_time": "init, s", "rps": "records/s", "gpu_ram": "GPU memory, GiB", "ram": "memory, GiB"}


def morocco_table(records: Iterable[Record]) -> Table:
    """One row per model and task; medians with their 95 % intervals over runs."""
    figures = {(record.model, record.task, record.metric): record for record in records if record.suite == SUITE}
    pairs = sorted({(model, task) for model, task, _ in figures})
    rows = [
        row(model, [Cell(task), *(cell(figures.get((model, task, metric))) for metric in _COLUMNS)])
        for model, task in pairs
    ]
    fewest = min((one.n for one in figures.values() if one.low is not None and one.n), default=0)
    spread = f"median over runs and its {level(fewest)} interval" if fewest else "median over runs"
    note = f"{spread}; init and memory from runs on one record, by the published rule"
    return Table("MOROCCO", ("model", "task", *_COLUMNS.values()), tuple(rows), (note,))


def warnings_of(records: Sequence[Record]) -> list[str]:
    """What is doubtful or missing, one sentence each, with the model and task it is about."""
    found = []
    for record in records:
        where = " ".join(part for part in (record.model, record.task, record.metric) if part)
        doubts = list(record.detail.get("warnings", []))
        if record.value is None and record.detail.get("reason") not in doubts:
            doubts.append(record.detail.get("reason", "no figure"))
        # Without a GPU there is nothing to warn of.
        found += [f"{where}: {doubt}" for doubt in doubts if not (record.metric == "gpu_ram" and record.value is None)]
    return found
