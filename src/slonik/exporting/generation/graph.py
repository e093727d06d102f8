"""From a language model in torch to fp32 ONNX graphs with a cache of keys and values, in standard operators alone.

The names are those that optimum and transformers.js read: inputs `input_ids`, `attention_mask`, `position_ids`,
`past_key_values.N.key`, outputs `logits`, `present.N.key`; of an encoder-decoder `past_key_values.N.decoder.key` and
`.encoder.key`. One graph reads prompts and goes on: a past of length 0 begins a text. Keys and values of an
encoder-decoder's prompt are computed from what the past does not have yet, so that after the first pass it is nothing.

Two inputs have defaults, so that other clients need not know them: `num_logits_to_keep`, of how many last tokens the
logits are given (0 = of all), and `decoder_attention_mask` of an encoder-decoder, without which texts that began at
different steps could not share a batch. What is optimised and quantised comes after.

Shapes: B texts, T tokens, P tokens of the past, S tokens of an encoder-decoder's prompt, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from slonik.core.errors import SlonikError
from slonik.exporting.fusions import keep_layer_norm, merge_projections, unfold_gemm
from slonik.exporting.graph import Graph
from slonik.exporting.standard import OPSET
from slonik.exporting.torch_graph import graph_of, quiet
from slonik.models.kinds import family_of
from slonik.runtime.generator import DECODER_MASK, KEEP

TRIED = ("gpt2", "gpt_neox", "llama", "qwen2", "qwen3", "t5", "mt5", "umt5")
"""Families whose export was tried; another one gets a sentence, not an attempt."""
DEFAULTS = {KEEP: np.array(0, dtype=np.int64), DECODER_MASK: np.ones((1, 1), dtype=np.int64)}
_NEW_STATES = "new_hidden_states"
_BATCH, _LENGTH, _PAST, _READ, _NEW = 3, 7, 5, 4, 6  # sizes of the example: none is 1, nor a size of a model
_END = np.iinfo(np.int64).max


def check_family(model: Any, name: str) -> None:
    """Refuse what cannot be exported to write.

    Raises:
        SlonikError: the family, or an attention of its config, is not known to export.
    """
    config = model.config
    family = family_of(str(config.model_type))
    if family not in TRIED:
        raise SlonikError(
            f"{name} is of the family {family!r}, which cannot be exported to write: known are {', '.join(TRIED)}; "
            "slonik generate writes with the checkpoint itself"
        )
    if set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        raise SlonikError(f"{name} has layers of sliding attention, which cannot be exported to write")
    if getattr(config, "add_cross_attention", False):
        raise SlonikError(f"{name} looks at another model's states, which cannot be exported to write")


def decoder_graph(model: Any) -> onnx.ModelProto:
    """The graph of a decoder, or of the decoder of an encoder-decoder, with its head."""
    two_stacks = bool(model.config.is_encoder_decoder)
    wrapped: torch.nn.Module = _TwoStacks(model) if two_stacks else _Decoder(model)
    arguments, names, shapes = _two_stacks_example(model) if two_stacks else _decoder_example(model)
    layers = _layers(model)
    parts = ("decoder.key", "decoder.value", "encoder.key", "encoder.value") if two_stacks else ("key", "value")
    pasts = [f"past_key_values.{layer}.{part}" for layer in range(layers) for part in parts]
    presents = [f"present.{layer}.{part}" for layer in range(layers) for part in parts]
    with _eager(model), _last_logits(model):
        made = _exported(wrapped, arguments, [*names[:-1], *pasts, KEEP], ["logits", *presents], shapes)
    graph = Graph(made)
    unfold_gemm(graph)
    merge_projections(graph)
    if two_stacks:
        _read_once(graph)
    keep_layer_norm(graph)
    made = graph.finish()
    _name_axes(made)
    return made


def encoder_graph(model: Any) -> onnx.ModelProto:
    """The graph of an encoder-decoder's encoder: `input_ids`, `attention_mask` -> `last_hidden_state`."""
    encoder = model.get_encoder()
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    ids = torch.ones(_BATCH, _LENGTH, dtype=torch.int64)
    shapes = {"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}}
    with _eager(model):
        made = _exported(_Encoder(encoder), (ids, ids.clone()), list(shapes), ["last_hidden_state"], shapes)
    graph = Graph(made)
    merge_projections(graph)
    return graph.finish()


def with_defaults(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with the default values of its inputs that have one; edits and returns it."""
    for item in model.graph.input:
        if item.name in DEFAULTS:
            model.graph.initializer.append(numpy_helper.from_array(DEFAULTS[item.name], item.name))
    return model


def _layers(model: Any) -> int:
    config = model.config
    return int(getattr(config, "num_decoder_layers", None) or config.num_hidden_layers)


class _Encoder(torch.nn.Module):
    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        bias = _bias(attention_mask[:, None, None, :] > 0)
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=bias).last_hidden_state
        return hidden


class _Decoder(torch.nn.Module):
    """Tokens (B, T), mask (B, P + T), positions (B, T) and past -> logits and present."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past: list[Any], keep: Tensor
    ) -> tuple[Tensor, ...]:
        self.model.get_output_embeddings().keep = keep
        cache = _cache(past)
        mask = _causal(attention_mask, input_ids, past[0][0])
        output = self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache, use_cache=True
        )
        return (output.logits, *(state for layer in _states(cache) for state in layer))


class _TwoStacks(torch.nn.Module):
    """The same for the decoder of two stacks; `new_states` is what of the encoder's states the past does not have."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        encoder_attention_mask: Tensor,
        new_states: Tensor,
        decoder_attention_mask: Tensor,
        past: list[Any],
        keep: Tensor,
    ) -> tuple[Tensor, ...]:
        self.model.get_output_embeddings().keep = keep
        own, crossed = _cache([layer[:2] for layer in past]), _cache([layer[2:] for layer in past])
        cache = EncoderDecoderCache(own, crossed)
        cache.is_updated = dict.fromkeys(range(len(past)), False)
        read = _shaped(encoder_attention_mask, (input_ids.shape[0], past[0][2].shape[2] + new_states.shape[1]))
        output = self.model(
            encoder_outputs=(new_states,),
            attention_mask=_bias(read[:, None, None, :] > 0),
            decoder_input_ids=input_ids,
            decoder_attention_mask=_causal(decoder_attention_mask, input_ids, past[0][0]),
            past_key_values=cache,
            use_cache=True,
        )
        pairs = zip(_states(own), _states(crossed), strict=True)
        return (output.logits, *(state for mine, other in pairs for state in (*mine, *other)))


class _Last(torch.nn.Module):
    """A head that is applied to the last `keep` tokens of each text, to all of them where `keep` is 0."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head
        self.keep: Any = None

    def forward(self, hidden: Tensor) -> Tensor:
        start = -self.keep.reshape(1)
        end, axis = torch.tensor([_END]), torch.tensor([1])
        last = _operator("Slice", [hidden, start, end, axis], hidden.dtype, hidden.shape)
        logits: Tensor = self.head(last)
        return logits


def _cache(past: list[Any]) -> DynamicCache:
    cache = DynamicCache()
    for place, (keys, values) in enumerate(past):
        cache.update(keys, values, place)
    return cache


def _states(cache: Any) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of every layer."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def _causal(mask: Tensor, ids: Tensor, past: Tensor) -> Tensor:
    """Additive mask (B, 1, T, P + T): a token sees what `mask`, (B, P + T) or (1, 1), has of the past and itself."""
    length, before = ids.shape[1], past.shape[2]
    queries = torch.arange(length)[:, None] + before
    seen = torch.arange(before + length)[None, :] <= queries
    kept = _shaped(mask, (ids.shape[0], before + length))
    return _bias(seen[None, None] & (kept[:, None, None, :] > 0))


def _bias(allowed: Tensor) -> Tensor:
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)


def _shaped(tensor: Tensor, shape: Any) -> Tensor:
    """The same tensor with a shape that the tracer cannot know to be its own."""
    return _operator("Identity", [tensor], tensor.dtype, shape)


def _operator(name: str, inputs: list[Any], dtype: torch.dtype, shape: Any) -> Tensor:
    made: Tensor = torch.onnx.ops.symbolic(f"::{name}", inputs, {}, dtype=dtype, shape=shape, version=None)
    return made


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Attention in plain operators inside the block."""
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation("eager")
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _last_logits(model: Any) -> Iterator[None]:
    """The model's head in a `_Last` inside the block."""
    before = model.get_output_embeddings()
    try:
        model.set_output_embeddings(_Last(before))
        yield
    finally:
        model.set_output_embeddings(before)


def _heads(model: Any) -> tuple[int, int]:
    """Heads of keys and values, and their size, as a short pass shows them."""
    ids = torch.zeros(1, 2, dtype=torch.int64)
    given = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        past = model(input_ids=ids, use_cache=True, **given).past_key_values
    states = (past.self_attention_cache if model.config.is_encoder_decoder else past).layers[0].keys
    return int(states.shape[1]), int(states.shape[3])


def _decoder_example(model: Any) -> tuple[tuple[Any, ...], list[str], dict[str, Any]]:
    heads, size = _heads(model)
    batch, length, past, total = (torch.export.Dim(name) for name in ("batch", "length", "past", "total"))
    ids = torch.ones(_BATCH, _LENGTH, dtype=torch.int64)
    places = torch.arange(_LENGTH)[None].repeat(_BATCH, 1) + _PAST
    states = [tuple(torch.zeros(_BATCH, heads, _PAST, size) for _ in range(2)) for _ in range(_layers(model))]
    mask = torch.ones(_BATCH, _PAST + _LENGTH, dtype=torch.int64)
    shapes = {
        "input_ids": {0: batch, 1: length},
        "attention_mask": {0: batch, 1: total},
        "position_ids": {0: batch, 1: length},
        "past": [({0: batch, 2: past}, {0: batch, 2: past})] * len(states),
        "keep": None,
    }
    return (ids, mask, places, states, torch.tensor(0)), ["input_ids", "attention_mask", "position_ids", KEEP], shapes


def _two_stacks_example(model: Any) -> tuple[tuple[Any, ...], list[str], dict[str, Any]]:
    heads, size = _heads(model)
    batch, length, past, total = (torch.export.Dim(name) for name in ("batch", "length", "past", "total"))
    read, new, prompt = (torch.export.Dim(name) for name in ("read", "new", "prompt"))
    ids = torch.ones(_BATCH, _LENGTH, dtype=torch.int64)
    states = [
        tuple(torch.zeros(_BATCH, heads, kept, size) for kept in (_PAST, _PAST, _READ, _READ))
        for _ in range(_layers(model))
    ]
    mask = torch.ones(_BATCH, _READ + _NEW, dtype=torch.int64)
    own = torch.ones(_BATCH, _PAST + _LENGTH, dtype=torch.int64)
    hidden = torch.zeros(_BATCH, _NEW, model.config.d_model)
    one = ({0: batch, 2: past}, {0: batch, 2: past}, {0: batch, 2: read}, {0: batch, 2: read})
    shapes = {
        "input_ids": {0: batch, 1: length},
        "encoder_attention_mask": {0: batch, 1: prompt},
        "new_states": {0: batch, 1: new},
        "decoder_attention_mask": {0: torch.export.Dim("mask_batch"), 1: total},
        "past": [one] * len(states),
        "keep": None,
    }
    names = ["input_ids", "encoder_attention_mask", _NEW_STATES, DECODER_MASK, KEEP]
    return (ids, mask, hidden, own, states, torch.tensor(0)), names, shapes


def _exported(
    module: torch.nn.Module, arguments: tuple[Any, ...], inputs: list[str], outputs: list[str], shapes: dict[str, Any]
) -> onnx.ModelProto:
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(), arguments, dynamo=True, verbose=False, input_names=inputs, output_names=outputs,
            dynamic_shapes=shapes, opset_version=OPSET,
        )  # fmt: skip
    return graph_of(program)


def _read_once(graph: Graph) -> None:
    """Take an encoder-decoder's new states from all of its states: those after the past's.

    There may be none; as kernels differ in what they make of products without rows, they get one of zeros more.
    """

    def constant(*values: int) -> str:
        return graph.add_constant("new_states", np.array(values, dtype=np.int64))

    states = next(item for item in graph.model.graph.input if item.name == _NEW_STATES)
    shape, new, padded = (graph.unique(name) for name in ("past_shape", "states_after_past", "states_to_read"))
    graph.add("Shape", ["past_key_values.0.encoder.key"], [shape], start=2, end=3)
    for node in graph.consumers(_NEW_STATES):
        if node.op_type != "MatMul":
            continue
        product = graph.unique(f"{node.output[0]}_padded")
        graph.remove(node)
        graph.add("MatMul", [padded, node.input[1]], [product])
        graph.add("Slice", [product, constant(0), constant(-1), constant(1)], [node.output[0]])
        name_heads(graph, node.output[0])
    graph.rewire(_NEW_STATES, new)
    graph.add("Slice", ["encoder_hidden_states", shape, constant(_END), constant(1)], [new])
    graph.add("Pad", [new, constant(0, 0, 0, 0, 1, 0)], [padded])
    states.name = "encoder_hidden_states"


def name_heads(graph: Graph, product: str) -> None:
    """Give the number of heads to those who split a product of new states into heads.

    Where there are no states, runtimes before onnxruntime 1.22 or so cannot tell what a -1 stands for.
    """
    past = next(item for item in graph.model.graph.input if item.name == "past_key_values.0.encoder.key")
    heads = graph.add_constant("heads", np.array([past.type.tensor_type.shape.dim[1].dim_value], dtype=np.int64))
    sources = {product, *(name for node in graph.consumers(product) if node.op_type == "Split" for name in node.output)}
    for node in graph.of_type("Reshape"):
        shape = graph.producer(node.input[1])
        if node.input[0] not in sources or shape is None or shape.op_type != "Concat":
            continue
        values = [(name, graph.constant(name)) for name in shape.input]
        named = graph.unique(f"{node.input[1]}_named")
        sizes = [heads if value is not None and value.tolist() == [-1] else name for name, value in values]
        graph.add("Concat", sizes, [named], axis=0)
        node.input[1] = named


_AXES = {
    "input_ids": ("batch_size", "sequence_length"),
    "attention_mask": ("batch_size", "past_sequence_length + sequence_length"),
    "position_ids": ("batch_size", "sequence_length"),
    "encoder_attention_mask": ("batch_size", "encoder_sequence_length"),
    "encoder_hidden_states": ("batch_size", "encoder_sequence_length"),
    DECODER_MASK: ("mask_batch_size", "mask_length"),
    "logits": ("batch_size", "kept_sequence_length"),
}


def _name_axes(model: onnx.ModelProto) -> None:
    """Dynamic axes by their usual names."""
    for item in (*model.graph.input, *model.graph.output):
        names = dict(enumerate(_AXES.get(item.name, ())))
        if item.name.startswith(("past_key_values.", "present.")):
            read = "encoder_sequence_length" if ".encoder." in item.name else "past_sequence_length"
            own = "total_sequence_length" if item.name.startswith("present.") and read.startswith("past") else read
            names = {0: "batch_size", 2: own}
        for axis, name in names.items():
            item.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]  # their axes have the tracer's names
    for node in model.graph.node:  # where in torch's code it comes from: half of a small file
        del node.metadata_props[:]
