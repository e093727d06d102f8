"""Where a compression gained and what each part of it cost: the original, the trimmed model alone, the result, in int8.

Trimming the vocabulary is nearly free and most of the bytes, which a table of before and after alone would hide.
Reads records; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slonik.core.records import Record
from slonik.reporting.figures import cell, count, share, size
from slonik.reporting.scores import AVERAGES
from slonik.reporting.table import ABSENT, Cell, Table, row


@dataclass(frozen=True)
class Stage:
    """A model on the way.

    Attributes:
        name: what was done so far.
        parameters: how many; None for a file whose numbers are not counted.
        bytes: of its weights on disk.
        records: scores of it, the same tasks for every stage.
    """

    name: str
    parameters: int | None
    bytes: int
    records: Sequence[Record] = ()


def stages_table(stages: Sequence[Stage]) -> Table:
    """A row per stage; bytes beside those of the first, agreement with it, and the average of the benchmark."""
    if len(stages) < 2:
        return Table("Step by step", ("",), ())
    averages = [task for task in reversed(AVERAGES) if any(_find(stage, task) for stage in stages)][:1]
    first = stages[0]
    rows = []
    for stage in stages:
        cells = [
            Cell(count(stage.parameters)) if stage.parameters else ABSENT,
            Cell(size(stage.bytes)),
            Cell(share(first.bytes, stage.bytes)) if stage is not first else ABSENT,
            cell(_find(stage, "held_out")),
            *(cell(_find(stage, task)) for task in averages),
        ]
        rows.append(row(stage.name, cells))
    headings = ("", "parameters", "bytes", "bytes against the original", "agreement", *averages)
    notes = ("agreement: mean centred cosine to the original's vectors on held-out sentences; 95 % intervals",)
    return Table("Step by step", headings, tuple(rows), notes)


def _find(stage: Stage, task: str) -> Record | None:
    wanted = [r for r in stage.records if r.task == task and r.layer is None]
    if task == "held_out":
        return next((r for r in wanted if r.metric == "agreement"), None)
    return next((r for r in wanted if r.variant == "compatible"), next(iter(wanted), None))
