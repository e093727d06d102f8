"""Exported heads without torch: the answers of the checkpoint, odd texts, and files that do not belong together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.core.protocols import Classifier
from slonik.runtime import open_model
from slonik.text.task_config import TaskConfig
from tests.exporting.heads.headed import checkpoint, exported
from tests.tiny.texts import TEXTS

ODD = ["", "   ", "Слон 😀 за\u0301мок\u00a0тут \U000e0041", "длинный слон " * 60, "сло\udcffн"]
ROWS: dict[str, list[Any]] = {
    "classifier": [*TEXTS[:5], *ODD, *zip(TEXTS[5:8], [*ODD[:2], TEXTS[0]], strict=True)],
    "several": [*TEXTS[:5], *ODD],
    "reranker": [(TEXTS[0], text) for text in [*TEXTS[1:6], *ODD]],
    "pairs": [*zip(TEXTS[:5], ODD, strict=True), {"premise": TEXTS[5], "hypothesis": TEXTS[6]}],
    "apart": list(zip(TEXTS[:5], ODD, strict=True)),
}


@pytest.mark.parametrize("name", ROWS)
def test_scores_and_answers_are_those_of_torch(name: str) -> None:
    expected, found = slonik.load(checkpoint(name)), slonik.load(exported(name)[0], file="model.onnx")
    assert isinstance(found, Classifier) and isinstance(expected, Classifier)
    assert (found.target, found.labels) == (expected.target, expected.labels)
    assert np.abs(found.logits(ROWS[name]) - expected.logits(ROWS[name])).max() < 1e-5
    for a, b in zip(found.predict(ROWS[name]), expected.predict(ROWS[name]), strict=True):
        assert a.label == b.label if found.target != "number" else a.label == pytest.approx(b.label, abs=1e-5)
        assert dict(a.probabilities) == pytest.approx(dict(b.probabilities), abs=1e-5)
    for way in ("truncate", "average") if name != "apart" else ("truncate",):
        gap = found.logits(ROWS[name], long_texts=way) - expected.logits(ROWS[name], long_texts=way)
        assert np.abs(gap).max() < 1e-5
    with pytest.raises(SlonikError, match="48"):
        found.logits(ROWS[name], long_texts="refuse")


def test_an_answer_does_not_depend_on_its_neighbours() -> None:
    model = slonik.load(exported("classifier")[0], threads=2)
    rows = ROWS["classifier"]
    assert model.alone
    assert np.array_equal(model.logits(rows), np.concatenate([model.logits([row]) for row in rows]))


def test_no_label_over_its_threshold_is_no_label(tmp_path: Path) -> None:
    folder = shutil.copytree(exported("several")[0], tmp_path / "several")
    task = json.loads((folder / "task.json").read_text())
    task["details"]["thresholds"] = {"а": 1.0, "б": 1.0}
    (folder / "task.json").write_text(json.dumps(task))
    assert slonik.load(folder).predict(TEXTS[:1])[0].label == []


def test_choices_and_spans_are_those_of_torch() -> None:
    rows = [(TEXTS[0], TEXTS[1:4]), (TEXTS[4], [ODD[2], ODD[3]]), ("", ["а", "б", "в", "г"])]
    expected, found = slonik.load(checkpoint("choice")), slonik.load(exported("choice")[0], file="model.onnx")
    assert [one.label for one in found.predict(rows)] == [one.label for one in expected.predict(rows)]
    asked = [("Кто?", TEXTS[0]), ("Где?", " ".join(TEXTS)), ("Когда?", ODD[2]), {"question": "", "context": ""}]
    expected, found = slonik.load(checkpoint("answer")), slonik.load(exported("answer")[0], file="model.onnx")
    for a, b in zip(found.predict(asked), expected.predict(asked), strict=True):
        assert (a.label, a.start, a.end) == (b.label, b.start, b.end)
    with pytest.raises(SlonikError, match="no scores"):
        found.logits(asked)


def test_official_rows_are_answered_from_an_exported_folder() -> None:
    from slonik.finetuning.items import Item
    from slonik.finetuning.row_predictor import OnnxAnswerer
    from slonik.text.pairs import TaskInput, TextSpan

    given = TaskInput(((TEXTS[0], TEXTS[2]),), (TextSpan(0, 0, 10, 14), TextSpan(0, 1, 5, 9)))
    found = OnnxAnswerer(slonik.load(exported("words")[0], file="model.onnx")).answer([Item(0, given, None, "")])
    from slonik.finetuning.predictors import load_answerer

    expected = load_answerer(checkpoint("words")).answer([Item(0, given, None, "")])
    assert np.abs(found[0] - expected[0]).max() < 0.02  # torch multiplies in bfloat16 there


def test_it_says_what_it_is() -> None:
    model = open_model(exported("classifier")[0])
    facts = model.describe()
    assert facts["labels"] == ["да", "нет", "1"] and facts["target"] == "single" and facts["precision"] == "dynamic"
    assert (
        "3 labels" in repr(model)
        and model.identity() != open_model(exported("classifier")[0], file="model.onnx").identity()
    )


def test_neither_torch_nor_transformers_is_imported() -> None:
    program = (
        "import sys, slonik; model = slonik.load(sys.argv[1]); model.predict(['слон']); "
        "slonik.predict(sys.argv[1], ['слон']); slonik.tag(sys.argv[2], ['Слон']); "
        "slonik.load(sys.argv[2]).predict(['а']); "
        "heavy = {'torch', 'transformers', 'onnx', 'safetensors', 'scipy', 'sklearn'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    folders = [str(exported(name)[0]) for name in ("classifier", "tagger")]
    subprocess.run([sys.executable, "-c", program, *folders], check=True, timeout=120)


def _changed(tmp_path: Path, name: str, file: str, content: bytes | None) -> Path:
    folder = shutil.copytree(exported(name)[0], tmp_path / "copy")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    return folder


def _other() -> bytes:
    return (exported("several")[0] / "onnx" / "model_quantized.onnx").read_bytes()


def _task(**changes: Any) -> bytes:
    return json.dumps(TaskConfig.read(exported("classifier")[0]).model_dump(mode="json") | changes).encode()


@pytest.mark.parametrize(
    ("name", "file", "content", "sentence"),
    [
        ("classifier", "task.json", lambda: _task(labels=["нет", "да", "1"]), "made for labels да, нет, 1"),
        ("classifier", "task.json", lambda: _task(labels=["да", "нет"]), "made for labels"),
        ("classifier", "task.json", lambda: _task(labels=["да", "да", "1"]), "labels repeat"),
        ("classifier", "task.json", lambda: b"{", "not readable JSON"),
        ("classifier", "task.json", lambda: _task(target="answer", kind="answer", labels=[]), "needs start_logits"),
        ("classifier", "onnx/model_quantized.onnx", lambda: _other(), "the file of another model"),
        ("classifier", "onnx/model_quantized.onnx", lambda: b"no graph", "cannot be opened"),
        ("tagger", "chain.safetensors", lambda: None, "chain.safetensors"),
        ("tagger", "chain.safetensors", lambda: b"no tensors", "chain.safetensors"),
        ("tagger", "names.json.gz", lambda: b"no list", "names.json.gz"),
        ("classifier", "tokenizer.json", lambda: b"{}", "is damaged"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_together_are_one_sentence(
    tmp_path: Path, name: str, file: str, content: Any, sentence: str
) -> None:
    folder = _changed(tmp_path, name, file, content())
    with pytest.raises(SlonikError, match=sentence):
        slonik.load(folder)


def test_a_file_from_other_weights_is_told_by_the_passport(tmp_path: Path) -> None:
    folder = shutil.copytree(exported("classifier")[0], tmp_path / "copy")
    passport = json.loads((folder / "passport.json").read_text())
    passport["lineage"][-1]["inputs"]["parent"] = "0" * 64
    (folder / "passport.json").write_text(json.dumps(passport))
    with pytest.raises(SlonikError, match="made from other weights"):
        slonik.load(folder)


def test_a_folder_of_another_tool_is_read_by_its_config_alone(tmp_path: Path) -> None:
    folder = shutil.copytree(exported("classifier")[0], tmp_path / "copy")
    for name in ("task.json", "passport.json"):
        (folder / name).unlink()
    found = slonik.load(folder, file="model.onnx")
    assert found.labels == ("да", "нет", "1") and found.predict(TEXTS[:1])[0].label in found.labels
    config = json.loads((folder / "config.json").read_text())
    config["id2label"].popitem()
    (folder / "config.json").write_text(json.dumps(config | {"label2id": None}))
    with pytest.raises(SlonikError, match="made for labels"):
        slonik.load(folder, file="model.onnx")


def test_options_that_do_nothing_are_refused() -> None:
    with pytest.raises(SlonikError, match="not loaded with device="):
        slonik.load(exported("classifier")[0], device="cpu")
    with pytest.raises(SlonikError, match="long_texts is 'cut'"):
        slonik.load(exported("classifier")[0], long_texts="cut")
    with pytest.raises(SlonikError, match="reads long texts in windows"):
        slonik.load(exported("tagger")[0], long_texts="truncate")
    with pytest.raises(SlonikError, match="gives logits of a head and no vectors"):
        slonik.runtime.load(exported("classifier")[0])
