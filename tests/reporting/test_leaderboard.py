"""Rules of aggregation against hand-made boards, and the table that flags where they disagree."""

from __future__ import annotations

import pytest

from slonik.evaluation.russian_superglue.category_tables import category_tables
from slonik.evaluation.russian_superglue.published import published_records
from slonik.reporting.leaderboard import rank_tables, rankings_of, scores_of
from slonik.reporting.ranking import borda, copeland, dowdall, mean_rank, minimax, ranks
from slonik.reporting.scores import score_tables
from tests.reporting.records import record

# a wins two tasks narrowly, b one by far: the mean and the duels name different winners
BOARD = {
    "a": {"x": 0.51, "y": 0.51, "z": 0.1},
    "b": {"x": 0.5, "y": 0.5, "z": 0.9},
    "c": {"x": 0.4, "y": 0.4, "z": 0.5},
}
TASKS = ["x", "y", "z"]


def test_points_by_hand() -> None:
    assert mean_rank(BOARD, TASKS).points["b"] == pytest.approx(1.9 / 3)
    assert borda(BOARD, TASKS).points == pytest.approx({"a": 4 / 6, "b": 4 / 6, "c": 1 / 6})
    assert dowdall(BOARD, TASKS).points == pytest.approx(
        {"a": (1 + 1 + 1 / 3) / 3, "b": (0.5 + 0.5 + 1) / 3, "c": (1 / 3 + 1 / 3 + 0.5) / 3}
    )
    assert copeland(BOARD, TASKS).points == {"a": 2, "b": 0, "c": -2}
    assert minimax(BOARD, TASKS).points == {"a": 0, "b": -1, "c": -3}


def test_equal_figures_share_points_and_places() -> None:
    tied = {"a": {"x": 0.5}, "b": {"x": 0.5}, "c": {"x": 0.1}}
    assert dowdall(tied, ["x"]).points == pytest.approx({"a": 0.75, "b": 0.75, "c": 1 / 3})
    assert ranks(dowdall(tied, ["x"])) == {"a": 1, "b": 1, "c": 3}


def test_missing_figures_are_not_imputed() -> None:
    board = {**BOARD, "d": {"z": 0.95}}
    assert dowdall(board, TASKS).points["d"] == 1 and "d" not in mean_rank(board, TASKS).points
    assert minimax(board, TASKS).points["d"] == 0


def test_the_table_marks_ranks_that_hang_on_the_rule() -> None:
    records = [
        record(task, value, suite="russian_superglue", variant="", model=model, metric="accuracy")
        for model, found in BOARD.items()
        for task, value in found.items()
    ]
    (table,) = rank_tables(records)
    assert table.columns == ("model", "mean", "Borda", "Dowdall", "Copeland", "minimax")
    rows = {row.cells[0].text: row.cells[1:] for row in table.rows}
    assert [row.cells[0].text for row in table.rows] == ["b", "c", "a"]
    assert [cell.text for cell in rows["a"]] == ["3", "1", "1", "1", "1"]
    assert [cell.mark for cell in rows["a"]] == ["", "doubt", "doubt", "doubt", "doubt"]
    assert any("the rules disagree on the best" in note for note in table.notes)


def test_published_rows_are_ranked_apart_and_a_task_counts_once() -> None:
    (table,) = rank_tables(published_records())
    assert "published rows" in table.title and all(row.published for row in table.rows)
    assert [row.cells[0].text for row in table.rows][:2] == ["HUMAN BENCHMARK", "Golden Transformer"]
    scores = scores_of(published_records())
    assert len(scores["MT5 Large"]) == 9 and scores["MT5 Large"]["rcb"] == pytest.approx((0.366 + 0.454) / 2)
    places = {rule.rule: ranks(rule) for rule in rankings_of({m: s for m, s in scores.items() if len(s) == 9})}
    # the third by the mean owes its place to two reading tasks: it loses most duels
    assert places["mean"]["RuGPT3XL few-shot"] == 3 and places["Borda"]["RuGPT3XL few-shot"] == 10
    assert {places[rule]["HUMAN BENCHMARK"] for rule in places} == {1}


def test_too_few_models_or_tasks_have_no_ranks() -> None:
    few = [record("x", 0.5, model=model) for model in "abc"]
    assert rank_tables(few) == []


def test_published_rows_show_every_task_beside_what_was_measured() -> None:
    own = record("terra", 0.6, suite="russian_superglue", variant="", model="mine", metric="accuracy")
    (table,) = score_tables([own, *published_records()])
    assert "danetqa" in table.columns and "score" in table.columns
    mine = next(row for row in table.rows if row.cells[0].text == "mine")
    assert mine.cells[table.columns.index("danetqa")].mark == "absent"


def test_categories_have_a_row_each_and_a_column_per_model() -> None:
    part = {"value": 0.25, "low": 0.1, "high": 0.4, "accuracy": 0.6, "n": 7}
    both = [
        record(
            "lidirus", 0.2, suite="russian_superglue", variant="", model=model, metric="matthews",
            detail={"categories": found},
        )
        for model, found in (("a", {"logic": part, "logic: Negation": part}), ("b", {"logic": part}))
    ]  # fmt: skip
    (table,) = category_tables([*both, record("terra", 0.5)])
    assert table.columns == ("category", "items", "a", "b")
    rows = [[cell.plain() for cell in row.cells] for row in table.rows]
    assert rows[0][:2] == ["logic", "7"] and "0.2500" in rows[0][2] and rows[0][2] == rows[0][3]
    assert rows[1][0] == "logic: Negation" and table.rows[1].cells[3].mark == "absent"
