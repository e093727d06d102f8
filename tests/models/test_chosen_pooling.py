"""A folder that does not say how a sentence vector is made: the choice, the default said aloud, the own pooler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import slonik
from slonik import models
from slonik.cli.main import build_app
from slonik.core import progress
from slonik.core.errors import SlonikError
from slonik.models.opening import poolings_for
from tests import tiny

TEXTS = tiny.TEXTS[:6]


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint without modules.json, of which nothing was said yet."""
    monkeypatch.setattr(progress, "_warned", set())
    return tiny.checkpoint(tmp_path / "plain", sentence=False)


def test_the_default_is_said_once(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = models.load(plain, device="cpu")
    assert capsys.readouterr().err == ""  # a model may be loaded for another use
    encoder.encode(TEXTS)
    said = capsys.readouterr().err
    assert "warning: " in said and "the mean of all token vectors, normalised" in said and "--pooling" in said
    models.load(plain, device="cpu").encode(TEXTS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("pooling", ["cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "cls+mean"])
def test_a_pooling_is_chosen(plain: Path, pooling: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    encoder = models.load(plain, device="cpu", pooling=pooling)
    found = encoder.encode(TEXTS)
    parts = [Transformer(str(plain)), Pooling(32, tuple(pooling.split("+"))), Normalize()]
    theirs = library.SentenceTransformer(modules=parts, device="cpu")
    np.testing.assert_allclose(found, theirs.encode(TEXTS), atol=1e-5)
    assert capsys.readouterr().err.count("warning") == 0
    again = library.SentenceTransformer(str(models.save(encoder, tmp_path / "saved")), device="cpu")
    np.testing.assert_allclose(found, again.encode(TEXTS), atol=1e-5)


def test_the_models_own_pooler_is_a_module_that_shares_its_weights(plain: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    encoder = models.load(plain, device="cpu", pooling="pooler")
    with torch.no_grad():
        inputs = {"input_ids": torch.tensor(encoder.tokenize(TEXTS[:1]))}
        expected = encoder.model(**inputs).pooler_output[0]
        vectors = encoder.encode(TEXTS)
        np.testing.assert_allclose(vectors[0], expected / expected.norm(), atol=1e-5)
        assert encoder.has_own_pooler
        encoder.model.pooler.dense.weight.mul_(-0.5)  # training changes both
    changed = encoder.encode(TEXTS)
    assert np.abs(changed - vectors).max() > 0.1
    saved = models.save(encoder, tmp_path / "saved")
    np.testing.assert_allclose(models.load(saved, device="cpu").encode(TEXTS), changed, atol=1e-6)
    np.testing.assert_allclose(library.SentenceTransformer(str(saved), device="cpu").encode(TEXTS), changed, atol=1e-5)
    with torch.no_grad():
        output = models.load(saved, device="cpu").model(**inputs).pooler_output[0]
    np.testing.assert_allclose(output / output.norm(), changed[0], atol=1e-5)


def test_a_pooler_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "modern", "modernbert", sentence=False)
    with pytest.raises(SlonikError, match="'modernbert' have none that is known"):
        models.load(folder, pooling="pooler")


def test_gradients_reach_every_module(plain: Path) -> None:
    encoder = models.load(plain, device="cpu", pooling="pooler")
    ids = torch.tensor(encoder.tokenize(TEXTS[:1]))
    vectors = encoder.sentence_vectors(ids, torch.ones_like(ids))
    np.testing.assert_allclose(vectors.detach().numpy(), encoder.encode(TEXTS[:1]), atol=1e-5)
    vectors.sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in encoder.pipeline.parameters())


def test_commands_take_it(plain: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    out = tmp_path / "vectors.npy"
    command = ["encode", str(plain), str(texts), "--out", str(out), "--pooling", "cls"]
    assert CliRunner().invoke(build_app(), command).exit_code == 0
    np.testing.assert_allclose(np.load(out), models.load(plain, pooling="cls").encode(TEXTS), atol=1e-6)
    result = CliRunner().invoke(build_app(), [*command[:-1], "first"])
    assert result.exit_code != 0


def test_a_pooling_that_nothing_takes_is_an_error(plain: Path, tmp_path: Path) -> None:
    own = tiny.checkpoint(tmp_path / "own")
    assert poolings_for([own, plain], "cls") == [{}, {"pooling": "cls"}]
    assert poolings_for([own], None) == [{}]
    with pytest.raises(SlonikError, match="names a pooling of its own"):
        poolings_for([own, "hashing_300"], "cls")
    with pytest.raises(SlonikError, match="leave out the pooling 'cls'"):
        slonik.load(own, pooling="cls")
    with pytest.raises(SlonikError, match="is no checkpoint, so pooling means nothing"):
        slonik.load("hashing_300", pooling="cls")
