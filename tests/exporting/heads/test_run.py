"""Heads as ONNX files: outputs and labels of torch, names that other clients read, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

import slonik
from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.exporting.heads import run
from slonik.exporting.heads.parity import Agreement, check_labels, check_outputs
from slonik.models.task_model import load_task_model, new_task_model, save_task_model
from slonik.runtime.head_session import HeadSession
from slonik.runtime.tagging.calibration import Calibration
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.exporting.heads.headed import CONFIGS, checkpoint, exported
from tests.tiny.texts import TEXTS

ODD = ["", "   ", "Слон 😀 за\u0301мок\u00a0тут", "длинный слон " * 60]
INPUTS = {
    "classifier": ["input_ids", "attention_mask", "token_type_ids"], "several": ["input_ids", "attention_mask"],
    "reranker": ["input_ids", "attention_mask"], "pairs": ["input_ids", "attention_mask", "token_type_ids"],
    "words": ["input_ids", "attention_mask", "token_type_ids", "spans"],
    "tagger": ["input_ids", "attention_mask", "names"], "foreign": ["input_ids", "attention_mask"],
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_every_head_is_held_to_torch_and_int8_to_its_labels(name: str) -> None:
    _, report = exported(name)
    assert report.agreement["fp32"].outputs < 1e-4
    assert report.agreement["fp32"].agreement == 1
    assert report.agreement["int8"].agreement_decided >= 0.97
    card = (exported(name)[0] / "README.md").read_text(encoding="utf-8")
    assert "encode(" not in card and f"'{name}-onnx'" in card
    metrics = {(record.task, record.metric) for record in report.records_of(name)}
    wanted = "correlation" if name == "reranker" else "label_agreement"
    assert {("fp32", "max_difference"), ("int8", wanted), ("int8", "bytes")} <= metrics
    assert ("labels equal" in str(report.table())) == (name != "reranker")


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_and_outputs_have_the_names_that_other_clients_expect(name: str) -> None:
    folder, _ = exported(name)
    for file in ("model.onnx", "model_quantized.onnx"):
        session = HeadSession(folder, file=file, threads=1).session
        assert [item.name for item in session.get_inputs()] == INPUTS[name]
        assert [item.name for item in session.get_outputs()] == ["logits"]
    session = HeadSession(exported("answer")[0], threads=1).session
    assert [item.name for item in session.get_outputs()] == ["start_logits", "end_logits"]


def test_stock_classifier_gives_what_transformers_gives_for_texts_and_pairs() -> None:
    folder, _ = exported("classifier")
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint("classifier")).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("classifier"))
    texts, pairs = TEXTS[:3], list(zip(TEXTS[3:6], TEXTS[6:9], strict=True))
    expected = []
    with torch.inference_mode():
        for given in (*((text,) for text in texts), *pairs):
            expected.append(model(**tokenizer(*given, return_tensors="pt")).logits[0].numpy())
    found = slonik.load(folder, file="model.onnx").logits([*texts, *pairs])
    assert np.abs(found - np.stack(expected)).max() < 1e-5
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "да", "1": "нет", "2": "1"}


def test_stock_answers_are_those_of_the_class() -> None:
    folder, _ = exported("answer")
    model = AutoModelForQuestionAnswering.from_pretrained(checkpoint("answer")).eval()
    encoded = AutoTokenizer.from_pretrained(checkpoint("answer"))(TEXTS[0], TEXTS[1], return_tensors="np")
    with torch.inference_mode():
        expected = model(**{name: torch.from_numpy(array) for name, array in encoded.items()})
    session = HeadSession(folder, file="model.onnx", threads=1)
    start, end = session.session.run(["start_logits", "end_logits"], dict(encoded))
    assert np.abs(start - expected.start_logits.numpy()).max() < 1e-5
    assert np.abs(end - expected.end_logits.numpy()).max() < 1e-5


def test_static_int8_and_fp16_hold_their_floors_and_run_together() -> None:
    folder, report = exported("pairs")
    assert set(report.agreement) == {"fp32", "int8", "fp16"}
    assert report.agreement["fp16"].outputs < 0.05
    model = slonik.load(folder)
    rows = list(zip(TEXTS[:6], TEXTS[6:12], strict=True))
    alone = np.concatenate([model.logits([row]) for row in rows])
    assert not model.alone and np.abs(model.logits(rows) - alone).max() < 1e-5


def test_passport_and_file_name_the_weights_that_they_were_made_from() -> None:
    folder, _ = exported("classifier")
    step = Passport.read(folder).lineage[-1]
    said = HeadSession(folder, threads=1).metadata["head"]
    assert said["weights"] == step.inputs["parent"] == load_task_model(checkpoint("classifier")).weights_hash()
    assert said["labels"] == ["да", "нет", "1"] and said["target"] == "single"


def test_long_texts_can_be_chosen_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "parity_texts", lambda: TEXTS[:10])
    model = load_task_model(checkpoint("classifier"))
    slonik.export(model, tmp_path / "out", int8="none", measure_speed=False, long_texts="refuse")
    with pytest.raises(SlonikError, match="48"):
        slonik.load(tmp_path / "out").predict([ODD[-1]])
    assert slonik.load(tmp_path / "out", long_texts="average").predict([ODD[-1]])


@pytest.mark.parametrize(("name", "option", "sentence"), [("classifier", {"judge": lambda folder: []}, "has a head")])
def test_what_measures_vectors_is_no_judge_of_a_head(
    tmp_path: Path, name: str, option: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SlonikError, match=sentence):
        slonik.export(checkpoint(name), tmp_path / "out", **option)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "words"), [("crf", "hand-made features"), ("bilstm", "word vectors")])
def test_taggers_without_an_encoder_are_refused(tmp_path: Path, kind: str, words: str) -> None:
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "tagger.json").write_text(json.dumps({"kind": kind}))
    with pytest.raises(SlonikError, match=words):
        slonik.export(tmp_path / "tagger", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_texts_that_nothing_parts_are_refused(tmp_path: Path) -> None:
    """Of ids alone a graph cannot say where the second text begins; torch is told by the tokenizer."""
    base = tiny.checkpoint(tmp_path / "base", "bert")
    path = base / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}))
    config = TaskConfig(kind="pair", labels=("0", "1"), columns={"text": ["a", "b"]}, max_length=48)
    save_task_model(new_task_model(models.load(base, device="cpu"), config).eval(), tmp_path / "pairs")
    with pytest.raises(SlonikError, match="puts nothing between them"):
        slonik.export(tmp_path / "pairs", tmp_path / "out", measure_speed=False)
    assert not (tmp_path / "out").exists()


def test_the_head_can_be_left_out_when_that_is_asked_for(tmp_path: Path) -> None:
    slonik.export(checkpoint("classifier"), tmp_path / "out", role="encoder", int8="none", measure_speed=False)
    found, expected = (slonik.load(folder).encode(TEXTS[:2]) for folder in (tmp_path / "out", checkpoint("classifier")))
    assert np.abs(found - expected).max() < 1e-5


def test_floors_are_kept_in_a_sentence() -> None:
    bad = Agreement(100, 80, 0.8, 0.9, 0.8, None, 0.01, 0.4, 0.5)
    with pytest.raises(SlonikError, match=r"90\.00% of the decided labels .* nothing is written; try --int8 static"):
        check_labels("model", "dynamic", bad)
    number = Agreement(100, 100, 1.0, 1.0, None, 0.9, 0.01, 0.4, 0.5)
    with pytest.raises(SlonikError, match=r"correlation of 0\.9000 .* leave --fp16 out"):
        check_labels("model", "fp16", number)
    with pytest.raises(SlonikError, match="differs from torch by nan"):
        check_outputs("model", float("nan"))


def test_calibrated_confidence_is_exported_with_the_tagger(tmp_path: Path) -> None:
    source = tmp_path / "tagger"
    shutil.copytree(checkpoint("tagger"), source)
    plain = slonik.load(source).tag(TEXTS[:4])
    Calibration(0.5, -1.0).write(source)
    slonik.export(source, tmp_path / "out", int8="none", measure_speed=False)
    for folder in (source, tmp_path / "out"):
        found = slonik.load(folder).tag(TEXTS[:4])
        assert any(found) and found == plain  # spans are the same
        for before, after in zip(plain, found, strict=True):
            wanted = [span.confidence for span in Calibration(0.5, -1.0).apply(before)]
            assert [span.confidence for span in after] == pytest.approx(wanted, abs=1e-3)
