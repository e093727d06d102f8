"""The one table: rows and columns by their keys, marks of rows, and what each renderer makes of them."""

from __future__ import annotations

import io

from slonik.reporting.page import table as to_html
from slonik.reporting.scores import record_table
from slonik.reporting.table import Cell, Content, Table, print_table, to_markdown
from tests.reporting.records import published, record, scores


def _content(row: int, column: str) -> Content:
    if (row, column) == (1, "x"):
        return Cell("0.5", "[0.4, 0.6]", "best")
    return row if column == "y" else None


GRID = Table.grid(
    "Board",
    ("model", "engine"),
    {1: ("<a>", "torch"), 2: ("b", "onnx"), 3: ("c", "")},
    {"x": "task x", "y": "task y"},
    _content,
    notes=["a note"],
    published={2},
    baselines={3},
)


def test_a_grid_asks_for_every_cell_by_its_keys() -> None:
    assert GRID.columns == ("model", "engine", "task x", "task y")
    assert [[cell.plain() for cell in row.cells] for row in GRID.rows] == [
        ["<a>", "torch", "0.5 [0.4, 0.6]", "1"], ["b", "onnx", "–", "2"], ["c", "", "–", "3"],
    ]  # fmt: skip
    assert [(row.published, row.baseline) for row in GRID.rows] == [(False, False), (True, False), (False, True)]
    assert GRID.rows[1].cells[2].mark == "absent"


def test_every_renderer_draws_the_same_cells() -> None:
    stream = io.StringIO()
    print_table(GRID, stream)
    page, markdown, terminal = to_html(GRID), to_markdown(GRID), stream.getvalue()
    for text in (terminal, markdown, page):
        assert all(words in text for words in ("task x", "onnx", "0.5", "a note"))
    assert "<a>" in terminal and r"\<a\>" in markdown and "&lt;a&gt;" in page and "<a>" not in page
    assert '<tr class="published">' in page and '<tr class="baseline">' in page and '<td class="best">' in page
    assert "| *b* |" in markdown and r"**0.5** \[0.4, 0.6\]" in markdown


def test_a_table_of_records_has_a_row_per_model_and_an_interval_per_cell() -> None:
    majority = record("sts", 0.3, model="majority", detail={"baseline": True})
    table = record_table("sts", [*scores("teacher", 0), majority, *published()])
    assert [row.cells[0].text for row in table.rows] == ["teacher", "majority", "cointegrated/rubert-tiny2"]
    assert [row.baseline for row in table.rows] == [False, True, False]
    assert [row.published for row in table.rows] == [False, False, True]
    assert table.columns == ("model", "sts", "ti", "mean_s5")
    assert table.rows[0].cells[1].plain() == "0.8200 [0.810, 0.830]"


def test_columns_of_words_stand_to_the_left() -> None:
    lines = [("a", "4.1× less", "mean", None), ("b", "same", "cls", "x"), ("c", "2.0× more", None, "1")]
    assert Table.of("", ("", "change", "pooling", "mixed"), lines).justify() == ["left", "right", "left", "right"]
