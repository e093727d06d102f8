"""Predictions on disk: the round trip, and everything that must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.predictions import (
    Prediction,
    check_items,
    find_predictions,
    predicted,
    read_predictions,
    write_predictions,
)
from slonik.evaluation.russian_superglue.readers import read_examples
from tests.evaluation.russian_superglue import samples
from tests.evaluation.russian_superglue.samples import write_rows


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """A data file, and predictions of it."""
    data = write_rows(tmp_path / "val.jsonl", samples.TERRA)
    examples = read_examples("terra", data)
    rows = [Prediction(e.idx, "entailment", {"entailment": 0.7, "not_entailment": 0.3}) for e in examples]
    found = predicted("terra", "val", examples, rows[::-1], model="m", seed=3, weights="w", detail={"a": 1})
    return data, write_predictions(tmp_path / "out", found)


def test_what_is_written_is_read(saved: tuple[Path, Path]) -> None:
    data, path = saved
    found = read_predictions(path)
    assert path.name == "terra.val.jsonl" and find_predictions(path.parent) == [path]
    assert (found.header.model, found.header.seed, found.header.n, found.header.split) == ("m", 3, 12, "val")
    rows = check_items(found, read_examples("terra", data), "the file")
    assert [row.idx for row in rows] == list(range(12))
    assert rows[0].probabilities == {"entailment": 0.7, "not_entailment": 0.3}
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["label"] == "entailment"


def test_muserc_and_rucos_keep_their_numbers_and_texts(tmp_path: Path) -> None:
    for task, rows in (("muserc", samples.MUSERC), ("rucos", samples.RUCOS)):
        examples = read_examples(task, write_rows(tmp_path / f"{task}.jsonl", rows))
        answers = [Prediction(e.idx, 1 if task == "muserc" else e.fields["entities"][0]) for e in examples]
        path = write_predictions(tmp_path / "out", predicted(task, "val", examples, answers, model="m"))
        assert list(read_predictions(path).rows) == answers


def test_a_cut_file_is_refused(saved: tuple[Path, Path]) -> None:
    _, path = saved
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="has 11 predictions, its header says 12: the file is cut"):
        read_predictions(path)
    path.write_text("\n".join(lines)[:-10], encoding="utf-8")
    with pytest.raises(SlonikError, match="line 12 is not sound JSON"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"idx": 0, "label": "yes"}, "'yes' is not a label of TERRa"),
        ({"idx": 0}, "'label' is missing"),
        ({"label": "entailment"}, "'idx' is missing"),
        ({"idx": 0, "label": "entailment", "probabilities": {"entailment": 2}}, "numbers between 0 and 1"),
        ({"idx": 0, "label": "entailment", "probabilities": {"entailment": 1.0}}, "the labels of TERRa are"),
        (
            {"idx": 0, "label": "entailment", "probabilities": {"entailment": 0.2, "not_entailment": 0.2}},
            "sum to 0.4000",
        ),
    ],
)
def test_wrong_lines_are_refused(line: dict[str, object], sentence: str, saved: tuple[Path, Path]) -> None:
    _, path = saved
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([json.dumps(line), *lines[1:]]), encoding="utf-8")
    with pytest.raises(SlonikError, match=sentence):
        read_predictions(path)


def test_another_protocol_version_is_refused(saved: tuple[Path, Path]) -> None:
    _, path = saved
    header = path.with_name("terra.val.header.json")
    content = json.loads(header.read_text(encoding="utf-8"))
    header.write_text(json.dumps({**content, "protocol": "russian_superglue-1.0"}), encoding="utf-8")
    with pytest.raises(SlonikError, match=r"'russian_superglue-1\.0', this is 'russian_superglue-1\.1'.*do not mix"):
        read_predictions(path)
    header.write_text("{}", encoding="utf-8")
    with pytest.raises(SlonikError, match="is not a header of predictions: task"):
        read_predictions(path)
    header.unlink()
    with pytest.raises(SlonikError, match="there is no header"):
        read_predictions(path)


def test_predictions_of_other_items_are_refused(saved: tuple[Path, Path], tmp_path: Path) -> None:
    _, path = saved
    found = read_predictions(path)
    rows = [{**row, "premise": row["premise"] + " Так и было."} for row in samples.TERRA]
    other = read_examples("terra", write_rows(tmp_path / "other.jsonl", rows))
    with pytest.raises(SlonikError, match="same numbers, other texts"):
        check_items(found, other, "the file")
    with pytest.raises(SlonikError, match="which is no item"):
        check_items(found, other[:5], "the file")
