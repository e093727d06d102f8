"""The nine-task score: the published rows are recomputed from their tasks."""

from __future__ import annotations

import pytest

from slonik.evaluation.russian_superglue.metrics import nine_task_score
from slonik.evaluation.russian_superglue.records import published_records
from slonik.evaluation.russian_superglue.tasks import TASKS


def _rows() -> dict[str, dict[str, tuple[float, ...]]]:
    """Model -> task (or "score") -> its one or two published values."""
    rows: dict[str, dict[str, tuple[float, ...]]] = {}
    for record in published_records():
        if record.metric != "mean":
            values = rows.setdefault(record.model, {})
            values[record.task] = (*values.get(record.task, ()), float(record.value or 0))
    return rows


def test_every_whole_published_row_recomputes_within_a_thousandth() -> None:
    whole = {model: row for model, row in _rows().items() if len(row) == len(TASKS) + 1}
    assert len(whole) == 14
    for model, row in whole.items():
        assert nine_task_score(row) == pytest.approx(row["score"][0], abs=1e-3), model


@pytest.mark.parametrize(
    ("model", "value"), [("HUMAN BENCHMARK", 0.811), ("majority_class", 0.374), ("Golden Transformer", 0.679)]
)
def test_known_scores(model: str, value: float) -> None:
    assert _rows()[model]["score"] == (value,)


def test_the_human_level_of_the_tasks_is_the_leaderboards() -> None:
    model, human = next(iter(_rows().items()))
    assert model == "HUMAN BENCHMARK"
    assert {task.id: task.human for task in TASKS.values()} == {task: human[task] for task in TASKS}


def test_a_second_metric_of_zero_counts_and_a_missing_task_leaves_no_score() -> None:
    metrics: dict[str, tuple[float, ...]] = dict.fromkeys(TASKS, (1.0,))
    metrics["muserc"] = (0.5, 0.0)  # the source's code would take 0.5 here
    assert nine_task_score(metrics) == pytest.approx((8 + 0.25) / 9)
    del metrics["terra"]
    assert nine_task_score(metrics) is None


def test_records_of_published_rows_are_marked_and_name_their_source() -> None:
    records = published_records()
    assert all(r.detail["published"] and r.detail["source"] and r.low is None for r in records)
    keys = [r.key() for r in records]
    assert len(set(keys)) == len(keys)
    fred = [r for r in records if r.model == "FRED-T5-1.7B"]
    assert [(r.task, r.value) for r in fred] == [("score", 0.762)]
