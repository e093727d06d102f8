"""Figures that other people published, as records beside ours: encodechka, Russian SuperGLUE, MTEB(rus)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slonik.core.records import Record
from slonik.evaluation.encodechka.tasks import PUBLISHED
from slonik.evaluation.mteb.published import published_records as mteb_records
from slonik.evaluation.russian_superglue.records import published_records as superglue_records

_COMPATIBLE = "compatible"


def all_published(rumteb: str | Path | None = None) -> list[Record]:
    """Every published figure that slonik knows.

    Args:
        rumteb: a newer reading of MTEB(rus)'s results than the one that comes with slonik.
    """
    return [*_encodechka(), *superglue_records(), *mteb_records(rumteb)]


def published_beside(records: Sequence[Record]) -> list[Record]:
    """Published rows of the suites that are in `records`; of encodechka for the tasks that were measured alone."""
    own = [record for record in records if record.suite == "encodechka" and record.variant == _COMPATIBLE]
    tasks, measured = {record.task for record in own}, {record.model for record in own}
    suites = {record.suite for record in records}
    found = superglue_records() if "russian_superglue" in suites else []
    found += [record for record in _encodechka() if record.task in tasks and record.model not in measured]
    if "mteb" in suites:
        measured_on = {(record.variant, record.task) for record in records if record.suite == "mteb"}
        found += [record for record in mteb_records() if (record.variant, record.task) in measured_on]
    return found


def _encodechka() -> list[Record]:
    return [
        Record(
            suite="encodechka", task=task, variant=_COMPATIBLE, model=row.model, metric="published", value=value,
            detail={"published": True, "source": row.source},
        )
        for row in PUBLISHED
        for task, value in row.scores.items()
    ]  # fmt: skip
