"""Vectors of every layer from one pass over the texts, and the part of a model that reads them.

Works on encoders, on decoders, and on the encoder half of encoder-decoder models. Layer 0 is the embedding output.
As in the stock classes, the last layer of families with a final norm is given after that norm. Nothing is normalised.

Shapes: N texts, B texts of a batch, T tokens, L layers, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.models.padding import pad
from slonik.models.pooling import mean_pool
from slonik.text.batching import token_budget_batches

if TYPE_CHECKING:
    from slonik.models.encoder import TorchEncoder

LAYER_POOLINGS = ("mean", "cls", "last")


def reading_part(model: PreTrainedModel) -> Any:
    """The module that turns token ids into hidden states: the encoder of an encoder-decoder, else the model itself."""
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def pool_layer(hidden: Tensor, mask: Tensor, kind: str) -> Tensor:
    """(B, T, D), (B, T) -> (B, D) float32: mean over the tokens that are not padding (specials included, as in
    RuSentEval), the first token, or the last token that is not padding."""
    if kind == "mean":
        return mean_pool(hidden, mask)
    if kind == "cls":
        return hidden[:, 0].float()
    if kind == "last":
        ends = mask.sum(1).clamp_min(1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), ends].float()
    raise SlonikError(f"layers cannot be pooled by {kind!r}: use {', '.join(LAYER_POOLINGS)}")


def layer_vectors(
    encoder: TorchEncoder, texts: Sequence[str], poolings: Sequence[str] = ("mean",), *, prefix: str | None = ""
) -> dict[str, NDArray[np.float16]]:
    """Pooling -> vectors (L + 1, N, D) in half precision; texts are cut at the model's length.

    Raises:
        SlonikError: an unknown pooling, or a model that gives no hidden states.
    """
    part = reading_part(encoder.model)
    rows = encoder.tokenize(texts, prefix)
    found: dict[str, NDArray[np.float16]] = {}
    batches = token_budget_batches([len(row) for row in rows], encoder.batch_tokens)
    mixed = torch.autocast(encoder.device.type, dtype=encoder.autocast, enabled=encoder.autocast is not None)
    with progress_bar(f"layers of {encoder.name}", total=len(rows)) as bar, torch.inference_mode(), mixed:
        for batch in batches:
            inputs = pad([rows[index] for index in batch], encoder.pad_id, device=encoder.device)
            mask = inputs["attention_mask"]
            states = part(**inputs, output_hidden_states=True).hidden_states
            if not states:
                raise SlonikError(f"{encoder.name} gives no hidden states: its class does not support them")
            for kind in poolings:
                pooled = torch.stack([pool_layer(state, mask, kind) for state in states]).cpu().numpy()
                if kind not in found:
                    found[kind] = np.zeros((len(pooled), len(rows), pooled.shape[-1]), dtype=np.float16)
                found[kind][:, batch] = _half(pooled)
            bar.advance(len(batch))
    return found


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """To half precision; what does not fit (a few outlier dimensions of some models) becomes its largest number."""
    largest = float(np.finfo(np.float16).max)
    return np.clip(values, -largest, largest).astype(np.float16)
