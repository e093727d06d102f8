"""From a torch encoder to an fp32 ONNX graph with two outputs. Optimising and quantising it come after.

Shapes: B texts, T tokens, D dimensions; both B and T are dynamic.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import onnx
import torch
from torch import Tensor
from transformers import PreTrainedModel

from slonik.exporting.fused_attention import exporting
from slonik.models.pooling import pool
from slonik.text.sentence_config import SentenceConfig

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("last_hidden_state", "sentence_embedding")
_EXAMPLE = (3, 7)  # neither 1, nor equal to each other or to any size of a model


class SentenceGraph(torch.nn.Module):
    """ids and mask (B, T) -> last hidden states (B, T, D), sentence vectors (B, D) as the checkpoint makes them."""

    def __init__(self, model: PreTrainedModel, sentence: SentenceConfig) -> None:
        super().__init__()
        self.model = model
        self.sentence = sentence

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The two outputs, last hidden states first: other clients read that one and pool it themselves."""
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        hidden = output.last_hidden_state
        vectors = pool(hidden, attention_mask, self.sentence.pooling, getattr(output, "pooler_output", None))
        if self.sentence.normalize:
            vectors = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min(1e-12)
        return hidden, vectors


def to_onnx(graph: SentenceGraph, max_length: int, *, fused: bool = True) -> onnx.ModelProto:
    """Export `graph` with dynamic batch and length (at most `max_length` tokens).

    Args:
        fused: let the model's attention become fused nodes where its family allows (see `fused_attention`), and fold
            token types into positions; without it the graph is what torch makes of the stock code.
    """
    attention = exporting(graph.model) if fused else nullcontext()
    types = _token_types_folded(graph.model) if fused else nullcontext()
    batch = torch.export.Dim("batch", min=1)
    length = torch.export.Dim("length", min=1, max=max_length)
    ids = torch.ones(_EXAMPLE, dtype=torch.int64)
    with _quiet(), torch.no_grad(), attention, types:
        program = torch.onnx.export(
            graph.eval(),
            (ids, torch.ones_like(ids)),
            dynamo=True,
            verbose=False,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes={name: {0: batch, 1: length} for name in INPUTS},
        )
        assert program is not None
        model: onnx.ModelProto = program.model_proto  # reads the weights now, while token types are folded in
    return model


class _Nothing(torch.nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros((), dtype=torch.float32)


@contextmanager
def _token_types_folded(model: PreTrainedModel) -> Iterator[None]:
    """Add the row of token type 0 to every position inside the block: one text has no other type.

    Saves six nodes at the start of BERT-like graphs. The model's own tables are put back afterwards.
    """
    embeddings = getattr(model, "embeddings", None)
    types = getattr(embeddings, "token_type_embeddings", None)
    positions = getattr(embeddings, "position_embeddings", None)
    if not isinstance(types, torch.nn.Embedding) or not isinstance(positions, torch.nn.Embedding):
        yield
        return
    if types.embedding_dim != positions.embedding_dim:
        yield
        return
    assert isinstance(embeddings, torch.nn.Module)
    before = positions.weight.data
    try:
        positions.weight.data = before + types.weight.data[0]
        embeddings.token_type_embeddings = _Nothing()
        yield
    finally:
        positions.weight.data = before
        embeddings.token_type_embeddings = types


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    names = [name for name in logging.root.manager.loggerDict if name.startswith(("torch.onnx", "onnxscript"))]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
