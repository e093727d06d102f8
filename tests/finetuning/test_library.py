"""`slonik.finetune` and `predict` from Python: objects as well as paths, typed results, silence; nothing stale."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.passport import Passport
from slonik.finetuning.finetune import Finetuned, finetune
from slonik.finetuning.predict import predict
from slonik.models.generation import load_generator
from slonik.models.language_model import load_language_model
from slonik.models.task_model import load_task_model
from tests import tiny
from tests.finetuning.finetune_data import MUSERC_ROW, NAMES, PLACES, terra, write_lines, writing_model

TINY: dict[str, Any] = {"seeds": 1, "max_length": 32, "set": ["tuning.max_steps=2", "tuning.precision=fp32"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("library")
    tiny.checkpoint(root / "bert", "bert")
    for family in ("t5", "gpt2"):
        writing_model(root, family)
    return root


def rows() -> list[dict[str, Any]]:
    return [
        {"text": f"{NAMES[n % 12]} в {PLACES[n % 7]} {'точно' if n % 2 else 'никогда'}", "label": bool(n % 2)}
        for n in range(40)
    ]


class Frame:
    """As much of a data frame as is asked for, with the values that frames have."""

    def __init__(self, content: list[dict[str, Any]]) -> None:
        self._content = content

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [
            {name: np.bool_(value) if isinstance(value, bool) else value for name, value in row.items()}
            for row in self._content
        ]


def answers(found: Finetuned) -> str:
    assert found.checkpoint is not None
    path = found.checkpoint / "predictions" / "seed0" / "custom.held_out.jsonl"
    return path.read_text(encoding="utf-8")


def test_rows_frames_and_loaded_models_do_what_files_and_names_do(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "rows.jsonl", rows())
    by_name = finetune(str(folder / "bert"), path, out=tmp_path / "a", **TINY)
    loaded = models.load(folder / "bert")
    before = loaded.weights_hash()
    by_rows = finetune(loaded, rows(), out=tmp_path / "b", **TINY)
    by_frame = finetune(folder / "bert", Frame(rows()), out=tmp_path / "c", **TINY)
    assert answers(by_name) == answers(by_rows) == answers(by_frame)
    assert loaded.weights_hash() == before
    inputs = Passport.read(tmp_path / "a").lineage[-1].inputs
    assert inputs["parent"] == before and inputs["data"] == sha256_file(path)
    assert by_name.records and by_name.models == {"custom": tmp_path / "a"} and by_name.seconds > 0
    written = finetune(load_language_model(folder / "gpt2"), rows(), out=tmp_path / "d", **TINY)
    assert answers(written) == answers(finetune(folder / "gpt2", rows(), out=tmp_path / "e", **TINY))
    said = capfd.readouterr()
    assert said.out == "" and all("measured on 8 items alone" in line for line in said.err.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d", "e", "rows.jsonl"]


def test_progress_is_shown_when_it_is_asked_for(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    finetune(folder / "bert", rows(), out=tmp_path / "out", progress=True, **TINY)
    assert "custom: seed 0 ..." in capfd.readouterr().err


def test_predict_takes_texts_rows_frames_and_loaded_models(folder: Path, tmp_path: Path) -> None:
    out = finetune(folder / "bert", rows(), out=tmp_path / "out", **TINY).checkpoint
    assert out is not None
    texts = [row["text"] for row in rows()[:5]]
    found = predict(out, texts, batch_size=2)
    assert [one.row["idx"] for one in found] == [0, 1, 2, 3, 4]
    assert all(one.label in ("true", "false") and sum(one.probabilities.values()) > 0.99 for one in found)
    labels = [one.label for one in found]
    model = load_task_model(out)
    for given in (rows()[:5], Frame(rows()[:5]), write_lines(tmp_path / "rows.jsonl", rows()[:5])):
        assert [one.label for one in predict(model, given)] == labels
    with pytest.raises(SlonikError, match="row 1 has 2 texts, and the task reads text"):
        predict(out, [("а", "б")])
    with pytest.raises(SlonikError, match="row 1: the column 'text' is missing"):
        predict(out, [{"txt": "а"}])
    with pytest.raises(SlonikError, match="row 1: the column 'text' is null"):
        predict(out, [{"text": None}])
    with pytest.raises(SlonikError, match="is a model for custom, not for other"):
        predict(model, texts, task="other")
    assert predict(out, []) == []
    assert [one.label for one in predict(model, texts[0])] == labels[:1]
    assert len(predict(model, "слон " * 2000)) == 1
    with pytest.raises(SlonikError, match=r"no-such\.csv"):
        predict(model, "no-such.csv")


def test_predict_answers_official_tasks_with_baselines_and_models_as_they_are(folder: Path, tmp_path: Path) -> None:
    data = terra(tmp_path / "data")
    pairs = [("Анна идёт в сад.", "Анна идёт в сад точно."), ("Анна идёт в сад.", "Анна идёт в сад никогда.")]
    found = predict("tfidf", pairs, task="terra", data_dir=data)
    assert [one.row["idx"] for one in found] == [0, 1]
    assert {one.label for one in found} <= {"entailment", "not_entailment"}
    assert found[0].probabilities["entailment"] > found[1].probabilities["entailment"]
    nested = predict("tfidf", [MUSERC_ROW], task="muserc")[0]
    assert set(nested.label) == {7, 8, 9} and nested.row["passage"]["questions"]
    writer = load_generator(folder / "t5", max_length=48)
    assert predict(writer, pairs, task="terra")[0].label in ("entailment", "not_entailment")
    with pytest.raises(SlonikError, match="has no task of its own"):
        predict(folder / "t5", pairs)


def test_what_is_no_data_is_named(folder: Path, tmp_path: Path) -> None:
    for data, sentence in (
        ([], "the data has no rows"),
        (7, "the data is of type int"),
        ([{"text": "а"}], "the data, row 1: .*'label'"),
        ([{"text": "а", "label": float("nan")}], "the data, row 1: .*'label'"),
        (None, "give either tasks of Russian SuperGLUE or your own training file"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            finetune(folder / "bert", data, out=tmp_path / "out", **TINY)
    assert list(tmp_path.iterdir()) == []


# What was made from something else is never handed back.


def _label(where: Path) -> dict[str, Any]:
    changed = rows()
    changed[0]["label"] = not changed[0]["label"]
    write_lines(where / "rows.jsonl", changed)
    return {}


def _weights(name: str) -> Callable[[Path], dict[str, Any]]:
    def change(where: Path) -> dict[str, Any]:
        path = where / name / "model.safetensors"
        tensors = load_file(path)
        first = next(key for key in sorted(tensors) if tensors[key].dtype == torch.float32)
        save_file({**tensors, first: tensors[first] + 0.01}, path, metadata={"format": "pt"})
        return {}

    return change


def _config(where: Path) -> dict[str, Any]:
    path = where / "bert" / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "hidden_act": "relu"}), encoding="utf-8")
    return {}


def _tokenizer(where: Path) -> dict[str, Any]:
    path = where / "bert" / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "normalizer": {"type": "Lowercase"}}), encoding="utf-8")
    return {}


def _field(**fields: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda _: fields


CHANGES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a label of the data file": _label,
    "the model's weights": _weights("bert"),
    "the model's config": _config,
    "the model's tokenizer": _tokenizer,
    "the teacher's weights": _weights("teacher"),
    "a setting": _field(learning_rate=1e-3),
    "the label column": _field(label_column="other"),
    "the first seed": _field(seed=5),
    "the share to stop by": _field(set=[*TINY["set"], "stopping=0.3"]),
    "the share of the teacher": _field(set=[*TINY["set"], "teaching.weight=0.9"]),
}


@pytest.fixture(scope="module")
def teacher(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "teacher"
    finetune(folder / "bert", rows(), out=out, **TINY)
    return out


def _call(announce: Callable[[str], None], **fields: Any) -> None:
    """One call in the current folder, which `announce` interrupts."""
    given = {**TINY, "seeds": 2, "teachers": ["teacher"], "announce": announce, **fields}
    with pytest.raises(KeyboardInterrupt):
        finetune("bert", "rows.jsonl", out="out", **given)
    assert not Path("out").exists()


@pytest.fixture(scope="module")
def begun(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is given, and with a run that was interrupted after the first of two seeds."""
    place = tmp_path_factory.mktemp("begun") / "place"
    tiny.checkpoint(place / "bert", "bert")
    shutil.copytree(teacher, place / "teacher")
    write_lines(place / "rows.jsonl", [{**row, "other": not row["label"]} for row in rows()])
    lines: list[str] = []

    def announce(line: str) -> None:
        lines.append(line)
        if line.startswith("custom: seed 1"):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        _call(announce)
    assert any("the same command goes on" in line for line in lines)
    return place


@pytest.mark.parametrize("change", ["nothing", *CHANGES])
def test_a_second_call_with_one_thing_changed_is_never_done_before(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """What is announced of the first seed, before it is trained."""
    monkeypatch.chdir(shutil.copytree(begun, tmp_path / "place"))
    lines: list[str] = []

    def announce(line: str) -> None:
        lines.append(line)
        if line.startswith("custom: seed"):
            raise KeyboardInterrupt

    _call(announce, **(CHANGES[change](Path()) if change in CHANGES else {}))
    said = next(line for line in lines if line.startswith("custom: seed"))
    seed = 5 if change == "the first seed" else 0
    assert said.startswith(f"custom: seed {seed}") and said.endswith(": done before") == (change == "nothing")
