"""The nine-task score: every task counts once, a task with two figures by their mean.

Source: `score_value` of RussianNLP/MOROCCO, without its slip (there a second figure of exactly 0 is dropped, as if
the task had one figure). There is no score of fewer than nine tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slonik.evaluation.russian_superglue.metrics import task_value
from slonik.evaluation.russian_superglue.tasks import TASKS


def nine_task_score(figures: Mapping[str, Sequence[float]]) -> float | None:
    """The mean over the nine tasks; None where a task is missing.

    Args:
        figures: task id -> its figure, or its two figures.
    """
    if any(not figures.get(task) for task in TASKS):
        return None
    return sum(task_value(figures[task]) for task in TASKS) / len(TASKS)
