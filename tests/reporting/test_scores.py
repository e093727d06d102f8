"""Score tables: intervals, published rows, gaps, ranks, layers, differences."""

from __future__ import annotations

import pytest

from slonik.core.records import Record
from slonik.evaluation.russian_superglue.records import published_records
from slonik.reporting.ranking import borda, copeland, disagreement, dowdall, mean_rank, minimax, ranks
from slonik.reporting.scores import (
    category_tables,
    difference_tables,
    rank_tables,
    rankings_of,
    score_tables,
    scores_of,
)
from slonik.reporting.table import Row
from slonik.reporting.trade_offs import pareto_front
from tests.reporting.records import differences, published, record, scores


def cells(row: Row) -> list[str]:
    return [cell.plain() for cell in row.cells]


def test_one_row_per_model_averages_last_published_marked() -> None:
    records = [record("mean_s5", 0.7, metric="mean"), *scores("teacher", 0), record("speed", 3.0, metric="ms_per_text")]
    table = score_tables([*records, *published()])[0]
    assert table.title == "encodechka, compatible"
    assert table.columns[-1].startswith("mean_s5")
    assert [row.published for row in table.rows] == [False, False, True]
    teacher = next(row for row in table.rows if row.cells[0].text == "teacher")
    assert "0.8200 [0.810, 0.830]" in cells(teacher)
    assert any("not measured here" in note for note in table.notes)


def test_gaps_stay_gaps_and_are_named() -> None:
    table = score_tables([record("sts", 0.8, model="a"), record("ti", 0.9, model="b")])[0]
    assert cells(table.rows[0]) == ["a", "0.8000", "–"]
    assert "a was not measured on ti" in table.notes


def test_variants_and_suites_have_tables_of_their_own() -> None:
    records = [record("sts", 0.8), record("sts", 0.7, variant="fixed"), record("rcb", 0.5, suite="russian_superglue")]
    assert [table.title for table in score_tables(records)] == [
        "encodechka, compatible", "encodechka, fixed", "Russian SuperGLUE, compatible",
    ]  # fmt: skip


def test_two_metrics_of_one_task_are_two_columns() -> None:
    records = [record("rcb", 0.4, metric="f1"), record("rcb", 0.5, metric="accuracy")]
    assert score_tables(records)[0].columns == ("model", "rcb f1", "rcb accuracy")


def test_layers_become_columns() -> None:
    records = [record("tense", 0.1 * layer, suite="probing", variant="", layer=layer) for layer in (1, 2, 3)]
    table = score_tables(records)[0]
    assert table.columns == ("model", "layer 1", "layer 2", "layer 3")
    assert table.title == "RuSentEval: tense, accuracy"


def test_differences_are_coloured_only_where_the_interval_leaves_out_zero() -> None:
    table = difference_tables(differences("b", "a"))[0]
    marks = {heading: cell.mark for heading, cell in zip(table.columns, table.rows[0].cells, strict=True)}
    assert (marks["sts"], marks["ti"], marks["mean_s5"]) == ("worse", "", "worse")
    assert table.rows[0].cells[0].text == "b - a"
    assert score_tables(differences("b", "a")) == []


def test_times_are_neither_ranked_nor_differences() -> None:
    timed = record("speed", -3.0, metric="difference", detail={"against": "a", "of": "ms_per_text"})
    assert difference_tables([timed]) == []


def ranked() -> list[Record]:
    # c wins two tasks of three narrowly; a wins one by far, and the mean
    values = {"a": (0.99, 0.50, 0.50), "b": (0.10, 0.40, 0.40), "c": (0.20, 0.51, 0.51)}
    return [record(f"t{i}", value, model=model) for model, found in values.items() for i, value in enumerate(found)]


def test_ranks_show_where_the_mean_misleads() -> None:
    table = score_tables(ranked())[0]
    assert table.columns[-2:] == ("Borda", "Copeland")
    assert any("disagree" in note and "a by mean" in note and "c by Borda" in note for note in table.notes)


def test_borda_and_copeland_by_hand() -> None:
    scores_of = {"a": {"x": 1.0, "y": 1.0}, "b": {"x": 2.0, "y": 1.0}, "c": {"x": 3.0}}
    assert borda(scores_of, ["x", "y"]).points == {"a": (0 + 0.5) / 2, "b": (0.5 + 0.5) / 2, "c": 1.0}
    assert copeland(scores_of, ["x", "y"]).points == {"a": -2, "b": 0, "c": 2}
    assert mean_rank(scores_of, ["x", "y"]).points == {"a": 1.0, "b": 1.5}
    assert disagreement([borda(scores_of, ["x"]), copeland(scores_of, ["x"])]) is None


def test_pareto_front_by_hand() -> None:
    points = [(10.0, 0.9), (5.0, 0.9), (2.0, 0.5), (3.0, 0.4), (5.0, 0.9)]
    assert pareto_front(points, less_is_better=(True, False)) == [False, True, True, False, True]
    assert pareto_front(points, less_is_better=(False, False)) == [True, False, False, False, False]
    assert pareto_front([], less_is_better=(True, True)) == []


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
    assert [cell.mark for cell in rows["a"]] == ["", "warning", "warning", "warning", "warning"]
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
