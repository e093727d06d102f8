"""Sets in the form of BEIR: what is read, what is left out and said, what is refused in a sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.retrieval import RetrievalSet, find_sets, read_set

DOCUMENTS: list[dict[str, Any]] = [
    {"_id": 1, "title": "Слон", "text": "Маленький слон идёт по лесу."},
    {"_id": "2", "title": "", "text": "Над рекой стоял туман."},
    {"_id": "3", "title": None, "text": "Кошке снится рыба.", "metadata": {}},
    {"_id": "4", "text": ""},
]
QUERIES: list[dict[str, Any]] = [
    {"_id": 1, "text": "слон"}, {"_id": 2, "text": "рыба"}, {"_id": 3, "text": "туман"}, {"_id": 4, "text": " "},
]  # fmt: skip
HEADER = "query-id\tcorpus-id\tscore\n"
QRELS = "1\t1\t2\n2\t3\t1\n2\t2\t-1\n3\t1\t0\n3\t2\t1\n"


def write_set(folder: Path, *, documents: Any = DOCUMENTS, queries: Any = QUERIES, qrels: str = HEADER + QRELS) -> Path:
    """A set on disk."""
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_ids_of_numbers_and_texts_are_one_and_titles_stand_before_texts(tmp_path: Path) -> None:
    task = read_set(write_set(tmp_path / "set"))
    assert task.document_ids == ["1", "2", "3", "4"]
    assert list(task.texts())[:3] == [
        "Слон Маленький слон идёт по лесу.",
        "Над рекой стоял туман.",
        "Кошке снится рыба.",
    ]
    assert (task.query_ids, task.queries) == (["1", "2", "3"], ["слон", "рыба", "туман"])
    assert task.judged == [{0: 2}, {2: 1, 1: -1}, {0: 0, 1: 1}]
    assert task.take([2, 0]) == {0: "Слон Маленький слон идёт по лесу.", 2: "Кошке снится рыба."}
    assert any("1 of 4 documents have neither" in note for note in task.notes)
    assert any("1 negative grades" in note for note in task.notes)


TREC = "".join(f"{one} 0 {two} {grade}\n" for one, two, grade in (line.split("\t") for line in QRELS.splitlines()))


@pytest.mark.parametrize(
    "qrels",
    [
        QRELS,
        HEADER + QRELS,
        QRELS.replace("\t", " "),
        TREC,
        TREC.replace(" ", "\t"),
        "\n" + QRELS.replace("\n", "\r\n"),
    ],
    ids=["no header", "header", "spaces", "trec", "trec by tabs", "windows"],
)
def test_judgements_are_read_in_every_usual_form(qrels: str, tmp_path: Path) -> None:
    plain = read_set(write_set(tmp_path / "plain"))
    assert read_set(write_set(tmp_path / "other", qrels=qrels)).judged == plain.judged


def test_packed_files_are_the_same_set(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    plain = read_set(folder)
    texts = list(plain.texts())
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        with gzip.open(folder / f"{name}.gz", "wb") as stream:
            stream.write((folder / name).read_bytes())
        (folder / name).unlink()
    packed = read_set(folder)
    assert (packed.judged, list(packed.texts()), packed.order) == (plain.judged, texts, plain.order)


def test_what_does_not_fit_is_counted_and_said(tmp_path: Path) -> None:
    qrels = QRELS + "2\t9\t1\n7\t1\t1\n4\t1\t1\n8\t1\t0\n1\t1\t1\n"
    task = read_set(write_set(tmp_path / "set", queries=[*QUERIES, {"_id": "8", "text": "лес"}], qrels=qrels))
    said = "\n".join(task.notes)
    assert "1 of the ids are queries that are not there, left out (the first: 7)" in said
    assert "1 of the ids are queries without a relevant document" in said
    assert "1 of the ids are queries without a text" in said
    assert "1 of the ids are documents that the corpus lacks" in said
    assert "1 pairs of" in said and "the higher one counts" in said
    assert task.judged[1] == {2: 1, 1: -1, 4: 1}  # the lacking document has a number that no ranking holds


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"documents": [*DOCUMENTS, {"_id": "1", "text": "ещё"}]}, "the document '1' is there already"),
        ({"queries": [*QUERIES, {"_id": "2", "text": "ещё"}]}, "the query '2' is there already"),
        ({"documents": [{"text": "без имени"}]}, "'_id' is None"),
        ({"documents": [{"_id": True, "text": "x"}]}, "'_id' is True"),
        ({"documents": [{"_id": "1", "title": "только"}]}, "'text' is None"),
        ({"documents": []}, "the corpus of set is empty"),
        ({"queries": [{"_id": "1"}]}, "every query has a text"),
        ({"qrels": HEADER}, "no query with a text and a relevant document"),
        ({"qrels": QRELS + "1\t2\tмного\n"}, "the grade is 'много'"),
        ({"qrels": QRELS + "1\t2\t0.5\n"}, "the grade is '0.5'"),
        ({"qrels": "1\t2\n"}, "2 columns"),
    ],
)
def test_a_damaged_set_is_refused_in_a_sentence(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", **change)
    with pytest.raises(SlonikError, match=sentence.replace("(", r"\(")):
        read_set(folder)


def test_a_missing_split_names_those_that_there_are(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    with pytest.raises(SlonikError, match="it has test: choose one with --split"):
        read_set(folder, "dev")


def test_a_folder_of_sets_is_several(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_set(tmp_path / name)
    assert [path.name for path in find_sets(tmp_path)] == ["a", "b"]
    assert find_sets(tmp_path / "a") == [tmp_path / "a"]
    with pytest.raises(SlonikError, match="nor a folder in it holds a corpus"):
        find_sets(tmp_path / "a" / "qrels")


def test_a_set_in_memory_is_the_one_on_disk(tmp_path: Path) -> None:
    task = read_set(write_set(tmp_path / "set"))
    memory = RetrievalSet.of(
        dict(zip(task.document_ids, task.texts(), strict=True)), {"1": "слон", "2": "рыба", "3": "туман"},
        {"1": {"1": 2}, "2": {"3": 1, "2": -1}, "3": {"1": 0, "2": 1}},
    )  # fmt: skip
    assert (memory.judged, list(memory.texts()), memory.take([1])) == (task.judged, list(task.texts()), task.take([1]))
