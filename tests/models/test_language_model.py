"""Heads attached, saved and found again; other vocabularies; what is no masked-language model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForMaskedLM

from slonik.core.errors import SlonikError
from slonik.models import load
from slonik.models.checkpoint_files import hash_weights, read_tensors
from slonik.models.language_model import load_language_model, save_language_model
from tests import tiny


@pytest.mark.parametrize("family", tiny.ENCODERS)
def test_a_head_is_attached_tied_and_the_encoder_stays_what_it_was(family: str, tmp_path: Path) -> None:
    source = tiny.checkpoint(tmp_path / "model", family, pooling="cls")
    language = load_language_model(source, "mlm")
    assert not language.has_head
    words = language.model.get_input_embeddings().weight
    assert language.model.get_output_embeddings().weight.data_ptr() == words.data_ptr()
    before = load(source)
    np.testing.assert_allclose(language.encoder().encode(tiny.TEXTS), before.encode(tiny.TEXTS), atol=1e-5)
    out = save_language_model(language, tmp_path / "out")
    after = load(out)
    np.testing.assert_allclose(after.encode(tiny.TEXTS), before.encode(tiny.TEXTS), atol=1e-5)
    assert after.sentence == before.sentence and after.poolings == before.poolings
    again = load_language_model(out, "mlm")
    assert again.has_head and again.weights_hash() == language.weights_hash()
    assert AutoModelForMaskedLM.from_pretrained(out).num_parameters() > 0


def test_the_head_depends_on_the_seed_alone(tmp_path: Path) -> None:
    source = tiny.checkpoint(tmp_path / "model", "bert")
    hashes = [load_language_model(source, "mlm", seed=seed).weights_hash() for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_decoder_is_no_masked_model_and_a_t5_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="is a decoder"):
        load_language_model(tiny.checkpoint(tmp_path / "gpt", "gpt2"), "mlm")
    assert load_language_model(tmp_path / "gpt", "clm").has_head
    with pytest.raises(SlonikError, match=r"is an encoder \(bert\): adapt it with --objective mlm"):
        load_language_model(tiny.checkpoint(tmp_path / "bert", "bert"), "clm")
    for kind in ("mlm", "clm"):
        with pytest.raises(SlonikError, match=r"is an encoder-decoder \(t5\)"):
            load_language_model(tiny.checkpoint(tmp_path / "t5", "t5"), kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["bert", "modernbert", "gpt2", "t5"])
def test_weights_hash_is_that_of_the_saved_files_and_identity_is_more(family: str, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "model", family)
    language = load_language_model(folder)
    out = save_language_model(language, tmp_path / "out")
    assert hash_weights(read_tensors(out)) == language.weights_hash()
    again = load_language_model(out)
    assert again.weights_hash() == language.weights_hash()
    before = again.identity()
    again.model.config.layer_norm_eps = 0.5
    assert again.identity() != before
