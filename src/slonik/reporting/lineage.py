"""The lineage of a checkpoint as a table: what was run, with which seed and inputs, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable

from slonik.core.passport import Step
from slonik.reporting.figures import duration
from slonik.reporting.table import ABSENT, Cell, Table, row


def lineage_table(steps: Iterable[Step]) -> Table:
    """One row per step, oldest first; hashes are cut to twelve digits (the passport has them whole)."""
    rows = [
        row(
            step.command,
            [
                Cell(", ".join(f"{name} {value[:12]}" for name, value in step.inputs.items()) or "–"),
                ABSENT if step.seed is None else Cell(str(step.seed)),
                ABSENT if step.seconds is None else Cell(duration(step.seconds)),
                Cell(step.license or "–"),
                Cell(step.version),
            ],
        )
        for step in steps
    ]
    return Table("Lineage", ("step", "inputs", "seed", "time", "licence", "slonik"), tuple(rows))
