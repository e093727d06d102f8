"""Bits of what a fixed corruption took away: same holes every time, one row per text, uniform guesses cost log V."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slonik.models.fresh import Shape, TokenIds, build
from slonik.pretraining.bits_per_byte import HeldOutBits
from slonik.pretraining.denoising import FRED_T5, PRESETS
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig, train
from tests import tiny


def test_uniform_guesses_cost_log_of_the_vocabulary_per_hidden_piece() -> None:
    trained = train(TrainConfig(kind="bpe", vocab_size=500, family="fred-t5", sentinels=12), tiny.TEXTS)
    facts = token_facts(trained.tokenizer)
    shape = Shape(family="fred-t5", layers=1, hidden=16, heads=2, max_length=64)
    model = build(shape, TokenIds(facts.size, facts.pad, facts.bos, facts.eos, None, None, None), seed=0)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    texts = [tiny.TEXTS[3], "", tiny.TEXTS[4]]
    first, second = (
        HeldOutBits(texts, "denoising", max_length=64, denoisers=mixture).measure(model, trained.tokenizer, facts)
        for mixture in (FRED_T5, PRESETS["t5"])
    )
    hidden = first.bits / np.log2(facts.size)
    assert hidden == pytest.approx(np.round(hidden), abs=1e-4)
    assert (first.bytes > 0).tolist() == [True, False, True] and first.bits[1] == 0
    assert (first.bytes < [max(1, len(text.encode())) for text in texts]).all()
    assert first.bytes.tolist() == second.bytes.tolist()  # the prefix changes the input, not the holes
