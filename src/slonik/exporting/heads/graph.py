"""From a torch task model to an fp32 ONNX graph whose inputs and outputs are named as other clients expect.

Inputs are `input_ids`, `attention_mask` and, where the family has token types and the task reads two texts together,
`token_type_ids`; outputs `logits`, of span answers `start_logits` and `end_logits`. Heads that read marked words or a
list of names have inputs of their own, which only slonik makes: `spans`, `names`. A tagger gives scores of every token:
which of them is a word's first, and the chain, are the runtime's.

Shapes: B examples, R inputs of one (candidates, two texts apart), T tokens, L labels, K spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.exporting.torch_graph import TRIED, exporting, graph_of, quiet, token_types_folded
from slonik.models.heads.stock import StockHead
from slonik.models.kinds import family_of
from slonik.models.task_model import TaskModel
from slonik.text.task_config import TaskConfig

_EXAMPLE = {"batch": 3, "rows": 4, "length": 7, "spans": 2}  # unlike each other and any size of a model, where free


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of the graph of a task model.

    Attributes:
        inputs: their names in order.
        outputs: their names in order.
        several: whether an example has several inputs, (B, R, T): candidates, or two texts apart.
        labels: L of `names`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    several: bool
    labels: int

    def dimensions(self, name: str) -> tuple[str | int, ...]:
        """Axes of an input: "batch", "rows" and "length" are dynamic, numbers are fixed."""
        if name == "spans":
            return ("batch", _EXAMPLE["spans"], 3)
        if name == "names":
            return ("batch", "length", self.labels)
        return ("batch", "rows", "length") if self.several else ("batch", "length")


def signature_of(model: TaskModel) -> Signature:
    """The graph that a task model has."""
    config = model.config
    inputs = ["input_ids", "attention_mask"]
    types = int(getattr(model.transformer.config, "type_vocab_size", 0) or 0) > 1
    if types and reads_pairs(config):
        inputs.append("token_type_ids")
    inputs += ["spans"] * (config.kind == "words") + ["names"] * bool(config.head.get("names"))
    outputs = ("start_logits", "end_logits") if config.target == "answer" else ("logits",)
    several = config.target == "choice" or config.pairs == "separate"
    return Signature(tuple(inputs), outputs, several, config.outputs)


def reads_pairs(config: TaskConfig) -> bool:
    """Whether two texts may stand in one input of the encoder; True where the task does not say."""
    return config.target != "tags" and config.pairs == "joint" and len(config.columns.get("text") or ()) != 1


class HeadGraph(torch.nn.Module):
    """Token fields to the outputs of a head, float32.

    Args:
        model: in eval mode.
    """

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model
        self.signature = signature_of(model)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        spans: Tensor | None = None,
        names: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """logits (B, L), (B, R) or (B, T, L), or start and end logits (B, T)."""
        given = {"token_type_ids": token_type_ids, "spans": spans, "names": names}
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        batch |= {name: tensor for name, tensor in given.items() if tensor is not None}
        target = self.model.config.target
        if target == "choice":
            batch["candidates"] = torch.ones_like(input_ids[..., 0], dtype=torch.bool)
        if target == "answer":
            batch["segments"] = torch.full_like(input_ids, 2)  # the runtime leaves out what is no context
            places = self.model(batch)
            return places[:, 0], places[:, 1]
        return (self.model(batch),)


def head_to_onnx(graph: HeadGraph, max_length: int, *, fused: bool = True) -> onnx.ModelProto:
    """Export `graph` with dynamic axes (at most `max_length` tokens).

    Args:
        fused: as in `slonik.exporting.torch_graph.to_onnx`; token types are folded in where they are no input.
    """
    signature, transformer = graph.signature, graph.model.transformer
    folded = "token_type_ids" not in signature.inputs
    dynamic: dict[str, Any] = {
        "batch": torch.export.Dim("batch", min=1), "rows": torch.export.Dim("rows", min=1),
        "length": torch.export.Dim("length", min=1, max=max_length),
    }  # fmt: skip
    example: dict[str, Tensor] = {}
    shapes: dict[str, dict[int, Any]] = {}
    for name in signature.inputs:
        axes = signature.dimensions(name)
        sizes = [_EXAMPLE[axis] if isinstance(axis, str) else axis for axis in axes]
        example[name] = torch.ones(sizes, dtype=torch.float32 if name == "names" else torch.int64)
        shapes[name] = {place: dynamic[axis] for place, axis in enumerate(axes) if isinstance(axis, str)}
    if "token_type_ids" in example:
        example["token_type_ids"].zero_()
    attention = exporting(transformer) if fused else nullcontext()
    types = token_types_folded(transformer) if fused and folded else nullcontext()
    with quiet(), torch.no_grad(), attention, types, _every_token_counts(graph.model):
        program = torch.onnx.export(
            graph.eval(), kwargs=example, dynamo=True, verbose=False, input_names=list(signature.inputs),
            output_names=list(signature.outputs), dynamic_shapes=shapes,
        )  # fmt: skip
        return graph_of(program)  # reads the weights now, while token types are folded in


@contextmanager
def _every_token_counts(model: TaskModel) -> Iterator[None]:
    """Let a class that finds a text's end by padding, and has no padding token, take the last of all inside the block.

    Such a graph is right for one text at a time (`HeadSession.alone`), as the class itself is.
    """
    head = model.head
    if not (isinstance(head, StockHead) and head.one_by_one):
        yield
        return
    config = head.stock.config
    try:
        config.pad_token_id = -1  # no token has it
        yield
    finally:
        config.pad_token_id = None


def check_family(model: TaskModel, name: str) -> None:
    """Refuse what is not known to export.

    Raises:
        SlonikError: the family is not among those that were tried, the head reads what a decoder makes of a text, or
            it tells two texts apart that nothing in the ids parts.
    """
    if model.needs_own_segments:
        raise SlonikError(
            f"{name} reads two texts, and its tokenizer puts nothing between them, so a graph cannot tell them apart: "
            "fine-tune with --set tuning.shape=stock, or use it in torch"
        )
    config = model.transformer.config
    family = family_of(str(config.model_type))
    if getattr(config, "is_encoder_decoder", False) and not type(model.transformer).__name__.endswith("EncoderModel"):
        raise SlonikError(
            f"{name} reads a text with the encoder and the decoder of a {family}, whose head is not exported: use it "
            "in torch, or fine-tune an encoder"
        )
    if family not in TRIED:
        raise SlonikError(
            f"{name} is of the family {family!r}, which cannot be exported to ONNX: known are {', '.join(TRIED)}"
        )
