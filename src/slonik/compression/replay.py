"""Run layers of a model one at a time, with the arguments (masks, positions) that they get in a real forward pass.

One full pass per batch is recorded; after it, any sequence of layers can be run without the rest of the model, and a
layer can be changed and run again. Shapes: B texts, T tokens, N tokens that are not padding, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slonik.compression.criteria import Batch, scoring
from slonik.models.anatomy import Body

Call = tuple[tuple[Any, ...], dict[str, Any]]


class Replay:
    """Recorded passes of one model over some batches.

    Attributes:
        body: the model. masks: attention mask (B, T) of each batch.
        starts: what enters the first layer, (B, T, D) per batch. ends: what the last layer puts out.
    """

    def __init__(self, body: Body, batches: Sequence[Batch]) -> None:
        self.body = body
        self.masks = [batch["attention_mask"].to(body.model.device) for batch in batches]
        with scoring(body.model), torch.inference_mode():
            passes = [_record(body, batch) for batch in batches]
        self.starts = [start for start, _, _ in passes]
        self.ends = [end for _, _, end in passes]
        self._calls = [calls for _, calls, _ in passes]

    def run(self, layer: int, batch: int, state: Tensor) -> Tensor:
        """What `layer` makes of `state` (B, T, D) of batch number `batch`."""
        args, kwargs = self._calls[batch][layer]
        output = self.body.layers[layer].module(state, *args, **kwargs)
        result: Tensor = output[0] if isinstance(output, tuple) else output
        conv = getattr(getattr(self.body.base, "encoder", None), "conv", None)
        if layer == 0 and conv is not None:  # DeBERTa's encoder adds it behind its first layer
            result = conv(state, result, self.masks[batch])
        return result


def _record(body: Body, batch: Batch) -> tuple[Tensor, list[Call], Tensor]:
    """One full pass: the first layer's input, every layer's further arguments, the last layer's output."""
    calls: list[Call] = []
    entered: list[Tensor] = []
    left: list[Tensor] = []

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(args[0] if args else kwargs["hidden_states"])
        calls.append((args[1:], {name: value for name, value in kwargs.items() if name != "hidden_states"}))

    def after(_module: nn.Module, _args: object, output: Any) -> None:
        left.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.module.register_forward_pre_hook(before, with_kwargs=True) for layer in body.layers]
    handles.append(body.layers[-1].module.register_forward_hook(after))
    try:
        body.base(**{name: batch[name].to(body.model.device) for name in ("input_ids", "attention_mask")})
    finally:
        for handle in handles:
            handle.remove()
    return entered[0], calls, left[0]
