"""Pieces and packed rows of a mixture of denoisers: every token once, full rows, the loss of the unpacked batch."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention
from transformers import AutoModelForSeq2SeqLM

from slonik.core.errors import SlonikError
from slonik.pretraining.denoising import FRED_T5, PRESETS, DenoiserMixture, denoising_batch, denoising_loss
from slonik.pretraining.denoising_batches import DenoisingPieces, denoising_loader
from slonik.pretraining.packed import pack_pairs
from slonik.pretraining.sequences import Format
from slonik.pretraining.shards import TokenCorpus
from tests import tiny
from tests.pretraining import vocabulary

LENGTH = 128


def _mixture(preset: str = "fred-t5") -> DenoiserMixture:
    return DenoiserMixture(vocabulary.pieces(130), PRESETS[preset], input_length=LENGTH)


def _corpus(typical: float, documents: int = 1500, seed: int = 0) -> TokenCorpus:
    """Documents of a sentence or two, of log-normal lengths."""
    rng = np.random.default_rng(seed)
    words = vocabulary.pieces(130).ordinary
    sizes = np.maximum(rng.lognormal(np.log(typical), 0.9, documents).astype(int), 1)
    made = [[rng.choice(words, size=size).tolist(), rng.choice(words, size=3).tolist()] for size in sizes]
    return TokenCorpus.of([document[: 1 + number % 2] for number, document in enumerate(made)], key=f"{typical}")


@pytest.mark.parametrize("form", ["documents", "blocks", "full_sentences", "doc_sentences"])
def test_every_token_is_in_one_piece_that_its_denoiser_takes(form: Format) -> None:
    corpus, mixture = _corpus(60, 300), _mixture()
    first, second = (DenoisingPieces(corpus, form, mixture, seed=3) for _ in range(2))
    found, again = first.pieces(2), second.pieces(2)
    order = np.argsort(found.first)
    assert (found.first == again.first).all() and (found.kind == again.kind).all()
    assert not np.array_equal(found.kind[:50], first.pieces(3).kind[:50])
    sizes = found.last - found.first
    assert sizes.min() >= 2 and (found.first[order][1:] >= found.last[order][:-1]).all()
    alone = int((np.diff(corpus.document_starts) == 1).sum())
    missing = corpus.token_count - int(sizes.sum())
    assert missing == {"documents": alone, "blocks": 0}.get(form, missing) and missing < 0.01 * corpus.token_count + 1
    for kind, noise in enumerate(FRED_T5):
        of_kind = found.kind == kind
        assert of_kind.any() and sizes[of_kind].max() <= mixture.lengths[kind]
        for size, inputs, targets in zip(sizes[of_kind], found.inputs[of_kind], found.targets[of_kind], strict=True):
            assert (inputs - 1, targets) == noise.noise.sizes(int(size))
    if form == "documents":
        starts = corpus.document_starts
        assert (np.searchsorted(starts, found.first, "right") == np.searchsorted(starts, found.last, "left")).all()


@pytest.mark.parametrize("typical", [12.0, 60.0, 400.0])
@pytest.mark.parametrize("form", ["documents", "blocks"])
def test_rows_of_the_encoder_and_of_the_decoder_are_full(form: Format, typical: float) -> None:
    pieces = DenoisingPieces(_corpus(typical, round(90_000 / typical)), form, _mixture())
    loader = denoising_loader(pieces, batch_tokens=4096, input_length=LENGTH, pack=True)
    plan = loader.plan(0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(pieces.pieces(0))))
    real, room = np.zeros(2), np.zeros(2)
    for number, items in enumerate(plan):
        batch = loader.batch(0, number, items)
        assert batch["input_ids"].shape[1] <= LENGTH
        real += [int((batch[name] > 0).sum()) for name in ("segments", "decoder_segments")]
        room += [batch[name].numel() for name in ("segments", "decoder_segments")]
    assert (real / room)[0] >= 0.95 and (real / room)[1] >= 0.90
    read = [int((pieces.pieces(0).last - pieces.pieces(0).first)[items].sum()) for items in plan]
    assert np.mean(read) == pytest.approx(4096, rel=0.15)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_pairs_have_the_loss_and_gradient_of_padded_ones(attention: str) -> None:
    mixture, rng = _mixture(), np.random.default_rng(1)
    words = mixture.facts.ordinary
    pairs = [
        mixture.example(rng.choice(words[words < 300], size=size), kind, rng)
        for size, kind in ((2, 0), (40, 1), (9, 4), (70, 5), (23, 0), (5, 6), (61, 3))
    ]
    torch.manual_seed(0)
    model = vocabulary.sequence_model()
    model.set_attn_implementation(attention)
    padded, packed = denoising_batch(pairs, mixture.facts.pad), pack_pairs(pairs, LENGTH, mixture.facts.pad, -100)
    assert len(packed["input_ids"]) < len(padded["input_ids"])
    found = []
    for batch in (padded, packed):
        model.zero_grad()
        loss = denoising_loss(model, batch)
        loss.total.backward()
        norms = {
            name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
        }
        found.append((loss, norms))
    (first, before), (second, after) = found
    assert float(second.total.detach()) == pytest.approx(float(first.total.detach()), rel=1e-5)
    assert first.weight == second.weight and before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)


def _flex_without_its_compiler(query: Tensor, key: Tensor, value: Tensor, *, training: bool, **given: Any) -> Any:
    """What a GPU runs, traced and then computed plainly: torch has a backward pass of its own for GPUs alone."""
    with patch.object(flex_attention, "_validate_device"):
        return flex_attention.flex_attention(query, key, value, **given)


@pytest.mark.parametrize("packed", [True, False])
def test_flex_attention_with_the_table_of_positions_is_the_plain_one(packed: bool) -> None:
    mixture, rng = _mixture("t5"), np.random.default_rng(1)
    pairs = [mixture.example(rng.choice(mixture.facts.ordinary, size=size), 0, rng) for size in (2, 40, 9, 30)]
    torch.manual_seed(0)
    model: Any = AutoModelForSeq2SeqLM.from_config(tiny.config("t5", layers=1)).eval()
    for stack in (model.encoder, model.decoder):
        torch.nn.init.normal_(stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    batch = pack_pairs(pairs, 64, mixture.facts.pad, -100) if packed else denoising_batch(pairs, mixture.facts.pad)
    losses, gradients = [], []
    for attention in ("eager", "slonik_flex_attention"):
        model.zero_grad()
        for stack in (model, model.encoder, model.decoder):
            stack.config._attn_implementation = attention
        quick = patch("slonik.train.kernels.compile_friendly_flex_attention", _flex_without_its_compiler)
        # Unpacked rows have one mask for each row and no gradient here: its tracing would take a minute.
        with torch.set_grad_enabled(packed), torch.compiler.set_stance("default" if packed else "force_eager"), quick:
            total = denoising_loss(model, batch).total
        losses.append(total.item())
        if packed:
            total.backward()
        gradients.append({name: each.grad for name, each in model.named_parameters() if each.grad is not None})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys() and (
        not packed or any("relative" in name for name in gradients[1])
    )
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-6, rtol=1e-4)


def test_without_packing_a_piece_is_a_row() -> None:
    pieces = DenoisingPieces(_corpus(30, 200), "documents", _mixture("t5"))
    loader = denoising_loader(pieces, batch_tokens=1024, input_length=LENGTH, pack=False)
    plan = loader.plan(1)
    batch = loader.batch(1, 0, plan[0])
    assert len(batch["input_ids"]) == len(plan[0]) == len(batch["denoiser"])
    again = loader.batch(1, 0, plan[0])
    assert all(torch.equal(batch[name], again[name]) for name in batch)


def test_a_corpus_of_single_tokens_is_refused() -> None:
    with pytest.raises(SlonikError, match="no text of two tokens or more"):
        DenoisingPieces(TokenCorpus.of([[[50]], [[51]]]), "documents", _mixture())
