"""What training a model takes, before any of it exists: parameters, FLOPs, memory. Works on `meta` models of any size.

FLOPs of the forward pass are counted from the shapes of the matrices (`slonik.models.describe`; norms and activations
left out; a decoder's attention as if it saw all its tokens), the vocabulary head apart, at the positions where it
runs; the backward pass takes twice as much. Memory of weights, gradients and optimizer state is exact for fp32
weights. Activations are an estimate after Korthikanti et al., "Reducing Activation Recomputation in Large Transformer
Models" (2022), section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from slonik.models.checkpoint_files import TensorInfo
from slonik.models.describe import flops_per_text
from slonik.models.fresh.shape import Shape

_STATE_BYTES = {"adamw": 8.0, "lamb": 8.0, "muon": 4.0, "adafactor": 0.0}  # per parameter; Muon's tables have 8
_OWN_ATTENTION = ("deberta-v2", "ltg-bert")  # no fused kernel: scores of every pair of tokens are kept
_GATED = ("modernbert", "t5", "fred-t5", "ltg-bert")


@dataclass(frozen=True)
class TextSize:
    """Tokens of one training text.

    Attributes:
        inputs: read by the encoder, or by a model without one.
        predicted: positions where the vocabulary head runs.
        targets: written by the decoder of an encoder-decoder.
        raw: tokens of the corpus behind it; 0 = `inputs`.
    """

    inputs: int
    predicted: float
    targets: int = 0
    raw: float = 0.0

    @property
    def read(self) -> float:
        """Tokens of the corpus behind a text."""
        return self.raw or float(self.inputs)


@dataclass(frozen=True)
class Costs:
    """What one process needs.

    Attributes:
        parameters: of the model, shared ones once. in_embeddings: of its word table.
        flops_per_text: of forward and backward pass.
        weights, gradients, state, activations: bytes.
    """

    parameters: int
    in_embeddings: int
    flops_per_text: float
    weights: float
    gradients: float
    state: float
    activations: float

    @property
    def memory(self) -> float:
        """Bytes in all."""
        return self.weights + self.gradients + self.state + self.activations


def costs(
    model: PreTrainedModel, shape: Shape, text: TextSize, *, texts: float, optimizer: str, precision: str
) -> Costs:
    """Costs of training `model` (on any device; `meta` is free) on batches of `texts` texts of the given size."""
    parameters = model.num_parameters()
    table = model.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    return Costs(
        parameters=parameters,
        in_embeddings=table.numel(),
        flops_per_text=3.0 * forward_flops(model, text),
        weights=4.0 * parameters,
        gradients=4.0 * parameters,
        state=_STATE_BYTES[optimizer] * parameters,
        activations=texts * _activation_bytes(shape, text, table.shape[0], 4 if precision == "fp32" else 2),
    )


def forward_flops(model: PreTrainedModel, text: TextSize) -> float:
    """FLOPs of the forward pass over one text, the vocabulary head at `text.predicted` positions."""
    tensors = {name: TensorInfo("F32", tuple(tensor.shape)) for name, tensor in model.named_parameters()}
    total = float(flops_per_text(model.config.to_dict(), tensors, text.inputs))
    if model.config.is_encoder_decoder:
        total += _decoder_flops(tensors, text, model.config.num_heads * model.config.d_kv)
    return total + 2.0 * _head_values(model) * text.predicted


def _decoder_flops(tensors: Mapping[str, TensorInfo], text: TextSize, width: int) -> float:
    """Of T5's decoder: keys and values of the cross-attention once per input token, all else per target token."""
    total, layers = 0.0, 0
    for name, info in tensors.items():
        if name.startswith("decoder.block.") and len(info.shape) == 2 and "relative_attention_bias" not in name:
            crossing = name.endswith(("EncDecAttention.k.weight", "EncDecAttention.v.weight"))
            total += 2.0 * info.count * (text.inputs if crossing else text.targets)
            layers += name.endswith("EncDecAttention.k.weight")
    return total + layers * 4.0 * text.targets * (text.targets + text.inputs) * width


def _head_values(model: PreTrainedModel) -> int:
    """Values of the matrices above the encoder (or decoder)."""
    if model.config.is_encoder_decoder:
        output = model.get_output_embeddings()
        assert output is not None
        return int(output.weight.numel())  # type: ignore[union-attr, operator]
    inside = {id(part) for part in model.base_model.modules()}
    return sum(
        part.weight.numel()
        for part in model.modules()
        if isinstance(part, nn.Linear | Conv1D) and id(part) not in inside
    )


def _activation_bytes(shape: Shape, text: TextSize, vocabulary: int, width: int) -> float:
    """Of one text: per token and layer 17 hidden + 2 (gated: 4) ffn numbers and the scores where they are kept, at
    `width` bytes (dropout masks counted in), and 10 bytes per logit."""
    neurons = (4 if shape.family in _GATED else 2) * shape.neurons
    per_token = (17 * shape.hidden + neurons * 2) * width / 2

    def scores(queries: float, keys: float) -> float:
        return 5.0 * shape.heads * queries * keys * width / 2 if shape.family in _OWN_ATTENTION else 0.0

    layers = shape.layers * (text.inputs * per_token + scores(text.inputs, text.inputs))
    if text.targets:
        # A decoder layer attends twice: to its own tokens and to the encoder's.
        layers += (shape.decoder_layers or shape.layers) * text.targets * (per_token + 11 * shape.hidden * width / 2)
    return layers + 10.0 * vocabulary * text.predicted
