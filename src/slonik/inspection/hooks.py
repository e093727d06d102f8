"""What goes on inside a model during one pass: hidden states, attention weights, what every head puts out, gradients.

Stock Transformers has no head masks any more, and its fused attention (sdpa) gives no weights but an empty tuple: here
heads are read where they enter the output projection (the anatomy table knows where), and attention is switched to the
eager implementation for the pass and back. A family that still gives nothing is an error, never an empty result.

Shapes: B texts, T tokens, L layers, H heads (may differ by layer), S head size, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.models.anatomy import LayerParts, dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.padding import pad
from slonik.models.pooling import reading_part


@dataclass(frozen=True)
class Inside:
    """One pass over a batch.

    Attributes:
        mask: (B, T), 1 for tokens. hidden: L + 1 tensors (B, T, D), embeddings first.
        attentions: per layer (B, H, T, T), rows sum to 1 over the tokens a row may see; empty if not asked for.
        heads: per layer (B, T, H, S), contexts of the heads before the output projection.
        gradients: per layer (B, T, H, S), of the summed loss by `heads`; empty without a loss.
    """

    mask: Tensor
    hidden: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...]
    heads: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...] = ()


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block attention weights are computed openly; afterwards every config is as it was.

    The setting is written to the configs directly: `set_attn_implementation` refuses classes whose own source file does
    not spell the attention function out, which is so for our uneven-shape ones, and then goes on without a change.
    """
    configs: dict[int, Any] = {id(model.config): model.config}
    for module in model.modules():
        if (config := getattr(module, "config", None)) is not None and hasattr(config, "_attn_implementation"):
            configs[id(config)] = config
    used = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = used[key]


def look_inside(
    model: PreTrainedModel,
    ids: Tensor,
    mask: Tensor,
    *,
    attentions: bool = True,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Inside:
    """Run the reading part of `model` over a batch and keep what happens.

    Args:
        ids, mask: (B, T). attentions: whether to keep weights (needs eager attention, which is slower).
        loss: (last hidden (B, T, D), mask) -> a number or one per text; its gradient by the heads is kept.

    Raises:
        SlonikError: a family that is not in the anatomy table, or one that gives no attention weights.
    """
    body = dissect(model)
    contexts: list[Tensor | None] = [None] * len(body.layers)
    with ExitStack() as stack:
        for index, layer in enumerate(body.layers):
            stack.callback(layer.context.register_forward_pre_hook(_keeper(contexts, index, loss is not None)).remove)
        stack.enter_context(torch.set_grad_enabled(loss is not None))
        if attentions:
            stack.enter_context(eager_attention(model))
        output = reading_part(model)(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, output_attentions=attentions
        )
        weights = tuple(getattr(output, "attentions", None) or ())
        if attentions and len(weights) != len(body.layers):
            raise SlonikError(
                f"{type(model).__name__} gave attention weights of {len(weights)} layers out of {len(body.layers)}: "
                "its class cannot show them with this version of transformers"
            )
        gradients: tuple[Tensor, ...] = ()
        if loss is not None:
            value = loss(output.last_hidden_state, mask).sum()
            kept = [tensor for tensor in contexts if tensor is not None]
            gradients = tuple(torch.autograd.grad(value, kept))
    heads = tuple(_by_head(tensor, layer) for tensor, layer in zip(contexts, body.layers, strict=True))
    by_head = tuple(_by_head(tensor, layer) for tensor, layer in zip(gradients, body.layers, strict=False))
    states = tuple(state.detach() for state in output.hidden_states)
    return Inside(mask, states, tuple(weight.detach() for weight in weights), heads, by_head)


def batches(
    encoder: TorchEncoder, texts: Sequence[str], size: int, prefix: str | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded ids and masks of `texts` in their order, `size` texts at a time; None = the encoder's own prefix."""
    rows = encoder.tokenize(texts, prefix)
    for start in range(0, len(rows), size):
        inputs = pad(rows[start : start + size], encoder.pad_id, device=encoder.device)
        yield inputs["input_ids"], inputs["attention_mask"]


def _keeper(
    contexts: list[Tensor | None], index: int, differentiable: bool
) -> Callable[..., tuple[Tensor, ...] | None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        context = inputs[0]
        if differentiable and not context.requires_grad:
            context = context.detach().requires_grad_(True)  # frozen weights: the graph starts here
            contexts[index] = context
            return (context, *inputs[1:])
        contexts[index] = context
        return None

    return hook


def _by_head(tensor: Tensor | None, layer: LayerParts) -> Tensor:
    assert tensor is not None
    found = tensor.detach()
    return found.view(*found.shape[:2], layer.heads, layer.head_size)
