"""Score tables: intervals, published rows, gaps, ranks, layers, differences."""

from __future__ import annotations

from slonik.core.records import Record
from slonik.reporting.pareto import pareto_front
from slonik.reporting.ranking import borda, copeland, disagreement, mean_rank
from slonik.reporting.scores import difference_tables, score_tables
from slonik.reporting.table import Row
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
