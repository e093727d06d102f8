"""Tiny models of every family that surgery cuts, and random plans for them."""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForTokenClassification,
    DebertaV2Config,
    PreTrainedModel,
)

from slonik.compression.plan import Plan, whole
from tests.tiny.models import config

CUT = ("bert", "roberta", "xlm-roberta", "deberta-v2", "deberta-conv", "modernbert", "distilbert", "electra")
_HEADS: dict[str, Any] = {
    "": AutoModel,
    "mlm": AutoModelForMaskedLM,
    "tokens": AutoModelForTokenClassification,
}


def tiny(family: str, *, layers: int = 3, head: str = "", seed: int = 0, vocab: int = 60) -> PreTrainedModel:
    """A random model of `family` with noise on every parameter; `deberta-conv` is DeBERTa-v2 as xlarge has it."""
    sizes: dict[str, Any] = {"vocab_size": vocab, "layers": layers, "hidden": 32, "heads": 4, "ffn": 48}
    made: Any
    if family == "distilbert":
        made = AutoConfig.for_model(family, vocab_size=vocab, dim=32, n_layers=layers, n_heads=4, hidden_dim=48)
    elif family == "electra":
        made = AutoConfig.for_model(
            family,
            vocab_size=vocab,
            hidden_size=32,
            embedding_size=16,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=48,
        )
    elif family == "deberta-conv":
        made = config("deberta-v2", **sizes)
        made = DebertaV2Config.from_dict(
            made.to_dict()
            | {"conv_kernel_size": 3, "share_att_key": False, "norm_rel_ebd": "none", "pos_att_type": ["c2p", "p2c"]}
        )
    else:
        made = config(family, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = _HEADS[head].from_config(made)
        with torch.no_grad():
            for parameter in model.parameters():
                scale = 0.1 if parameter.dim() == 1 else 0.2
                parameter.add_(torch.randn_like(parameter) * scale)
    return model.eval()


def batch(examples: int = 3, length: int = 9, vocab: int = 60, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random token ids (never the padding id 1) of different lengths, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, vocab, (examples, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(examples):
        mask[row, length - row :] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def some_plan(model: PreTrainedModel, *, seed: int = 0, hidden: bool = False, even: bool = False) -> Plan:
    """A random plan that drops the middle layer, and heads and neurons of the others."""
    rng = random.Random(seed)
    plan = whole(model)
    layers = tuple(layer for layer in plan.layers if layer != 1)
    heads = [2, 2] if even else [1, 3]
    ffn = [32, 32] if even else [16, 29]
    return plan.model_copy(
        update={
            "layers": layers,
            "heads": tuple(tuple(sorted(rng.sample(range(4), count))) for count in heads),
            "ffn": tuple(tuple(sorted(rng.sample(range(48), count))) for count in ffn),
            "hidden": tuple(sorted(rng.sample(range(32), 16 if even else 21))) if hidden else None,
        }
    )
