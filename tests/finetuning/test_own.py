"""Fine-tuning on one's own files: every kind trains, is saved and answers; bad columns, labels and rows are named."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.labelled import read_questions, read_rows
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.finetune import run_finetune
from slonik.finetuning.predictors import open_predictor
from tests import tiny
from tests.finetuning.finetune_data import NAMES, PLACES, write_lines

FAST = {"batch_texts": 8, "learning_rate": 3e-3, "layer_decay": 1.0, "max_length": 48, "precision": "fp32", "epochs": 5}


def rows() -> list[dict[str, Any]]:
    made = []
    for number in range(40):
        good = number % 2 == 0
        text = f"{NAMES[number % 12]} в {PLACES[number % 7]} {'точно' if good else 'никогда'}"
        row = {"id": f"n{number}", "text": text, "other": PLACES[number % 5], "label": good}
        made.append({**row, "tags": "а;б" if good else ["б"], "mark": 3.5 if good else 0.5})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    tiny.checkpoint(root / "model", "bert")
    write_lines(root / "train.jsonl", rows())
    with open(root / "train.csv", "w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=["text", "label"])
        writer.writeheader()
        writer.writerows({"text": row["text"], "label": "да" if row["label"] else "нет"} for row in rows())
    asked = [
        {"context": f"{name} живёт в городе {place}.", "question": "Кто живёт?",
         "answers": {"answer_start": [0], "text": [name]}}
        for name in NAMES for place in PLACES[:3]
    ]  # fmt: skip
    write_lines(root / "qa.jsonl", asked)
    return root


def train(folder: Path, out: str, *, epochs: int = 5, **own: Any) -> tuple[dict[str, float], Any]:
    recipe = FinetuneRecipe.model_validate(
        {
            "model": str(folder / "model"),
            "out": str(folder / out),
            "own": own,
            "seeds": 1,
            "tuning": {**FAST, "epochs": epochs},
        }
    )
    found = run_finetune(recipe)
    figures = {record.metric: record.value for record in found.records if record.model == recipe.model}
    return figures, open_predictor("custom", str(folder / out))  # type: ignore[return-value]


def test_labels_from_a_table_are_learned_and_predicted_by_name(folder: Path) -> None:
    figures, predictor = train(folder, "classes", train=str(folder / "train.csv"))
    assert figures["accuracy"] >= 0.9
    given = [predictor.read(row, "line") for row in rows()[:4]]
    answers = predictor.answer(given, probabilities=True)
    assert [answer["idx"] for answer in answers] == ["n0", "n1", "n2", "n3"]
    assert [answer["label"] for answer in answers] == ["да", "нет", "да", "нет"]
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5) for answer in answers)
    saved = (folder / "classes" / "predictions" / "seed0" / "custom.held_out.jsonl").read_text(encoding="utf-8")
    assert len(saved.splitlines()) == pytest.approx(8, abs=2)
    with pytest.raises(SlonikError, match="line 7: the column 'text' is missing"):
        predictor.read({"txt": "а"}, "line 7")


@pytest.mark.parametrize(
    ("kind", "fields", "metric"),
    [
        ("pair", {"text_columns": ("text", "other")}, "accuracy"),
        ("multilabel", {"label_column": "tags"}, "micro_f1"),
        ("regression", {"label_column": "mark"}, "spearman"),
    ],
)
def test_other_kinds_are_learned(folder: Path, kind: str, fields: dict[str, Any], metric: str) -> None:
    figures, predictor = train(folder, kind, train=str(folder / "train.jsonl"), kind=kind, **fields)
    assert figures[metric] > 0.75
    first, second = (
        a["label"] for a in predictor.answer([predictor.read(r, "") for r in rows()[:2]], probabilities=False)
    )
    if kind == "regression":
        assert first > 2 > second
    else:
        assert (first, second) == ((["а", "б"], ["б"]) if kind == "multilabel" else ("true", "false"))


def test_answers_are_pieces_of_their_texts(folder: Path) -> None:
    figures, predictor = train(folder, "qa", epochs=10, train=str(folder / "qa.jsonl"), kind="qa")
    assert set(figures) == {"f1", "em"} and figures["f1"] > 0.5
    row = {"context": "Глеб живёт в городе порт.", "question": "Кто живёт?"}
    answer = predictor.answer([predictor.read(row, "")], probabilities=True)[0]
    assert answer["label"] in row["context"] and 0 < answer["probability"] <= 1
    path = folder / "qa" / "predictions" / "seed0" / "custom.held_out.jsonl"
    saved = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    asked = [json.loads(line) for line in (folder / "qa.jsonl").read_text(encoding="utf-8").splitlines()]
    given = [predictor.read(asked[line["idx"]], "") for line in saved]
    again = predictor.answer(given, probabilities=False)
    assert len(saved) > 3 and [line["label"] for line in saved] == [line["label"] for line in again]


def test_what_is_wrong_in_a_file_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"train\.jsonl, line 1: .*did you mean 'label'"):
        read_rows(folder / "train.jsonl", ("text", "labl"))
    (tmp_path / "cut.jsonl").write_text('{"text": "а", "label": 1}\n{"text": ', encoding="utf-8")
    with pytest.raises(SlonikError, match=r"cut\.jsonl, line 2: not JSON"):
        read_rows(tmp_path / "cut.jsonl", ("text",))
    (tmp_path / "t.csv").write_text("text,label\nа,б,в\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="more cells than the header"):
        read_rows(tmp_path / "t.csv", ("text",))
    (tmp_path / "office.csv").write_text("text;label\nа, б;в\n", encoding="utf-8-sig")
    assert read_rows(tmp_path / "office.csv", ("text", "label")) == [{"text": "а, б", "label": "в"}]
    with pytest.raises(SlonikError, match=r"neither \.jsonl nor \.csv"):
        read_rows(tmp_path / "t.txt", ("text",))
    write_lines(
        tmp_path / "qa.jsonl", [{"context": "Дом.", "question": "?", "answers": [{"answer_start": 1, "text": "Дом"}]}]
    )
    with pytest.raises(SlonikError, match="does not stand at character 1"):
        read_questions(tmp_path / "qa.jsonl")
    squad = {"data": [{"paragraphs": [{"context": "Дом стоит.", "qas": [
        {"id": "1", "question": "Что?", "answers": [{"answer_start": 0, "text": "Дом"}]},
        {"id": "2", "question": "Где?", "is_impossible": True, "answers": []}]}]}]}  # fmt: skip
    (tmp_path / "squad.json").write_text(json.dumps(squad), encoding="utf-8")
    assert [len(one.answers) for one in read_questions(tmp_path / "squad.json")] == [1, 0]
    for own, sentence in (
        (
            {"train": str(folder / "train.jsonl"), "kind": "regression", "label_column": "text"},
            r"jsonl, row 1: .* not a number",
        ),
        ({"train": str(folder / "train.jsonl"), "kind": "pair"}, "two text columns"),
        ({"train": str(folder / "train.jsonl"), "label_column": "kind"}, "kind"),
        ({"train": str(folder / "train.jsonl"), "kind": "text2text"}, "is an encoder"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            train(folder, "bad", **own)
