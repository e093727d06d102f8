"""Losses of masked, causal and next-sentence models against the stock classes; packed equals unpacked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import BertForPreTraining

from slonik.core.errors import SlonikError
from slonik.pretraining.objectives import (
    CausalLanguageModel,
    MaskedLanguageModel,
    MaskingConfig,
    NextSentencePrediction,
)
from slonik.pretraining.packed import can_pack
from tests import tiny
from tests.pretraining import vocabulary

MASKED = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert", "distilbert")
PACKED = [family for family in MASKED if family != "deberta-v2"]


def _model(family: str):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    if family == "distilbert":
        from transformers import DistilBertConfig, DistilBertForMaskedLM

        shape = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64}
        return DistilBertForMaskedLM(DistilBertConfig(vocab_size=500, initializer_range=0.2, **shape)).eval()
    return vocabulary.masked_model(family)


@pytest.mark.parametrize("family", MASKED)
def test_head_at_masked_positions_gives_the_stock_loss(family: str) -> None:
    model = _model(family)
    goal = MaskedLanguageModel(vocabulary.pieces())
    batch = goal.corrupt(vocabulary.texts(6, np.random.default_rng(0)), np.random.default_rng(1))
    loss = goal.loss(model, batch)
    stock = model(**batch).loss
    assert float(loss.total) == pytest.approx(float(stock), rel=1e-5)
    assert loss.weight == int((batch["labels"] != -100).sum())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", PACKED)
def test_packed_rows_have_the_loss_and_gradient_of_padded_ones(family: str, attention: str) -> None:
    model = _model(family)
    model.set_attn_implementation(attention)
    rows = vocabulary.texts(9, np.random.default_rng(2), low=3, high=25)
    pieces = vocabulary.pieces()
    padded = MaskedLanguageModel(pieces).corrupt(rows, np.random.default_rng(3))
    packed = MaskedLanguageModel(pieces, pack_to=60).corrupt(rows, np.random.default_rng(3))
    assert len(packed["input_ids"]) < len(padded["input_ids"])
    goal = MaskedLanguageModel(pieces)
    losses, gradients = [], []
    for batch in (padded, packed):
        model.zero_grad()
        loss = goal.loss(model, batch)
        loss.total.backward()
        losses.append(float(loss.total))
        gradients.append(torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-4)


@pytest.mark.parametrize("family", PACKED)
def test_flex_attention_has_the_loss_of_the_fused_one(family: str) -> None:
    rows = vocabulary.texts(9, np.random.default_rng(2), low=3, high=25)
    goal = MaskedLanguageModel(vocabulary.pieces(), pack_to=60)
    model = _model(family)
    batch, losses = goal.corrupt(rows, np.random.default_rng(3)), []
    for attention in ("sdpa", "flex_attention"):
        model.eval().config._attn_implementation = attention
        # Without the compiler (it would take a minute) and the backward pass (which torch has on GPUs alone).
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            losses.append(float(goal.loss(model, batch).total))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_flex_attention_of_a_decoder_has_the_loss_of_the_fused_one() -> None:
    goal, model = CausalLanguageModel(vocabulary.pieces(), pack_to=60), vocabulary.causal_model()
    rows, losses = vocabulary.texts(5, np.random.default_rng(2), low=3, high=25), []
    batch = goal.corrupt(rows, np.random.default_rng(3))
    for attention in ("sdpa", "slonik_flex_attention"):
        model.config._attn_implementation = attention
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            losses.append(float(goal.loss(model, batch).total))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_document_does_not_see_its_neighbour_in_the_row() -> None:
    model = _model("bert")
    goal = MaskedLanguageModel(vocabulary.pieces(), pack_to=60)
    rows = vocabulary.texts(2, np.random.default_rng(4), low=10, high=20)
    other = [rows[0], vocabulary.texts(1, np.random.default_rng(5), low=15, high=16)[0]]
    hidden = []
    for texts in (rows, other):
        from slonik.pretraining.packed import model_inputs, pack_rows

        batch = pack_rows({"input_ids": texts}, {"input_ids": 1}, 60)
        hidden.append(model.bert(**model_inputs(model, batch))[0][0, : len(rows[0])])
    assert torch.allclose(hidden[0], hidden[1], atol=1e-5)
    assert goal.pack_to == 60


def test_deberta_takes_no_packed_rows() -> None:
    model = _model("deberta-v2")
    goal = MaskedLanguageModel(vocabulary.pieces(), pack_to=60)
    assert not can_pack(model)
    batch = goal.corrupt(vocabulary.texts(3, np.random.default_rng(0), high=20), np.random.default_rng(1))
    with pytest.raises(SlonikError, match="no packed rows"):
        goal.loss(model, batch)


def test_text_longer_than_a_row_is_refused() -> None:
    goal = MaskedLanguageModel(vocabulary.pieces(), pack_to=10)
    with pytest.raises(SlonikError, match="does not fit into rows of 10"):
        goal.corrupt([np.arange(15, 35)], np.random.default_rng(0))


def test_causal_loss_is_the_stock_one_and_packing_changes_nothing() -> None:
    torch.manual_seed(0)
    model = vocabulary.causal_model()
    rows = vocabulary.texts(7, np.random.default_rng(7), low=3, high=20)
    pieces = vocabulary.pieces()
    padded = CausalLanguageModel(pieces).corrupt(rows, np.random.default_rng(0))
    kept: list[object] = []
    model.transformer.register_forward_hook(lambda *made: kept.append(made[2].past_key_values))
    loss = CausalLanguageModel(pieces).loss(model, padded)
    assert kept == [None]  # keys and values are for generation
    labels = torch.where(padded["attention_mask"].bool(), padded["input_ids"], -100)
    stock = model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"], labels=labels).loss
    assert float(loss.total) == pytest.approx(float(stock), rel=1e-5)
    assert loss.weight == sum(len(row) - 1 for row in rows)
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        goal = CausalLanguageModel(pieces, pack_to=60)
        packed = goal.corrupt(rows, np.random.default_rng(0))
        assert len(packed["input_ids"]) < len(rows)
        assert float(goal.loss(model, packed).total) == pytest.approx(float(loss.total), rel=1e-5)


def _pairs(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    halves = [row[1:-1] for row in vocabulary.texts(2 * count, rng, low=3, high=12)]
    return [np.concatenate([[0], a, [2], b, [2]]) for a, b in zip(halves[::2], halves[1::2], strict=True)]


def test_next_sentence_loss_is_the_stock_sum_with_types_after_the_separator() -> None:
    torch.manual_seed(0)
    model = BertForPreTraining(tiny.config("bert")).eval()
    goal = NextSentencePrediction(vocabulary.pieces())
    rows = _pairs(5)
    batch = goal.corrupt(rows, np.random.default_rng(0)) | {"next_sentence_label": torch.tensor([0, 1, 0, 1, 1])}
    for row, types in zip(rows, batch["token_type_ids"], strict=True):
        first = int(np.flatnonzero(row == 2)[0])
        assert types.tolist() == [0] * (first + 1) + [1] * (len(row) - first - 1) + [0] * (len(types) - len(row))
    loss = goal.loss(model, batch)
    output = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
    words = F.cross_entropy(output.prediction_logits.transpose(1, 2), batch["labels"])
    pairs = F.cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"])
    assert float(loss.total) == pytest.approx(float(words + pairs), rel=1e-5)
    assert float(loss.parts["nsp"]) == pytest.approx(float(pairs), rel=1e-5)


def test_model_without_a_next_sentence_head_is_named() -> None:
    goal = NextSentencePrediction(vocabulary.pieces(), MaskingConfig(rate=0.3))
    batch = goal.corrupt(_pairs(2), np.random.default_rng(0)) | {"next_sentence_label": torch.tensor([0, 1])}
    with pytest.raises(SlonikError, match="BertForPreTraining"):
        goal.loss(_model("bert"), batch)
