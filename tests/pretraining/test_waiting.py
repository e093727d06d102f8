"""No step waits for an accelerator: nothing in it needs a number that lies there.

Models and batches are on torch's `meta` device, which has shapes and no numbers: whoever asks for one gets an error,
where a GPU would be waited for.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from slonik.models.fresh import FamilyName, Shape, TokenIds, build
from slonik.pretraining.denoising import DenoiserMixture, denoising_batch
from slonik.pretraining.objectives import CausalLanguageModel, MaskedLanguageModel, NextSentencePrediction
from slonik.pretraining.packed import pack_pairs
from slonik.train.objectives.asked import with_places
from slonik.train.optimizers import EmbeddingTables, Optimizers
from slonik.train.protocols import Batch, TextObjective
from slonik.train.train_config import TrainConfig
from tests.pretraining import vocabulary

LENGTH = 48
FACTS = vocabulary.pieces(130)
CASES: list[tuple[FamilyName, bool]] = [
    ("bert", True), ("bert", False), ("modernbert", True), ("modernbert", False), ("roberta", False),
    ("deberta-v2", False), ("ltg-bert", True), ("gpt2", True), ("gpt2", False), ("t5", True), ("t5", False),
]  # fmt: skip


def _model(family: FamilyName, next_sentence: bool = False) -> nn.Module:
    shape = Shape(
        family=family, layers=1, hidden=16, heads=2, ffn=16, max_length=LENGTH, next_sentence=next_sentence, dropout=0.1
    )
    ids = TokenIds(vocabulary.SIZE, pad=1, bos=0, eos=2, cls=0, sep=2, mask=4)
    return build(shape, ids, device="meta").train()


def _case(family: FamilyName, packed: bool) -> tuple[TextObjective, Batch]:
    rng, length = np.random.default_rng(0), LENGTH if packed else None
    rows = vocabulary.texts(6, rng, low=5, high=20)
    if family == "t5":
        mixture = DenoiserMixture(FACTS, input_length=LENGTH)
        pairs = [mixture.example(rng.choice(FACTS.ordinary, size=12), kind, rng) for kind in range(4)]
        packed_rows = with_places(pack_pairs(pairs, LENGTH, FACTS.pad, -100))
        return mixture, packed_rows if packed else denoising_batch(pairs, FACTS.pad)
    goal: CausalLanguageModel | MaskedLanguageModel = (
        CausalLanguageModel(FACTS, pack_to=length) if family == "gpt2" else MaskedLanguageModel(FACTS, pack_to=length)
    )
    return goal, goal.corrupt(rows, rng)


@pytest.mark.parametrize(("family", "packed"), CASES)
def test_forward_and_backward_pass_need_no_number(family: FamilyName, packed: bool) -> None:
    goal, batch = _case(family, packed)
    loss = goal.loss(_model(family), {name: tensor.to("meta") for name, tensor in batch.items()})
    loss.total.backward()
    assert loss.weight > 0


def test_nor_does_next_sentence_prediction() -> None:
    goal, rng = NextSentencePrediction(FACTS), np.random.default_rng(0)
    batch = goal.corrupt(vocabulary.texts(4, rng, low=5, high=20), rng)
    batch["next_sentence_label"] = torch.ones(4, dtype=torch.int64)
    goal.loss(_model("bert", True), {name: tensor.to("meta") for name, tensor in batch.items()}).total.backward()


@pytest.mark.parametrize("name", ["adafactor", "lamb"])  # torch's AdamW is one kernel, for no meta device
def test_nor_does_an_optimizer(name: str) -> None:
    model = _model("bert")
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    config = TrainConfig.model_validate({"max_steps": 1, "optimizer": name, "embeddings": "dense"})
    modules = {"model": model}
    optimizers = Optimizers(modules, config, EmbeddingTables(modules, config))
    optimizers.scale_gradients(0.5)
    assert optimizers.clip(1.0).device.type == "meta"
    optimizers.step()


def test_the_device_tells_who_asks() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        _ = float(torch.ones(1, device="meta"))
