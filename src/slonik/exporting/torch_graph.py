"""From a torch encoder to an fp32 ONNX graph with two outputs. Optimising and quantising it come after.

Attention becomes one node for every family that goes through transformers' attention interface: `onnx_attention`
stands in for sdpa while a model is being exported, and instead of a dozen primitive operators leaves one
`com.microsoft::MultiHeadAttention`, which onnxruntime runs as a single kernel. The mask is a float bias (B, 1, T, T)
computed once per forward pass; on this kernel a bias is as fast as no mask at all, while its padding-mask input costs
a conversion in every layer. Such a graph cannot be run in torch: parity is checked on files.

Shapes: B texts, T tokens, D dimensions; both B and T are dynamic.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import onnx
import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, bidirectional_mask_function, eager_mask

from slonik.core.errors import SlonikError
from slonik.exporting.standard import OPSET
from slonik.models.kinds import FAMILIES, family_of
from slonik.models.pipeline import Pipeline
from slonik.text.sentence_config import SentenceConfig

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("last_hidden_state", "sentence_embedding")
_EXAMPLE = (3, 7)  # neither 1, nor equal to each other or to any size of a model
_ATTENTION = "slonik_onnx"  # the name of our attention in transformers' interface
TRIED = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "eurobert", "modernbert", "mpnet",
    "nomic_bert", "roberta", "xlm-roberta", "mt5", "t5", "umt5", "gpt2",
)  # fmt: skip
"""Families whose export was tried; another one gets a sentence, not an attempt."""


def part_to_export(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """The module whose last hidden states are exported: the model, or the encoder half of a T5.

    A GPT-2 is exported as a reader of text (hidden states under its causal mask); generating needs a cache of keys
    and values, which these files do not have.

    Raises:
        SlonikError: the family is not known to export.
    """
    family = family_of(str(model.config.model_type))
    if family not in TRIED:
        raise SlonikError(
            f"{name} is of the family {family!r}, which cannot be exported to ONNX: known are {', '.join(TRIED)}"
        )
    part: PreTrainedModel = model.get_encoder() if FAMILIES[family] == "encoder-decoder" else model
    return part


def limits_of(family: str) -> tuple[str, ...]:
    """What an exported model of this family cannot do, said to the user with the result."""
    stack = FAMILIES.get(family_of(family))
    if stack == "decoder":
        return ("the files give hidden states and sentence vectors; slonik generate writes text with the original",)
    if stack == "encoder-decoder":
        return ("the files hold the encoder half alone; slonik generate writes text with the original",)
    return ()


class SentenceGraph(torch.nn.Module):
    """ids and mask (B, T) -> last hidden states (B, T, D), sentence vectors (B, dimension) by all of its modules."""

    def __init__(self, model: PreTrainedModel, sentence: SentenceConfig) -> None:
        super().__init__()
        self.model = model
        self.pipeline = Pipeline(sentence.modules, sentence.truncate_dim)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The two outputs, last hidden states first: other clients read that one and pool it themselves."""
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        hidden = output.last_hidden_state
        vectors = self.pipeline(hidden, attention_mask)
        return hidden, vectors


def to_onnx(graph: SentenceGraph, max_length: int, *, fused: bool = True) -> onnx.ModelProto:
    """Export `graph` with dynamic batch and length (at most `max_length` tokens).

    Args:
        fused: let the model's attention become fused nodes where its family allows (see `onnx_attention`), and fold
            token types into positions; without it the graph is what torch makes of the stock code.
    """
    attention = exporting(graph.model) if fused else nullcontext()
    types = token_types_folded(graph.model) if fused else nullcontext()
    batch = torch.export.Dim("batch", min=1)
    length = torch.export.Dim("length", min=1, max=max_length)
    ids = torch.ones(_EXAMPLE, dtype=torch.int64)
    with quiet(), torch.no_grad(), attention, types:
        program = torch.onnx.export(
            graph.eval(),
            (ids, torch.ones_like(ids)),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes={name: {0: batch, 1: length} for name in INPUTS},
        )
        return graph_of(program)  # reads the weights now, while token types are folded in


def graph_of(program: Any) -> onnx.ModelProto:
    """The graph of what torch exported, without what tells of this machine: the lines of source of its nodes."""
    model: onnx.ModelProto = program.model_proto
    for place in (model.graph, *model.functions):
        for part in (place, *place.node, *place.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


class _Nothing(torch.nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros((), dtype=torch.float32)


@contextmanager
def token_types_folded(model: PreTrainedModel) -> Iterator[None]:
    """Add the row of token type 0 to every position inside the block: one text has no other type.

    Saves six nodes at the start of BERT-like graphs. The model's own tables are put back afterwards.
    """
    embeddings: Any = getattr(model, "embeddings", None)
    types: Any = getattr(embeddings, "token_type_embeddings", None)
    positions: Any = getattr(embeddings, "position_embeddings", None)
    both = isinstance(types, torch.nn.Embedding) and isinstance(positions, torch.nn.Embedding)
    if embeddings is None or not both or types.embedding_dim != positions.embedding_dim:
        yield
        return
    before = positions.weight.data
    try:
        positions.weight.data = before + types.weight.data[0]
        embeddings.token_type_embeddings = _Nothing()
        yield
    finally:
        positions.weight.data = before
        embeddings.token_type_embeddings = types


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter's remarks on its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def onnx_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """One MultiHeadAttention node for query, key and value (B, H, T, d); gives (B, T, H, d).

    Args:
        module: unused; the interface passes the layer.
        attention_mask: additive bias (B or 1, 1 or H, T, T), or None.
        scaling: factor of the scores; None = 1/sqrt(d).
        kwargs: `position_bias`, an additive bias of T5's kind; the rest is unused.
    """
    batch, heads, length, size = query.shape
    bias = kwargs.get("position_bias")
    if bias is None:
        bias = attention_mask
    elif attention_mask is not None:
        bias = bias + attention_mask
    mixed: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        [_rows(query), _rows(key), _rows(value), None, None, bias],
        {"num_heads": heads, "scale": float(scaling if scaling is not None else size**-0.5)},
        dtype=query.dtype,
        shape=(batch, length, heads * size),
        version=1,
    )
    return mixed.reshape(batch, length, heads, size), None


def bias_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    attention_mask: Tensor | None = None,
    mask_function: Any = None,
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> Tensor | None:
    """Additive mask (B, 1, T, T); the common two-sided case in five operators instead of twenty."""
    plain = mask_function is bidirectional_mask_function and not kwargs.get("use_vmap")
    if plain and attention_mask is not None and attention_mask.dim() == 2:
        away = (attention_mask.to(dtype) - 1.0) * -torch.finfo(dtype).min
        return away[:, None, None, :].expand(-1, 1, q_length, -1)
    return eager_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        attention_mask=attention_mask,
        mask_function=mask_function,
        dtype=dtype,
        **kwargs,
    )


def _rows(tensor: Tensor) -> Tensor:
    batch, heads, length, size = tensor.shape
    return tensor.transpose(1, 2).reshape(batch, length, heads * size)


@contextmanager
def exporting(model: PreTrainedModel) -> Iterator[None]:
    """Switch `model` to `onnx_attention` inside the block; a family that cannot be switched runs its eager code."""
    AttentionInterface.register(_ATTENTION, onnx_attention)
    AttentionMaskInterface.register(_ATTENTION, bias_mask)
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(_ATTENTION if getattr(model, "_supports_sdpa", False) else "eager")
        yield
    finally:
        model.set_attn_implementation(before)
