"""An earlier student takes a newly trimmed vocabulary: tokens that it knows keep its rows, others the teacher's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from slonik import models
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.compression.trim import apply_trim, plan_by_rules
from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder
from slonik.models.language_model import load_language_model
from slonik.models.vocabulary import change_vocabulary, with_vocabulary_of
from slonik.text.tokenizers.rules import TrimRules
from tests import tiny


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    return models.load(tiny.checkpoint(tmp_path_factory.mktemp("teacher"), "xlm-roberta"))


def _trimmed(teacher: TorchEncoder, texts: list[str]) -> TorchEncoder:
    return apply_trim(teacher, plan_by_rules(teacher, TrimRules(mode="counts", min_count=1), texts))


def _student(trimmed: TorchEncoder, moved: float) -> TorchEncoder:
    """One layer of it, whose embeddings have moved."""
    model = apply(trimmed.model, keep_layers(whole(trimmed.model), (1,)))
    with torch.no_grad():
        model.get_input_embeddings().weight += moved
    return TorchEncoder(model, trimmed.tokenizer, trimmed.sentence, trimmed.passport, name="student")


def test_texts_of_known_pieces_embed_as_before_and_new_pieces_move_along(teacher: TorchEncoder) -> None:
    small, large = _trimmed(teacher, tiny.TEXTS[:6]), _trimmed(teacher, tiny.TEXTS)
    student = _student(small, moved=0.25)
    changed = with_vocabulary_of(student, large)
    assert changed.tokenizer.get_vocab_size() == large.tokenizer.get_vocab_size() > small.tokenizer.get_vocab_size()
    alike = [text for text in tiny.TEXTS if _pieces(small, text) == _pieces(large, text)]
    assert len(alike) >= 6
    assert np.allclose(changed.encode(alike), student.encode(alike), atol=1e-6)
    known = small.tokenizer.get_vocab()
    new = [number for piece, number in large.tokenizer.get_vocab().items() if piece not in known]
    rows, origin = (one.model.get_input_embeddings().weight.detach() for one in (changed, large))
    assert new and torch.allclose(rows[new], origin[new] + 0.25, atol=1e-5)
    assert changed.model.config.vocab_size == len(rows)


def test_a_student_that_segments_alike_is_left_alone(teacher: TorchEncoder) -> None:
    trimmed = _trimmed(teacher, tiny.TEXTS)
    student = _student(trimmed, moved=0.1)
    assert with_vocabulary_of(student, trimmed) is student


def test_another_width_is_refused(teacher: TorchEncoder, tmp_path: Path) -> None:
    wide = models.load(tiny.checkpoint(tmp_path, "xlm-roberta", hidden=64))
    with pytest.raises(SlonikError, match="64 dimensions"):
        with_vocabulary_of(wide, _trimmed(teacher, tiny.TEXTS))


def _pieces(encoder: TorchEncoder, text: str) -> list[str]:
    return list(encoder.tokenizer.encode(text).tokens)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert", "deberta-v2"])
def test_new_tokens_are_means_of_old_ones_and_old_ones_predict_as_before(family: str, tmp_path: Path) -> None:
    language = load_language_model(tiny.checkpoint(tmp_path / "model", family), "mlm")
    model = language.model
    size = model.get_input_embeddings().num_embeddings
    ids = torch.tensor([[0, 20, 30, 2]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        old = model.get_input_embeddings().weight.clone()
        change_vocabulary(model, [(n,) for n in range(size)] + [(10, 20, 30), ()], {"pad_token_id": 1})
        after = model(input_ids=ids).logits
        words = model.get_input_embeddings().weight
        assert torch.allclose(after[..., :size], before, atol=1e-4)
        assert torch.allclose(words[size], old[[10, 20, 30]].mean(0)) and torch.allclose(words[-1], old.mean(0))
    assert model.config.vocab_size == size + 2 == after.shape[-1]
    assert model.get_output_embeddings().weight.data_ptr() == words.data_ptr()
    model.save_pretrained(tmp_path / "saved")
    with torch.no_grad():
        again = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved")(input_ids=ids).logits
    assert torch.allclose(again, after, atol=1e-4)


def test_positions_of_roberta_hold_its_padding_id(tmp_path: Path) -> None:
    language = load_language_model(tiny.checkpoint(tmp_path / "model", "roberta"), "mlm")
    with pytest.raises(SlonikError, match="count positions from their padding id 1"):
        change_vocabulary(language.model, [(0,), (1,)], {"pad_token_id": 0})
