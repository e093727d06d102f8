"""Checkpoints with a head as Transformers writes them: tiny, random, of every family that has such classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from tests import tiny
from tests.tiny.models import TOKENIZER_OF
from tests.tiny.tokenizers import SPECIALS

AUTO: dict[str, Any] = {
    "sequence": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "answer": AutoModelForQuestionAnswering,
    "choice": AutoModelForMultipleChoice,
}
FAMILIES = (
    "bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert", "distilbert", "electra", "albert", "mpnet",
)  # fmt: skip
KINDS = {"distilbert": "wordpiece", "electra": "wordpiece", "albert": "unigram", "mpnet": "wordpiece"} | TOKENIZER_OF
_SPECIAL: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def config(family: str, vocabulary: int, **fields: Any) -> PreTrainedConfig:
    """The config of a tiny model of a family."""
    common = {"vocab_size": vocabulary, "initializer_range": 0.2, **_SPECIAL}
    usual = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "hidden_size": 32}
    own: dict[str, Any] = {
        "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64},
        "electra": {**usual, "embedding_size": 16, "max_position_embeddings": 64},
        "albert": {**usual, "embedding_size": 16, "max_position_embeddings": 64},
        "mpnet": {**usual, "max_position_embeddings": 66},
    }
    if family in own:
        return AutoConfig.for_model(family, **common, **own[family], **fields)
    made = tiny.config(family, vocab_size=vocabulary)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def foreign(folder: Path, family: str, kind: str, *, labels: tuple[str, ...] = (), **fields: Any) -> Path:
    """Write a checkpoint with a stock head and return its folder; it has no files of ours."""
    toy = tiny.tokenizer(KINDS[family])
    named: dict[str, Any] = {}
    if labels:
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    made = model(family, kind, toy.get_vocab_size(), **named, **fields)
    folder.mkdir(parents=True, exist_ok=True)
    made.save_pretrained(folder)
    toy.save(str(folder / "tokenizer.json"))
    cls, pad, sep, unk, mask = SPECIALS[KINDS[family]]
    names: dict[str, Any] = {"cls_token": cls, "pad_token": pad, "sep_token": sep, "unk_token": unk, "mask_token": mask}
    types = int(getattr(made.config, "type_vocab_size", 0) or 0) > 1
    names |= {"model_input_names": ["input_ids", *["token_type_ids"] * types, "attention_mask"]}
    names |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    return folder


def model(family: str, kind: str, vocabulary: int, **fields: Any) -> PreTrainedModel:
    """A random model with a head; biases and norms get noise, so that one that is forgotten shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = AUTO[kind].from_config(config(family, vocabulary, **fields))
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    found: PreTrainedModel = made.eval()
    return found


def edited(folder: Path, **fields: Any) -> Path:
    """The folder with other fields in its config.json; None removes one."""
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8")) | fields
    content = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder
