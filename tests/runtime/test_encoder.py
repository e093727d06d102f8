"""The torch-free encoder against the torch one, alone against in company, and every broken folder."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.protocols import Encoder, PoolingEncoder, TokenEncoder
from tests import tiny
from tests.exporting.exported import checkpoint, exported
from tests.tiny.layouts import edit

TEXTS = [*tiny.TEXTS, "", " ", "ё", "naïve café 你好"]
LONG = " ".join(tiny.TEXTS)


@pytest.fixture(scope="module")
def folder() -> Path:
    return exported("bert")[0]


@pytest.fixture(scope="module")
def torch_encoder() -> models.TorchEncoder:
    return models.load(checkpoint("bert"))


def test_fp32_gives_the_vectors_of_torch(folder: Path, torch_encoder: models.TorchEncoder) -> None:
    encoder = slonik.load(folder, file="model.onnx", threads=1)
    for prefix in (None, "", "passage: "):
        difference = encoder.encode(TEXTS, prefix=prefix) - torch_encoder.encode(TEXTS, prefix=prefix)
        assert np.abs(difference).max() < 1e-5


def test_leading_dimensions_are_those_of_torch(folder: Path, torch_encoder: models.TorchEncoder) -> None:
    texts = ["слон идёт домой", "да"]
    loaded = slonik.load(folder, file="model.onnx", dimensions=4)
    whole = slonik.load(folder, file="model.onnx").encode(texts)
    assert loaded.dimension == 4 and not loaded.sentence.normalize
    expected = whole[:, :4]  # of any length, as whole vectors are
    for found in (
        loaded.encode(texts),
        torch_encoder.encode(texts, dimensions=4),
        loaded.encode_ids(loaded.tokenize(texts)),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert loaded.identity() != slonik.load(folder, file="model.onnx").identity()
    assert {kind: vectors.shape[1] for kind, vectors in loaded.encode_poolings(texts, ["mean"]).items()} == {"mean": 4}
    with pytest.raises(SlonikError, match="dimensions is 999, and"):
        torch_encoder.encode(texts, dimensions=999)


def test_it_is_all_three_kinds_of_encoder(folder: Path) -> None:
    encoder = slonik.load(folder)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, PoolingEncoder)
    assert isinstance(encoder, TokenEncoder)


def test_poolings_are_those_of_torch(folder: Path, torch_encoder: models.TorchEncoder) -> None:
    encoder = slonik.load(folder, file="model.onnx", threads=1)
    found = encoder.encode_poolings(TEXTS, ["cls", "mean"])  # type: ignore[attr-defined]
    expected = torch_encoder.encode_poolings(TEXTS, ["cls", "mean"])
    for kind in ("cls", "mean"):
        assert np.abs(found[kind] - expected[kind]).max() < 1e-5
    with pytest.raises(SlonikError, match="no pooling 'pooler'"):
        encoder.encode_poolings(TEXTS, ["pooler"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_token_vectors_and_offsets_are_those_of_torch(family: str) -> None:
    encoder = slonik.load(exported(family)[0], file="model.onnx", threads=1)
    expected = models.load(checkpoint(family)).encode_tokens(TEXTS, prefix="запрос: ")
    found = encoder.encode_tokens(TEXTS, prefix="запрос: ")  # type: ignore[attr-defined]
    for left, right in zip(found, expected, strict=True):
        assert np.array_equal(left.offsets, right.offsets)
        assert np.array_equal(left.special, right.special)
        assert np.abs(left.vectors - right.vectors).max() < 1e-5


def test_long_texts_are_averaged_over_windows_by_tokens(folder: Path, torch_encoder: models.TorchEncoder) -> None:
    encoder = slonik.load(folder, file="model.onnx", threads=1, long_texts="average")
    other = copy.copy(torch_encoder)
    other.long_texts = "average"
    texts = [LONG, "слон", LONG[:300]]
    assert np.abs(encoder.encode(texts) - other.encode(texts)).max() < 1e-5
    cut = slonik.load(folder, file="model.onnx", threads=1, long_texts="truncate")
    assert np.abs(cut.encode(texts) - torch_encoder.encode(texts)).max() < 1e-5


def test_a_shorter_limit_on_a_copy_is_obeyed(folder: Path, torch_encoder: models.TorchEncoder) -> None:
    encoder = copy.copy(slonik.load(folder, file="model.onnx", threads=1, long_texts="truncate"))
    encoder.sentence = replace(encoder.sentence, max_length=16)  # type: ignore[attr-defined]
    other = copy.copy(torch_encoder)
    other.sentence = replace(other.sentence, max_length=16)
    assert np.abs(encoder.encode(TEXTS) - other.encode(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("int8", ["dynamic", "static"])
def test_int8_vectors_do_not_depend_on_company(int8: str) -> None:
    encoder = slonik.load(exported("bert", int8)[0], threads=1)
    together = encoder.encode([*TEXTS, LONG])
    alone = np.concatenate([encoder.encode([text]) for text in [*TEXTS, LONG]])
    assert np.abs(together - alone).max() < 1e-6
    assert np.isfinite(together).all()


@pytest.mark.parametrize("file", ["model.onnx", "model_quantized.onnx"])
def test_threads_do_not_change_vectors_or_order(folder: Path, file: str) -> None:
    texts = [*TEXTS, LONG] * 5
    one, three = (slonik.load(folder, file=file, threads=count) for count in (1, 3))
    assert np.abs(one.encode(texts) - three.encode(texts)).max() < 1e-5
    tokens = zip(one.encode_tokens(texts), three.encode_tokens(texts), strict=True)  # type: ignore[attr-defined]
    assert all(np.abs(left.vectors - right.vectors).max() < 1e-5 for left, right in tokens)


def test_fp32_vectors_do_not_depend_on_company(folder: Path) -> None:
    encoder = slonik.load(folder, file="model.onnx", threads=1)
    together = encoder.encode([*TEXTS, LONG])
    alone = np.concatenate([encoder.encode([text]) for text in [*TEXTS, LONG]])
    assert np.abs(together - alone).max() < 1e-5


def test_ids_with_specials_give_the_same_as_texts(folder: Path) -> None:
    encoder = slonik.load(folder, threads=1)
    ids = [encoder.tokenizer.encode(text).ids for text in [*TEXTS, LONG]]  # type: ignore[attr-defined]
    found = encoder.encode_ids(ids)  # type: ignore[attr-defined]
    assert np.allclose(found, encoder.encode([*TEXTS, LONG], prefix=""), atol=1e-6)


def test_no_texts_give_no_rows_and_one_string_is_refused(folder: Path) -> None:
    encoder = slonik.load(folder)
    assert encoder.encode([]).shape == (0, 32)
    with pytest.raises(TypeError, match="one string"):
        encoder.encode("слон")


def test_lone_surrogates_are_encoded(folder: Path) -> None:
    assert np.isfinite(slonik.load(folder).encode(["сло\udcffн"])).all()


def test_describe_carries_the_facts_of_the_checkpoint(folder: Path, torch_encoder: models.TorchEncoder) -> None:
    encoder = slonik.load(folder)
    facts = encoder.describe()
    assert repr(encoder) == f"OnnxEncoder({str(folder)!r}, {torch_encoder.dimension} dimensions)"
    assert facts["precision"] == "dynamic"
    assert facts["file"] == "model_quantized.onnx"
    assert facts["parameters"] == torch_encoder.describe()["parameters"]


def test_torch_is_not_imported(folder: Path) -> None:
    program = (
        "import sys, slonik; slonik.load(sys.argv[1]).encode(['слон']); "
        "assert not {'torch', 'transformers', 'pydantic', 'onnx'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("onnx/model_quantized.onnx", b"not a graph", "cannot be opened"),
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", b"{}", "is damaged"),
        ("config.json", b"\xff", "not readable JSON"),
        ("1_Pooling/config.json", b"{", "not readable JSON"),
        ("1_Pooling/config.json", b'{"pooling_mode": "splade"}', "not supported"),
        ("sentence_bert_config.json", b'{"max_seq_length": "long"}', "max_seq_length"),
    ],
)
def test_a_broken_folder_is_one_clear_sentence(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_bytes(content)
    with pytest.raises(SlonikError, match=sentence):
        slonik.load(broken)


def test_a_file_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    passport = json.loads((other / "passport.json").read_text())
    passport["lineage"][-1]["inputs"]["parent"] = "0" * 64
    (other / "passport.json").write_text(json.dumps(passport))
    with pytest.raises(SlonikError, match="made from other weights than the passport"):
        slonik.load(other)
    shutil.copy(folder / "passport.json", other)
    edit(other / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    with pytest.raises(SlonikError, match="was made for the pooling mean, and the files beside it say cls"):
        slonik.load(other)


def test_wrong_file_threads_and_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"it has model\.onnx, model_quantized\.onnx"):
        slonik.load(folder, file="model_fp16.onnx")
    with pytest.raises(SlonikError, match="threads is 0"):
        slonik.load(folder, threads=0)
    with pytest.raises(SlonikError, match="no onnx"):
        slonik.load(tmp_path, backend="onnx")
    with pytest.raises(SlonikError, match="no folder"):
        slonik.load(tmp_path / "nowhere", backend="onnx")
