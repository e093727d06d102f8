"""Rows of queries and documents: both forms, every kind of file, what is counted, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.rankings import Asked, Rankings, read_rankings
from tests.data.test_retrieval import write_set

GRADED: list[dict[str, Any]] = [
    {"query": "слон", "document": "Слон идёт.", "label": 2},
    {"query": "слон", "document": "Кошка спит.", "label": 0},
    {"query": "рыба", "document": "Рыба плывёт.", "label": 1},
]
KNOWN = Rankings(
    ["Слон идёт.", "Кошка спит.", "Рыба плывёт."], [Asked("слон", {0: 2.0, 1: 0.0}), Asked("рыба", {2: 1.0})]
)


def test_every_kind_of_file_is_read_alike(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in GRADED)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(GRADED[0]))
        writer.writeheader()
        writer.writerows(GRADED)
    parquet.write_table(pyarrow.Table.from_pylist(GRADED), tmp_path / "rows.parquet")
    for source in (GRADED, *(tmp_path / f"rows.{kind}" for kind in ("jsonl", "csv", "parquet"))):
        assert read_rankings(source) == KNOWN
    other = [{"вопрос": row["query"], "ответ": row["document"], "балл": row["label"]} for row in GRADED]
    assert read_rankings(other, columns=("вопрос", "ответ"), label="балл") == KNOWN


@pytest.mark.parametrize(
    "row",
    [
        {"positive": "да", "negative": "нет"},
        {"positive": ["да"], "negatives": ["нет", ""]},
        {"pos": ["да"], "neg": ["нет"]},
        {"positive": "да", "negative_1": "нет", "negative_2": None},
    ],
)
def test_positives_and_negatives_in_their_usual_columns(row: dict[str, Any]) -> None:
    assert read_rankings([{"query": "что", **row}]) == Rankings(["да", "нет"], [Asked("что", {0: 1.0, 1: 0.0})])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": " ", "document": "а", "label": 1}, "1 row without a query"),
        ({"query": "слон", "document": "", "label": 1}, "1 row without a document"),
        ({"query": "слон", "document": "а", "label": None}, "1 row without a label"),
        ({"query": "слон", "document": "Кошка спит.", "label": 1}, "both positive and negative: it counts as positive"),
        ({"query": "слон", "document": "Слон идёт.", "label": 1}, "another grade elsewhere: the higher one counts"),
        ({"query": "слон", "document": "Слон идёт. ", "label": "2"}, "stand there already"),
        ({"query": "слон", "document": "а", "label": -1}, "a grade below 0"),
        ({"query": "лес", "document": "а", "label": 0}, "1 query without a relevant document, left out"),
    ],
)
def test_rows_that_cannot_be_used_are_counted_and_said(row: dict[str, Any], said: str) -> None:
    found = read_rankings([*GRADED, row])
    assert any(said in note for note in found.notes), found.notes
    assert [asked.text for asked in found.queries] == ["слон", "рыба"]
    assert found.queries[0].grades[0] == 2


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "has no rows"),
        ([{"query": "а", "document": "б", "label": 0}], "no query with a relevant document"),
        ([{"question": "а", "document": "б", "label": 1}], "unknown column 'query'"),
        ([{"query": "а", "answer": "б"}], "neither a column 'document' nor 'positive'"),
        ([{"query": "а", "document": "б"}], "label"),
        ([{"query": "а", "document": "б", "label": "да"}], "the label is 'да'"),
        ([{"query": "а", "document": "б", "label": float("nan")}], "the label is nan"),
        ([{"query": "а", "document": 5, "label": 1}], "a int: it must be a text"),
    ],
)
def test_what_is_no_data_is_refused(rows: Any, sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        read_rankings(rows)


def test_a_set_in_the_form_of_beir_gives_its_split(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", qrels="1\t1\t1\n2\t3\t1\n2\t9\t1\n3\t4\t1\n3\t2\t1\n")
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
    found = read_rankings(folder)
    assert found.queries == [Asked("слон", {0: 1}), Asked("рыба", {2: 1}), Asked("туман", {1: 1})]
    assert any("2 judgements of documents that are not there or blank" in note for note in found.notes)
