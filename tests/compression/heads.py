"""Task models of every kind at toy size, and inputs for them."""

from __future__ import annotations

import random
from typing import Any

import torch

from slonik.compression.plan import Plan, whole
from slonik.compression.task_texts import TaskFields
from slonik.models.encoder import TorchEncoder
from slonik.models.task_model import TaskModel, new_task_model
from slonik.text.pairs import Fields, TaskInput, TextSpan
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import PadFields
from tests import tiny
from tests.compression.families import tiny as tiny_model
from tests.tiny.models import TOKENIZER_OF

LABELS = ("плохо", "хорошо", "никак")
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
KINDS: dict[str, dict[str, Any]] = {
    "sequence": {"kind": "sequence", "labels": LABELS, "head": {"dense": True}},
    "several labels": {"kind": "sequence", "target": "multi", "labels": LABELS},
    "number": {"kind": "sequence", "target": "number", "scale": (1.0, 2.0), "head": {"pooling": "cls"}},
    "pair": {"kind": "pair", "labels": LABELS[:2], "head": {"hidden": 8}},
    "texts apart": {"kind": "pair", "labels": LABELS[:2], "pairs": "separate", "head": {"balance": True}},
    "words": {"kind": "words", "labels": LABELS[:2], "head": {"whole": True}},
    "choice": {"kind": "choice", "target": "choice", "head": {"relations": True}},
    "answer": {"kind": "answer", "target": "answer"},
    "tags": {"kind": "tokens", "target": "tags", "labels": TAGS, "head": {"crf": True}},
    "tags of all layers": {"kind": "tokens", "target": "tags", "labels": TAGS, "head": {"layers": 4}},
    "stock sequence": {"kind": "sequence", "shape": "stock", "labels": LABELS},
    "stock number": {"kind": "sequence", "shape": "stock", "target": "number"},
    "stock answer": {"kind": "answer", "shape": "stock", "target": "answer"},
    "stock choice": {"kind": "choice", "shape": "stock", "target": "choice"},
    "stock tags": {"kind": "tokens", "shape": "stock", "target": "tags", "labels": TAGS},
}
"""Name -> what its `TaskConfig` says."""
_KIN = {"distilbert": "wordpiece", "electra": "wordpiece"}


def encoder(family: str = "bert", *, layers: int = 3, seed: int = 0) -> TorchEncoder:
    """An encoder of three layers of `family` with its toy tokenizer."""
    toy = tiny.tokenizer(_KIN.get(family) or TOKENIZER_OF[family])
    model = tiny_model(family, layers=layers, seed=seed, vocab=toy.get_vocab_size())
    return TorchEncoder(model, toy, SentenceConfig(max_length=48), name=family)


def task_model(kind: str, family: str = "bert", **changes: Any) -> TaskModel:
    """A random task model of KINDS, every parameter of its head with noise."""
    config = TaskConfig(**{"max_length": 48, **KINDS[kind], **changes})
    model = new_task_model(encoder(family), config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        for name, buffer in model.head.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(torch.randn(buffer.shape, generator=generator) * 0.1)
    return model.eval()


def inputs(config: TaskConfig, count: int = 4) -> list[TaskInput]:
    """Inputs of a task, of different lengths."""
    texts = [text for text in tiny.TEXTS if len(text.split()) > 2][: 2 * count]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    if config.kind == "choice":
        return [TaskInput(((one, other), (other, one))) for one, other in pairs]
    if config.kind in ("pair", "answer", "words"):
        spans = (TextSpan(0, 0, 0, 4), TextSpan(0, 1, 0, 4)) if config.kind == "words" else ()
        apart = config.pairs == "separate"
        return [TaskInput(((one,), (other,)) if apart else ((one, other),), spans) for one, other in pairs]
    return [TaskInput(((one,),)) for one, _ in pairs]


def batch(model: TaskModel, given: list[TaskInput] | None = None) -> dict[str, torch.Tensor]:
    """A padded batch of `inputs`."""
    fields: list[Fields] = TaskFields(model)(given or inputs(model.config))
    return PadFields({"input_ids": model.pad_id})(fields)


def outputs(model: TaskModel, fields: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """What it answers to its inputs."""
    with torch.inference_mode():
        found: torch.Tensor = model(fields or batch(model))
    return found


def plan_of(model: TaskModel, *, hidden: bool, seed: int = 0) -> Plan:
    """A random plan that drops the middle layer, heads and neurons, and hidden dimensions where asked."""
    rng = random.Random(seed)
    plan = whole(model.encoder.model)
    update: dict[str, Any] = {
        "layers": (0, 2), "heads": ((0, 2), (1, 2, 3)),
        "ffn": tuple(tuple(sorted(rng.sample(range(48), count))) for count in (20, 31)),
        "hidden": tuple(sorted(rng.sample(range(32), 20))) if hidden else None,
    }  # fmt: skip
    return plan.model_copy(update=update)
