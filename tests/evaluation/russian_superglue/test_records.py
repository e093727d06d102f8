"""The nine-task score: the published rows are recomputed from their tasks."""

from __future__ import annotations

import pytest

from slonik.evaluation.russian_superglue import TASKS
from slonik.evaluation.russian_superglue.metrics import nine_task_score
from slonik.evaluation.russian_superglue.records import published_records, published_rows


def test_every_whole_published_row_recomputes_within_a_thousandth() -> None:
    whole = [row for row in published_rows() if len(row.metrics) == len(TASKS)]
    assert len(whole) == 14
    for row in whole:
        found = nine_task_score(row.metrics)
        assert found == pytest.approx(row.score, abs=1e-3), row.model


@pytest.mark.parametrize(
    ("model", "value"), [("HUMAN BENCHMARK", 0.811), ("majority_class", 0.374), ("Golden Transformer", 0.679)]
)
def test_known_scores(model: str, value: float) -> None:
    row = next(found for found in published_rows() if found.model == model)
    assert row.score == value and row.source


def test_the_human_level_of_the_tasks_is_the_leaderboards() -> None:
    human = published_rows()[0]
    assert human.model == "HUMAN BENCHMARK"
    assert {task.id: task.human for task in TASKS.values()} == dict(human.metrics)


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
