"""What the paper printed for the tasks whose original files are probed, as records marked published."""

from __future__ import annotations

from collections.abc import Sequence

from slonik.core.records import Record
from slonik.inspection.probing.readers import TaskData
from slonik.inspection.probing.tasks import SOURCE, SUITE


def published_records(tasks: Sequence[TaskData]) -> list[Record]:
    """Published accuracies of logistic regression; none for built tasks, which are other data under the same names."""
    records = []
    for data in tasks:
        if data.built:
            continue
        for model, (accuracy, layer) in data.task.published.items():
            detail = {"published": True, "source": SOURCE, **({} if layer is None else {"layer": layer})}
            records.append(
                Record(suite=SUITE, task=data.task.id, variant="logistic", model=f"{model} (published)",
                       metric="accuracy", value=accuracy, detail=detail)
            )  # fmt: skip
    return records
