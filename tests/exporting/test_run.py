"""Whole exports, family by family, against torch; what an export writes, and when it writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoModel

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.exporting import parity
from slonik.exporting.run import export
from slonik.models import load
from slonik.runtime.session import open_session, read_metadata
from slonik.text.sentence_config import SentenceConfig
from tests import tiny
from tests.exporting.exported import checkpoint, exported

FAMILIES = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert")


def _torch_hidden(folder: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        return model(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state.numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_file_gives_what_stock_torch_gives_at_any_length_and_batch(family: str) -> None:
    folder, _ = exported(family)
    session = open_session(folder / "onnx" / "model.onnx", threads=1)
    rng = np.random.default_rng(0)
    for length in (1, 6, 23, 60):
        for batch in (1, 3):
            ids = rng.integers(5, 200, (batch, length))
            mask = np.ones_like(ids)
            for row in range(1, batch):
                kept = max(1, length - row * length // 3)
                ids[row, kept:], mask[row, kept:] = 1, 0
            hidden, vectors = session.run(None, {"input_ids": ids, "attention_mask": mask})
            expected = _torch_hidden(checkpoint(family), ids, mask)
            assert np.abs((hidden - expected) * mask[..., None]).max() < 1e-4
            mean = (expected * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            assert np.abs(vectors - mean).max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_holds_its_floor_on_500_texts(family: str) -> None:
    _, report = exported(family)
    assert report.agreement["int8"].texts == 500
    assert report.agreement["int8"].mean_cosine >= parity.floors()["dynamic"]["mean_cosine"]
    assert report.counts["matrices"] >= 4


def test_two_outputs_in_the_order_that_other_clients_read_and_dynamic_axes() -> None:
    folder, _ = exported("bert")
    for name in ("model.onnx", "model_quantized.onnx"):
        session = open_session(folder / "onnx" / name, threads=1)
        assert [item.name for item in session.get_outputs()] == ["last_hidden_state", "sentence_embedding"]
        assert [item.name for item in session.get_inputs()] == ["input_ids", "attention_mask"]
        assert all(isinstance(size, str) for item in session.get_inputs() for size in item.shape)


def test_attention_of_the_int8_file_is_one_node_per_layer_and_matrices_are_int8() -> None:
    folder, _ = exported("bert")
    kinds = [node.op_type for node in onnx.load(folder / "onnx" / "model_quantized.onnx").graph.node]
    assert kinds.count("MultiHeadAttention") == 2
    assert "Softmax" not in kinds
    assert kinds.count("DynamicQuantizeMatMul") == 8


def test_a_file_tells_nothing_of_the_machine_that_made_it() -> None:
    folder, _ = exported("bert")
    for path in (folder / "onnx").glob("*.onnx"):
        assert b".py" not in path.read_bytes()  # torch writes the line of source of every node


def test_folder_holds_what_clients_look_for() -> None:
    folder, report = exported("bert")
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "modules.json", "1_Pooling/config.json"):
        assert (folder / name).is_file()
    assert not list(folder.rglob("*.safetensors"))
    assert SentenceConfig.read(folder) == SentenceConfig.read(checkpoint("bert"))
    assert report.sizes["int8"] == (folder / "onnx" / "model_quantized.onnx").stat().st_size


def test_passport_grows_by_a_step_with_the_calibration_hash_and_the_measurements() -> None:
    folder, _ = exported("bert")
    passport = Passport.read(folder)
    assert passport.lineage[-1].command == "export"
    assert len(passport.lineage[-1].inputs["calibration"]) == 64
    metrics = {(record.task, record.metric): record.value for record in passport.records}
    assert metrics["fp32", "max_difference"] < 1e-4
    assert metrics["int8", "mean_cosine"] > 0.99


def test_metadata_names_precision_length_and_facts() -> None:
    folder, _ = exported("bert", "static")
    expected = {"model.onnx": "fp32", "model_quantized.onnx": "static", "model_fp16.onnx": "fp16"}
    for name, precision in expected.items():
        metadata = read_metadata(open_session(folder / "onnx" / name, threads=1))
        assert metadata["precision"] == precision
        assert metadata["max_length"] == 64
        assert metadata["facts"]["parameters"] > 0


def test_static_int8_and_fp16_hold_their_floors() -> None:
    _, report = exported("bert", "static")
    floors = parity.floors()
    assert report.agreement["int8"].mean_cosine >= floors["static"]["mean_cosine"]
    assert report.agreement["fp16"].mean_cosine >= floors["fp16"]["mean_cosine"]


def test_records_of_an_int8_file_say_which_int8_it_is() -> None:
    for scheme in ("dynamic", "static"):
        records = exported("bert", scheme)[1].records_of("bert")
        assert {record.detail.get("scheme") for record in records if record.task == "int8"} == {scheme}
        assert not any("scheme" in record.detail for record in records if record.task != "int8")


def test_nothing_is_called_faster_before_it_was_measured() -> None:
    _, report = exported("bert")
    assert report.speed_sentences() == ["speed was not measured, so no file is said to be faster"]
    assert not any(record.metric == "ms_per_text" for record in report.records_of("bert"))


def test_a_file_under_its_floor_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {**parity.floors(), "dynamic": {"mean_cosine": 1.1, "min_cosine": 1.1}}
    monkeypatch.setattr(parity, "floors", lambda: strict)
    with pytest.raises(SlonikError, match="under the floor"):
        export(checkpoint("bert"), tmp_path / "out", measure_speed=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("family", "hidden_of"), [("gpt2", lambda m: m), ("t5", lambda m: m.get_encoder())])
def test_gpt2_and_the_encoder_half_of_t5_export_their_hidden_states(family: str, hidden_of: object) -> None:
    from slonik.exporting.fusions import optimise
    from slonik.exporting.torch_graph import SentenceGraph, limits_of, part_to_export, to_onnx

    model = tiny.model(family, layers=1)
    graph = SentenceGraph(part_to_export(model, family), SentenceConfig())
    exported_model = optimise(to_onnx(graph, 64))
    session = onnxruntime.InferenceSession(exported_model.SerializeToString())
    batches = parity.batches_of([[5, 6, 7, 8, 9, 10]], 40, 1)
    assert parity.difference_to_torch(session, graph, batches).largest < 1e-4
    assert "slonik generate" in limits_of(family)[0] and limits_of("bert") == ()


def test_unknown_family_is_one_clear_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "rwkv"
    tiny.checkpoint(folder, "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nystromformer"}))
    with pytest.raises(SlonikError):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_result_is_typed_and_nothing_is_said_or_left_beside_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder = load(checkpoint("bert"), device="cpu")
    capfd.readouterr()
    lines: list[str] = []
    texts = (text for text in ["слон идёт домой", "мышь бежит"] * 20)
    report = export(encoder, tmp_path / "out", corpus=texts, measure_speed=False)
    assert report.checkpoint == tmp_path / "out" and report.seconds > 0 and "".join(capfd.readouterr()) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {record.model for record in report.records} == {encoder.name}
    export(encoder, tmp_path / "out", int8="none", measure_speed=False, overwrite=True, announce=lines.append)
    assert lines == ["fp32 ..."] and not (tmp_path / "out" / "onnx" / "model_quantized.onnx").exists()
    with pytest.raises(SlonikError, match="calibration corpus is empty"):
        export(encoder, tmp_path / "other", corpus=[])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
