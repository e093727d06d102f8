"""Outputs of a task model for any number of examples, in their order; what they say is in `slonik.text.answers`.

Batches are cut by token budget; what a batch is made of does not change an example's outputs beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slonik.core.progress import track
from slonik.finetuning.items import Floats, Item, token_fields
from slonik.models.encoder import TorchEncoder
from slonik.models.task_model import TaskModel
from slonik.text.answers import probabilities
from slonik.text.batching import token_budget_batches
from slonik.text.pairs import Fields, PairTokenizer
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import PadFields

_BATCHES_WORTH_A_BAR = 40
_BATCH_TOKENS = 4096
_ENCODED = ("input_ids", "attention_mask", "token_type_ids")


def tokenizer_of(model: TaskModel) -> PairTokenizer:
    """The tokenizer of a task model, with its length."""
    return PairTokenizer(model.encoder.tokenizer, model.max_length)


def padding_of(tokenizer: PairTokenizer) -> PadFields:
    """How batches of this tokenizer's fields are padded."""
    return PadFields({"input_ids": tokenizer.pad_id})


def outputs_of(
    model: TaskModel, fields: Sequence[Fields], *, batch_texts: int = 64, autocast: bool = True
) -> list[Floats]:
    """The head's outputs per example, cut to the example's own candidates or tokens; float32.

    Args:
        fields: token fields of examples, without labels (labels are left out).
        autocast: matrix products in bfloat16.
    """
    target = model.config.target

    def own(output: Tensor, shape: tuple[int, ...]) -> Tensor:
        if target == "choice":
            return output[: shape[0]]
        return output[:, : shape[0]] if target == "answer" else output

    plain = [{name: array for name, array in one.items() if name not in ("label", "teacher")} for one in fields]
    title = f"answering with {model.encoder.name}"
    return _run(
        model, plain, lambda batch: model(batch).float(), own, title, batch_texts=batch_texts, autocast=autocast
    )


def _run(
    model: TaskModel,
    fields: Sequence[Fields],
    work: Callable[[dict[str, Tensor]], Tensor],
    own: Callable[[Tensor, tuple[int, ...]], Tensor],
    title: str,
    *,
    batch_texts: int = 64,
    autocast: bool = True,
) -> list[Floats]:
    """What `work` makes of batches of examples, each cut by `own` to the shape of its own `input_ids`."""
    pad = padding_of(tokenizer_of(model))
    batches = token_budget_batches([one["input_ids"].size for one in fields], _BATCH_TOKENS, batch_texts)
    found: list[Any] = [None] * len(fields)
    steps = track(batches, title) if len(batches) > _BATCHES_WORTH_A_BAR else batches
    training = model.training
    model.eval()
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
        for batch in steps:
            tensors = {name: tensor.to(model.device) for name, tensor in pad([fields[i] for i in batch]).items()}
            outputs = work(tensors).cpu()
            for place, number in enumerate(batch):
                found[number] = own(outputs[place], fields[number]["input_ids"].shape).numpy()
    model.train(training)
    return found


class FrozenStates:
    """Hidden states of an encoder that does not change, each input encoded once for all folds, seeds and epochs.

    Args:
        encoder: in eval mode. Beyond 4 M cached tokens, states are computed again when they are asked for.
    """

    def __init__(self, encoder: TorchEncoder) -> None:
        config = TaskConfig(kind="sequence", target="number", max_length=encoder.max_length)
        self._model = TaskModel(encoder, nn.Identity(), config).eval()
        self._known: dict[bytes, Floats] = {}
        self._room = 4_000_000

    def add_to(self, fields: Sequence[Fields]) -> list[Fields]:
        """The same fields with `hidden` (T, D) or (R, T, D), float16."""
        keys = [
            bytes(str(one["input_ids"].shape), "ascii") + one["input_ids"].tobytes() + one["token_type_ids"].tobytes()
            for one in fields
        ]
        missing = {key: one for key, one in zip(keys, fields, strict=True) if key not in self._known}
        found = dict(zip(missing, self._encoded(list(missing.values())), strict=True))
        made = [{**one, "hidden": self._known.get(key, found.get(key))} for key, one in zip(keys, fields, strict=True)]
        for key, states in found.items():
            self._room -= missing[key]["input_ids"].size
            if self._room >= 0:
                self._known[key] = states
        return made  # type: ignore[return-value]

    def _encoded(self, fields: Sequence[Fields]) -> list[Floats]:
        plain = [{name: one[name] for name in _ENCODED if name in one} for one in fields]
        return _run(
            self._model, plain, lambda batch: self._model.hidden(batch).to(torch.float16),
            lambda states, shape: states[tuple(slice(size) for size in shape)].clone(), "encoding",
        )  # fmt: skip


def answer(
    model: TaskModel,
    items: Sequence[Item],
    *,
    batch_texts: int = 64,
    autocast: bool = True,
    states: FrozenStates | None = None,
) -> list[Floats]:
    """Probabilities of a task model for items, per item; `states`: of its encoder, which was not trained."""
    fields = token_fields(items, tokenizer_of(model))
    fields = states.add_to(fields) if states is not None else fields
    outputs = outputs_of(model, fields, batch_texts=batch_texts, autocast=autocast)
    return [probabilities(one, model.config.target) for one in outputs]
