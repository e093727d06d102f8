"""Texts to annotate next: the least sure first, without those that were seen; spans of little confidence left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.brat import read_brat
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.formats import read_documents
from slonik.data.annotations.tags import tokenize
from slonik.runtime.tagging.word_tagger import WordScores
from slonik.tagging.data import write_training_texts
from slonik.tagging.folders import tag_folder
from slonik.tagging.suggest import suggest
from slonik.tagging.tag import tag, tag_files

TEXTS = ["Слон 9 пьёт воду.", "Слон 2 ест.", "Слон 7 спит в тени.", "Слон 9 пьёт воду.", "", "Слон 1 ушёл."]


class Doubtful:
    """Takes the first word for a name, as sure as the digit in the text says in tenths; 0.99 of the other words."""

    name = "doubtful"
    labels = ("NAME",)

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        return [[Span(0, 4, "NAME", int(text[5]) / 10)] if text else [] for text in texts]

    def describe(self) -> dict[str, Any]:
        return {}


class WithWords(Doubtful):
    """The same, with probabilities of words."""

    def marginals(self, texts: Sequence[str]) -> Iterator[WordScores]:
        for number, text in enumerate(texts):
            words = tokenize(text)
            values = np.array([[0.01, 0.99]] * len(words), np.float32).reshape(-1, 2)
            if len(values):
                sure = int(text[5]) / 10
                values[0] = [1 - sure, sure]
            yield WordScores(number, 0, words, values)


@pytest.mark.parametrize("tagger", [Doubtful(), WithWords()])
def test_the_least_sure_texts_are_written_first_and_once(tmp_path: Path, tagger: Doubtful) -> None:
    source = tmp_path / "a.txt"
    source.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    told = suggest(tagger, [source], tmp_path / "next.jsonl", count=2)
    rows = [json.loads(line) for line in (tmp_path / "next.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = ["Слон 1 ушёл.", "Слон 2 ест."] if type(tagger) is Doubtful else ["Слон 7 спит в тени.", "Слон 2 ест."]
    if type(tagger) is WithWords:  # .9 sure of nothing else: 1 and 9 are sure of one label or the other
        expected = [one.document.text for one in told.texts]
        assert expected[0] == "Слон 7 спит в тени." and {*expected} < {*TEXTS}
    assert [row["text"] for row in rows] == expected and rows[0]["spans"][0]["label"] == "NAME"
    assert rows[0]["uncertainty"] >= rows[1]["uncertainty"] > 0
    assert told.read == 6 and told.left_out == {"repeated texts": 1, "empty texts": 1}
    assert [row["text"] for row in rows] == [one.document.text for one in told.texts]


def test_texts_of_the_training_are_left_out_and_formats_can_be_imported(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_training_texts(folder, ["Слон 1 ушёл."])
    source = tmp_path / "a.txt"
    source.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    told = suggest(Doubtful(folder), [source], tmp_path / "next.json", count=9, to="label-studio")
    assert told.left_out["texts that the tagger was trained on"] == 1 and len(told.texts) == 3
    tasks = json.loads((tmp_path / "next.json").read_text(encoding="utf-8"))
    assert tasks[0]["predictions"][0]["result"][0]["value"] == {
        "start": 0, "end": 4, "text": "Слон", "labels": ["NAME"],
    }  # fmt: skip
    with pytest.raises(SlonikError, match="predictions of a model are not gold"):
        list(read_documents(tmp_path / "next.json", Counts()))
    suggest(Doubtful(), [source], tmp_path / "brat", count=2, to="brat")
    assert len(list(read_brat(tmp_path / "brat", Counts()))) == 2
    for bad, words in (({"count": 0}, "one text or more"), ({"count": 1, "to": "xml"}, "use jsonl, brat, label-")):
        with pytest.raises(SlonikError, match=words):
            suggest(Doubtful(), [source], tmp_path / "x", **bad)  # type: ignore[arg-type]


def test_spans_of_little_confidence_are_left_out_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("Слон 9 пьёт.\nСлон 7 спит.\nСлон 2 ест.\n", encoding="utf-8")
    found = tag_files(Doubtful(), [source], tmp_path / "a.jsonl", min_confidence=0.7, normal_forms=True)
    assert (found.labels["NAME"], found.unsure) == (2, 1)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(row["spans"]) for row in rows] == [1, 1, 0] and rows[0]["spans"][0]["normal"] == "Слон"
    assert [len(one.spans) for one in tag(Doubtful(), ["Слон 7"], min_confidence=0.8)] == [0]
    for wrong in (-0.1, 80, "x", True):
        with pytest.raises(SlonikError, match="give a number from 0 to 1"):
            tag(Doubtful(), ["Слон 7"], min_confidence=wrong)  # type: ignore[arg-type]
    with pytest.raises(SlonikError, match="--normal-forms are a field of JSONL"):
        tag_files(Doubtful(), [source], tmp_path / "b", to="brat", normal_forms=True)


def test_what_is_asked_to_be_read_is_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Слон 9\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="--from brat reads folders"):
        tag_files(Doubtful(), [tmp_path / "a.txt"], tmp_path / "x", kind="brat")
    with pytest.raises(SlonikError, match="is a folder, which --from jsonl does not read"):
        tag_files(Doubtful(), [tmp_path], tmp_path.parent / "x", kind="jsonl")
    long = "Слон 9" + "а" * 300_000
    assert tag(Doubtful(), long)[0].text == long


def test_parts_have_normal_forms_and_sure_spans_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow as arrow

    folder = tmp_path / "in"
    folder.mkdir()
    parquet.write_table(arrow.table({"text": ["Слон 9", "Слон 2"]}), folder / "a.parquet")
    (tmp_path / "model").mkdir()
    monkeypatch.setattr("slonik.tagging.folders.load_tagger", lambda *_, **__: Doubtful())
    monkeypatch.setattr("slonik.tagging.folders.checkpoint_identity", lambda folder: "x")
    monkeypatch.setattr("slonik.tagging.folders.resolve", lambda folder: folder)
    tag_folder(tmp_path / "model", folder, tmp_path / "out", min_confidence=0.5, normal_forms=True)
    rows = parquet.read_table(tmp_path / "out" / "a.parquet").to_pylist()
    assert [[one["normal"] for one in row["spans"]] for row in rows] == [["Слон"], []]


def test_suggestions_of_documents_keep_their_ids(tmp_path: Path) -> None:
    told = suggest(Doubtful(), [_rows(tmp_path)], tmp_path / "n.jsonl", count=1)
    assert told.texts[0].document == Document("b", "Слон 1 ушёл.", (Span(0, 4, "NAME"),))


def _rows(folder: Path) -> Path:
    path = folder / "a.jsonl"
    rows = [{"id": "a", "text": "Слон 9 пьёт."}, {"id": "b", "text": "Слон 1 ушёл."}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path
