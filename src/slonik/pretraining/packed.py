"""Several documents in one row, none of which sees another: rows without padding, and the attention that goes with it.

Source: Krell et al., "Efficient Sequence Packing without Cross-contamination" (2021). Positions start anew in each
document and attention is block-diagonal, so the loss of a packed batch is that of the padded one. Works for BERT,
RoBERTa, XLM-RoBERTa, DistilBERT, ModernBERT and GPT-2; DeBERTa's stock class multiplies embeddings by its mask and
takes no blocks. T5's rows hold several pairs of input and target, each of which sees its own input alone. Shapes: B
rows, T tokens of an encoder or of the only stack, S tokens of a decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from slonik.core.errors import SlonikError
from slonik.text.batching import pack_in_order, pad_arrays
from slonik.train.kernels import FLEX, FLEX_BIASED
from slonik.train.protocols import Batch

_CAN_PACK = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert", "gpt2")
_CAN_PACK_PAIRS = ("t5", "mt5")  # relative positions alone, in the first layer's bias
_FAR = -1e9


def can_pack(model: nn.Module) -> bool:
    """Whether rows of several documents may be given to `model`."""
    return _family(model) in _CAN_PACK or bool(getattr(model, "takes_blocks", False))


def can_pack_pairs(model: nn.Module) -> bool:
    """Whether rows of several (input, target) pairs may be given to an encoder-decoder."""
    return _family(model) in _CAN_PACK_PAIRS


def pack_rows(
    columns: Mapping[str, Sequence[NDArray[np.integer]]], fill: Mapping[str, int], length: int
) -> dict[str, Tensor]:
    """Put texts into rows of at most `length` tokens, in their order.

    Args:
        columns: name -> R arrays; the arrays of one text are equally long. The first decides the lengths.
        fill: name -> what stands after the last text of a row.
        length: tokens of a row; a batch is as wide as its longest row.

    Returns:
        The columns (B, T) int64; `attention_mask`, 1 for real tokens; `segments`, the number of the text within its
        row from 1, 0 for padding; `position_ids`, from 0 in each text.

    Raises:
        SlonikError: a text is longer than a row.
    """
    first = next(iter(columns.values()))
    lengths = [len(text) for text in first]
    if max(lengths, default=0) > length:
        raise SlonikError(f"a text of {max(lengths)} tokens does not fit into rows of {length}: cut texts first")
    rows = pack_in_order(lengths, length)
    width = max((sum(lengths[text] for text in row) for row in rows), default=0)
    names = (*columns, "segments", "position_ids")
    made = {name: np.full((len(rows), width), fill.get(name, 0), dtype=np.int64) for name in names}
    for number, row in enumerate(rows):
        place = 0
        for segment, text in enumerate(row, start=1):
            span = slice(place, place + lengths[text])
            for name, texts in columns.items():
                made[name][number, span] = texts[text]
            made["segments"][number, span] = segment
            made["position_ids"][number, span] = np.arange(lengths[text])
            place += lengths[text]
    made["attention_mask"] = (made["segments"] > 0).astype(np.int64)
    return {name: torch.from_numpy(array) for name, array in made.items()}


def pack_pairs(
    pairs: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]], length: int, pad_id: int, ignored: int
) -> dict[str, Tensor]:
    """Put (input, target) pairs into rows whose inputs have at most `length` tokens together, in their order.

    Returns:
        input_ids, attention_mask, segments (B, T) and labels, decoder_segments (B, S). Segments are the number of the
        pair within its row from 1, 0 for padding; `ignored` stands where a row has no target.
    """
    if not pairs:
        return {name: torch.zeros((0, 0), dtype=torch.int64) for name in (*_PAIR_COLUMNS, "labels")}
    rows = pack_in_order([len(inputs) for inputs, _ in pairs], length)
    columns: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("input_ids", "segments", "labels", "targets")}
    for row in rows:
        for side, ids, segments in ((0, "input_ids", "segments"), (1, "labels", "targets")):
            parts = [pairs[number][side] for number in row]
            columns[ids].append(np.concatenate(parts).astype(np.int64))
            sizes = [len(part) for part in parts]
            columns[segments].append(np.repeat(np.arange(1, len(row) + 1), sizes))
    fill = {"input_ids": pad_id, "labels": ignored}
    made = {name: torch.from_numpy(pad_arrays(found, fill.get(name, 0))) for name, found in columns.items()}
    made["decoder_segments"] = made.pop("targets")
    return made | {"attention_mask": (made["segments"] > 0).long()}


_PAIR_COLUMNS = ("input_ids", "attention_mask", "segments", "decoder_segments")


def pair_inputs(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """The keyword arguments of an encoder-decoder's forward pass for unpacked rows with labels."""
    inputs: dict[str, Any] = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    mask = inputs["attention_mask"]
    if mask.device.type != "cpu" and can_pack_pairs(model) and not _uses_flex(model):  # as in `model_inputs`
        inputs["attention_mask"] = _far(mask.bool()[:, None, None, :])
    return inputs | {"use_cache": False}


def encoded_pairs(model: Any, batch: Batch) -> Tensor:
    """The decoder's states (B, S, D) of a batch that `pack_pairs` made; `labels` decide what the decoder reads.

    Raises:
        SlonikError: the model takes no packed pairs.
    """
    if not can_pack_pairs(model):
        raise SlonikError(f"{_family(model)} takes no packed rows: switch packing off")
    source, target, labels = batch["segments"], batch["decoder_segments"], batch["labels"]
    first = target != torch.roll(target, 1, dims=1)
    first[:, 0] = True
    read = torch.where(first, int(model.config.decoder_start_token_id), torch.roll(labels, 1, dims=1))
    read = torch.where(target == 0, int(model.config.pad_token_id), read)
    reading, writing, crossing = _pair_masks(model, source, target)
    encoded = model.encoder(input_ids=batch["input_ids"], attention_mask=reading)
    hidden: Tensor = model.decoder(
        input_ids=read, attention_mask=writing, encoder_hidden_states=encoded[0], encoder_attention_mask=crossing,
        use_cache=False,
    )[0]  # fmt: skip
    return hidden


def _pair_masks(model: Any, source: Tensor, target: Tensor) -> tuple[Any, Any, Any]:
    """Who looks at whom in the encoder, in the decoder, and from the decoder into the encoder; padding of the decoder
    looks somewhere, for a softmax over nothing is no number."""
    if _uses_flex(model):
        crossing = _flex_mask(target, source, somewhere=True)
        return _flex_mask(source), _flex_mask(target, causal=True), crossing
    own = target[:, None, :, None] == target[:, None, None, :]
    causal = own & torch.ones(own.shape[-2:], dtype=torch.bool, device=own.device).tril()
    across = (target[:, None, :, None] == source[:, None, None, :]) | (target == 0)[:, None, :, None]
    return _far(source[:, None, :, None] == source[:, None, None, :]), _far(causal), _far(across)


def _uses_flex(model: nn.Module) -> bool:
    return getattr(getattr(model, "config", None), "_attn_implementation", "") in (FLEX, FLEX_BIASED)


def _far(may: Tensor) -> Tensor:
    """0 where a token may look: T5 adds its position bias to this, whatever its attention runs on."""
    return torch.zeros(may.shape, device=may.device).masked_fill(~may, _FAR)


def model_inputs(model: nn.Module, batch: Batch, *, causal: bool = False) -> dict[str, Any]:
    """The keyword arguments of a model's forward pass for `batch`, packed or not.

    Args:
        causal: whether a token sees only what stands before it.

    Raises:
        SlonikError: the batch is packed and the model takes no blocks.
    """
    inputs: dict[str, Any] = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    if causal:
        inputs["use_cache"] = False  # for generation alone: it costs memory, and torch.compile gives such layers up
    if "token_type_ids" in batch:
        inputs["token_type_ids"] = batch["token_type_ids"]
    if "segments" not in batch:
        if batch["input_ids"].device.type != "cpu" and can_pack(model):
            # Transformers would ask the accelerator whether there is any padding, and wait for its answer.
            inputs["attention_mask"] = _block_mask(model, batch["attention_mask"], causal=causal)
        return inputs
    if not can_pack(model):
        raise SlonikError(f"{_family(model)} takes no packed rows: switch packing off")
    inputs["position_ids"] = batch["position_ids"] + _position_offset(model)
    inputs["attention_mask"] = _block_mask(model, batch["segments"], causal=causal)
    return inputs


def _block_mask(model: nn.Module, segments: Tensor, *, causal: bool) -> Any:
    """(B, 1, T, T): True where a token may look, or 0 and a large negative number for the eager attention; of flex
    attention its own kind of mask, which knows what need not be computed."""
    config = getattr(model, "config", None)
    if _uses_flex(model):
        whole = _flex_mask(segments, causal=causal)
        if _family(model) != "modernbert":
            return whole
        window = int(getattr(config, "sliding_window", 0))
        return {"full_attention": whole, "sliding_attention": _flex_mask(segments, window=window)}
    may = segments[:, None, :, None] == segments[:, None, None, :]
    if causal:
        may = may & torch.ones(may.shape[-2:], dtype=torch.bool, device=may.device).tril()
    eager = getattr(config, "_attn_implementation", "sdpa") == "eager"
    if _family(model) == "modernbert":
        index = torch.arange(segments.shape[1], device=segments.device)
        # The stock class looks so many tokens to either side.
        near = (index[:, None] - index[None, :]).abs() <= int(getattr(config, "sliding_window", 0))
        return {"full_attention": _as_bias(may, eager), "sliding_attention": _as_bias(may & near, eager)}
    return _as_bias(may, eager)


def _flex_mask(
    asking: Tensor,
    read: Tensor | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    somewhere: bool = False,
) -> BlockMask:
    """The same for flex attention: blocks of 128 x 128 tokens of which no pair may look at each other are left out.

    Args:
        asking: (B, T) segments of the tokens that look. read: (B, S) of those that are looked at; None = the same.
        somewhere: padding looks at the first token, where it may find no padding to look at.
    """
    known = asking if read is None else read

    def may(batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        found = asking[batch, query] == known[batch, key]
        if causal:
            found = found & (query >= key)
        if somewhere:
            found = found | ((asking[batch, query] == 0) & (key == 0))
        return found if window is None else found & ((query - key).abs() <= window)

    (rows, length), device = asking.shape, asking.device
    mask = create_block_mask(may, rows, None, length, known.shape[1], device=device, _compile=device.type == "cuda")
    if not hasattr(mask, "ndim"):  # GPT-2's class asks whether it is a finished one
        mask.ndim = 4  # type: ignore[attr-defined]
    return mask


def _as_bias(may: Tensor, eager: bool) -> Tensor:
    return torch.zeros(may.shape, device=may.device).masked_fill(~may, torch.finfo(torch.float32).min) if eager else may


def _position_offset(model: nn.Module) -> int:
    """RoBERTa numbers positions from its padding id + 1."""
    base = getattr(model, "base_model", model)
    table = getattr(getattr(base, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def _family(model: nn.Module) -> str:
    return str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
