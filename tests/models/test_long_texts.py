"""One policy for long texts on every path: what the folder says, torch and onnxruntime do alike."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import slonik
from slonik import models
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray, LongTexts
from slonik.runtime.stream import encode_stream, read_lines
from slonik.runtime.writers import JsonlWriter
from slonik.text.sentence_config import OWN_FILE, SentenceConfig
from slonik.text.tokenizing import TooLong
from tests import tiny
from tests.exporting.exported import checkpoint, exported

CHANGED = " ".join([*["Маленький слон идёт по большому лесу."] * 8, *["Налоги нужно заплатить до декабря."] * 12])
"""Its topic changes after the 64 tokens that the model reads."""


@pytest.fixture(scope="module")
def encoders() -> list[Any]:
    """The same model on torch and on onnxruntime."""
    return [models.load(checkpoint("bert"), device="cpu"), slonik.load(exported("bert")[0], file="model.onnx")]


def cosine(left: FloatArray, right: FloatArray) -> float:
    return float((left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right))


@pytest.mark.parametrize("way", ["truncate", "average"])
def test_torch_and_onnxruntime_do_the_same(encoders: list[Any], way: LongTexts) -> None:
    texts = [CHANGED, tiny.TEXTS[0], CHANGED[:200]]
    torch_vectors, onnx_vectors = (encoder.encode(texts, long_texts=way) for encoder in encoders)
    np.testing.assert_allclose(torch_vectors, onnx_vectors, atol=2e-5)
    ids = encoders[0].tokenize(texts, whole=True)
    for encoder in encoders:
        np.testing.assert_allclose(encoder.encode_ids(ids, long_texts=way), torch_vectors, atol=2e-5)


def test_the_beginning_is_read_unless_somebody_says_otherwise(encoders: list[Any]) -> None:
    other = CHANGED.split("Налоги")[0]
    for encoder in encoders:
        assert encoder.long_texts == "truncate"
        first, changed, average = encoder.encode([other, CHANGED]), encoder.encode([CHANGED]), None
        assert cosine(first[0], changed[0]) > 0.99999  # what stands behind the limit is not read
        average = encoder.encode([CHANGED], long_texts="average")
        assert cosine(average[0], changed[0]) < 0.999


def test_texts_that_were_cut_are_counted(encoders: list[Any]) -> None:
    for encoder in encoders:
        before = encoder.cut_texts
        encoder.encode([CHANGED, "слон", CHANGED])
        encoder.encode([CHANGED], long_texts="average")
        assert encoder.cut_texts == before + 2


def test_a_long_text_is_refused_by_its_number(encoders: list[Any]) -> None:
    for encoder in encoders:
        with pytest.raises(TooLong, match="text 1 has more than 64 tokens") as found:
            encoder.encode(["слон", CHANGED], long_texts="refuse")
        assert (found.value.place, found.value.limit) == (1, 64)
        assert encoder.encode(["слон"], long_texts="refuse").shape == (1, 32)
        with pytest.raises(SlonikError, match="'windows': use truncate, average, refuse"):
            encoder.encode(["слон"], long_texts="windows")


def test_limits_are_counted_in_tokens(encoders: list[Any]) -> None:
    spaced = " " * 40_000 + "слон"
    for encoder in encoders:
        np.testing.assert_allclose(encoder.encode([spaced], long_texts="refuse"), encoder.encode(["слон"]), atol=1e-5)


def test_a_length_that_the_specials_fill_is_refused(encoders: list[Any]) -> None:
    for encoder in encoders:
        with pytest.raises(SlonikError, match=r"reads 2 tokens of a text .*: set it to 3 or more"):
            encoder.sentence = replace(encoder.sentence, max_length=2)
        encoder.sentence = replace(encoder.sentence, max_length=64)


def test_the_folder_keeps_the_policy_and_other_libraries_do_not_mind(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    encoder = models.load(checkpoint("bert"), device="cpu", long_texts="average")
    saved = models.save(encoder, tmp_path / "saved")
    assert models.load(saved, device="cpu").long_texts == "average"
    assert models.load(saved, device="cpu", long_texts="refuse").long_texts == "refuse"
    theirs = library.SentenceTransformer(str(saved), device="cpu")
    np.testing.assert_allclose(theirs.encode(tiny.TEXTS[:4]), encoder.encode(tiny.TEXTS[:4]), atol=1e-5)
    encoder.long_texts = "truncate"
    assert not (models.save(encoder, saved, overwrite=True) / OWN_FILE).exists()
    assert SentenceConfig.read(saved).long_texts == "truncate"


def test_the_command_says_how_many_were_cut(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text(f"слон\n{CHANGED}\n{CHANGED}\n", encoding="utf-8")
    folder = str(exported("bert")[0])
    rows = {}
    for way in ("truncate", "average"):
        out = tmp_path / f"{way}.npy"
        result = CliRunner().invoke(build_app(), ["encode", folder, str(texts), "--out", str(out), "--long-texts", way])
        assert result.exit_code == 0, result.output
        said = "2 of 3 texts are longer than the 64 tokens that the model reads" in result.stderr
        assert said == (way == "truncate")
        rows[way] = np.load(out)
    assert cosine(rows["truncate"][1], rows["average"][1]) < 0.999


def test_a_refused_line_is_named_by_its_number(encoders: list[Any]) -> None:
    encoder = slonik.load(exported("bert")[0], long_texts="refuse")
    lines = read_lines([io.BytesIO(f"слон\n\n{CHANGED}\n".encode())])
    with pytest.raises(SlonikError, match="line 3 has more than 64 tokens"):
        encode_stream(encoder, lines, JsonlWriter(io.StringIO()))


def test_windows_go_before_the_modules_behind_the_pooling(tmp_path: Path) -> None:
    config = SentenceConfig.of("cls", normalize=True)
    base = models.load(checkpoint("bert"), device="cpu")
    encoder = models.TorchEncoder(base.model, base.tokenizer, config)
    rows = encoder.tokenize([CHANGED], whole=True)[0][1:-1]
    pieces = [rows[start : start + 62] for start in range(0, len(rows), 62)]
    plain = SentenceConfig.of("cls", normalize=False)
    single = models.TorchEncoder(base.model, base.tokenizer, plain)
    vectors = single.encode_ids([[0, *piece, 2] for piece in pieces])
    expected = sum(vector * len(piece) for vector, piece in zip(vectors, pieces, strict=True))
    found = encoder.encode([CHANGED], long_texts="average")[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)
