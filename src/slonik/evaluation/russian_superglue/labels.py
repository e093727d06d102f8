"""Labels as values, as JSON and as names: one spelling each way, so that True, "true" and 1 are never confused."""

from __future__ import annotations

from typing import Any

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.tasks import Label, Task


def label_name(label: Label) -> str:
    """A label as the key of a dictionary of probabilities: "true", "1", "entailment", an entity's text."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def label_names(task: Task) -> tuple[str, ...]:
    """Names of a task's labels, in the order of `Task.labels`; empty for RuCoS."""
    return tuple(label_name(label) for label in task.labels)


def parse_label(task: Task, value: Any, where: str) -> Label:
    """A label read from JSON, in the task's own type.

    Besides the official spelling, its name as text is taken ("true", "False", "1"), and 0 and 1 for False and True.

    Args:
        where: file and line, for the sentence.

    Raises:
        SlonikError: no label of this task.
    """
    if not task.labels:
        if isinstance(value, str) and value.strip():
            return value
        raise SlonikError(f"{where}: the label {value!r} is not a text: {task.name} is answered with an entity")
    for label in task.labels:
        if type(value) is type(label) and value == label:
            return label
        if isinstance(value, str) and value.lower() == label_name(label):
            return label
        if isinstance(label, bool) and type(value) is int and value == int(label):
            return label
    allowed = ", ".join(repr(label) for label in task.labels)
    raise SlonikError(f"{where}: {value!r} is not a label of {task.name}: it must be one of {allowed}")
