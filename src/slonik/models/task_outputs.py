"""Outputs of a task model for any number of examples, in their order; what they say is in `slonik.text.answers`.

Batches are cut by token budget; what a batch is made of does not change an example's outputs beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.progress import track
from slonik.models.heads.stock import StockHead
from slonik.models.precision import autocast as half_precision
from slonik.models.precision import precision_on
from slonik.text.answers import Floats
from slonik.text.batching import pad_fields, token_budget_batches
from slonik.text.pairs import Fields
from slonik.text.task_config import TaskConfig

_BATCHES_WORTH_A_BAR = 40
_BATCH_TOKENS = 4096


class Headed(Protocol):
    """An encoder with a head as a module: `slonik.models.task_module.TaskModel`."""

    name: str
    config: TaskConfig
    head: nn.Module
    training: bool

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def pad_id(self) -> int:
        """The id to pad with."""
        ...

    @property
    def ending_id(self) -> int | None:
        """The id by which its class finds a text's end; None where it needs none."""
        ...

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        """Outputs of the head."""
        ...

    def train(self, mode: bool = True) -> Any:
        """To training or to evaluation."""
        ...


def outputs_of(
    model: Headed, fields: Sequence[Fields], *, batch_texts: int = 64, autocast: bool = True
) -> list[Floats]:
    """The head's outputs per example, cut to the example's own candidates or tokens; float32.

    Args:
        fields: token fields of examples, without labels (labels are left out).
        autocast: matrix products in bfloat16 where the device computes them faster; False: in float32 in any case.
    """
    target = model.config.target

    def own(output: Tensor, shape: tuple[int, ...]) -> Tensor:
        if target == "choice":
            return output[: shape[0]]
        if target == "tags":
            return output[: shape[0]]
        return output[:, : shape[0]] if target == "answer" else output

    plain = [{name: array for name, array in one.items() if name not in ("label", "teacher")} for one in fields]
    title = f"answering with {model.name}"
    return run_batches(
        model, plain, lambda batch: model(batch).float(), own, title, batch_texts=batch_texts, autocast=autocast
    )


def run_batches(
    model: Headed,
    fields: Sequence[Fields],
    work: Callable[[dict[str, Tensor]], Tensor],
    own: Callable[[Tensor, tuple[int, ...]], Tensor],
    title: str,
    *,
    batch_texts: int = 64,
    autocast: bool = True,
) -> list[Floats]:
    """What `work` makes of batches of examples, each cut by `own` to the shape of its own `input_ids`."""
    found: list[Any] = [None] * len(fields)
    batches = _batches(model, fields, batch_texts)
    steps = track(batches, title) if len(batches) > _BATCHES_WORTH_A_BAR else batches
    training = model.training
    model.train(False)
    try:
        with torch.inference_mode(), half_precision(model.device, precision_on(model.device) if autocast else "fp32"):
            for batch in steps:
                padded = pad_fields([fields[i] for i in batch], {"input_ids": model.pad_id})
                outputs = work({name: torch.from_numpy(a).to(model.device) for name, a in padded.items()}).cpu()
                for place, number in enumerate(batch):
                    found[number] = own(outputs[place], fields[number]["input_ids"].shape).numpy()
    finally:
        model.train(training)
    return found


def _batches(model: Headed, fields: Sequence[Fields], batch_texts: int) -> list[NDArray[np.int64]]:
    """Numbers of the examples of each batch."""
    alone = isinstance(model.head, StockHead) and model.head.one_by_one
    sizes = [one["input_ids"].size for one in fields]
    batches = token_budget_batches(sizes, _BATCH_TOKENS, 1 if alone else batch_texts)
    ending = model.ending_id
    if ending is None:
        return batches
    split = []  # the class wants as many ends of a text in every example of a batch
    for batch in batches:
        ends = np.array([int((fields[i]["input_ids"] == ending).sum()) for i in batch])
        split += [batch[ends == count] for count in np.unique(ends)]
    return split
