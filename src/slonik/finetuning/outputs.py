"""What a task model answers to items, and the hidden states of an encoder that is not trained.

Outputs of examples are `slonik.models.task_outputs`; what they say is in `slonik.text.answers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from slonik.finetuning.items import Floats, Item, token_fields
from slonik.models.encoder import TorchEncoder
from slonik.models.task_model import TaskModel
from slonik.models.task_outputs import outputs_of, run_batches
from slonik.text.answers import probabilities, temperature_of
from slonik.text.pairs import Fields, PairTokenizer
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import PadFields

_ENCODED = ("input_ids", "attention_mask", "token_type_ids")


def tokenizer_of(model: TaskModel) -> PairTokenizer:
    """The tokenizer of a task model, with its length."""
    return model.pairs


def padding_of(tokenizer: PairTokenizer) -> PadFields:
    """How batches of this tokenizer's fields are padded."""
    return PadFields({"input_ids": tokenizer.pad_id})


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
        return run_batches(
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
    heat = temperature_of(model.config)
    return [probabilities(one, model.config.target, heat) for one in outputs]
