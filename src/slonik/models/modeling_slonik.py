"""Encoders whose layers differ in heads and feed-forward neurons: stock classes with resized matrices.

This file stands alone (torch and transformers only): it is copied beside the weights, so that any program can load
them with `trust_remote_code=True`. Forward passes, outputs and parameter names are the stock classes' own; only the
sizes of some matrices differ, as `heads_per_layer`, `ffn_per_layer` and `head_dim` of the config say. Making such a
model out of a larger one is not done here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel  # the name of the first that Transformers 4 knows too


def _resized(linear: nn.Linear, inputs: int | None = None, outputs: int | None = None) -> nn.Linear:
    return nn.Linear(
        inputs or linear.in_features,
        outputs or linear.out_features,
        bias=linear.bias is not None,
        device=linear.weight.device,
        dtype=linear.weight.dtype,
    )


def _resize_bert(layer: Any, heads: int, head_dim: int, ffn: int) -> None:
    attention = layer.attention.self
    width = heads * head_dim
    for name in ("query", "key", "value", "query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj"):
        if isinstance(old := getattr(attention, name, None), nn.Linear):
            setattr(attention, name, _resized(old, outputs=width))
    attention.num_attention_heads = heads
    attention.attention_head_size = head_dim
    attention.all_head_size = width
    if hasattr(attention, "scaling"):
        attention.scaling = head_dim**-0.5
    layer.attention.output.dense = _resized(layer.attention.output.dense, inputs=width)
    layer.intermediate.dense = _resized(layer.intermediate.dense, outputs=ffn)
    layer.output.dense = _resized(layer.output.dense, inputs=ffn)


def _resize_distilbert(layer: Any, heads: int, head_dim: int, ffn: int) -> None:
    attention = layer.attention
    width = heads * head_dim
    for name in ("q_lin", "k_lin", "v_lin"):
        setattr(attention, name, _resized(getattr(attention, name), outputs=width))
    attention.n_heads, attention.dim = heads, width
    attention.attention_head_size, attention.scaling = head_dim, head_dim**-0.5
    attention.out_lin = _resized(attention.out_lin, inputs=width)
    layer.ffn.lin1 = _resized(layer.ffn.lin1, outputs=ffn)
    layer.ffn.lin2 = _resized(layer.ffn.lin2, inputs=ffn)


def _resize_modernbert(layer: Any, heads: int, head_dim: int, ffn: int) -> None:
    layer.attn.Wqkv = _resized(layer.attn.Wqkv, outputs=3 * heads * head_dim)
    layer.attn.Wo = _resized(layer.attn.Wo, inputs=heads * head_dim)
    layer.attn.head_dim = head_dim
    layer.mlp.Wi = _resized(layer.mlp.Wi, outputs=2 * ffn)
    layer.mlp.Wo = _resized(layer.mlp.Wo, inputs=ffn)


def _layers(base: Any) -> Any:
    for holder in (getattr(base, "encoder", None), getattr(base, "transformer", None)):
        if holder is not None:
            return holder.layer
    return base.layers


def _slim_down(model: Any, config: Any) -> None:
    """Give every layer the sizes that `config` names."""
    base = model.base_model
    kind = config.model_type
    resize = {"slonik_distilbert": _resize_distilbert, "slonik_modernbert": _resize_modernbert}.get(kind, _resize_bert)
    layers = _layers(base)
    if not len(layers) == len(config.heads_per_layer) == len(config.ffn_per_layer):
        raise ValueError(
            f"heads_per_layer and ffn_per_layer must name {len(layers)} layers: {config.heads_per_layer}, "
            f"{config.ffn_per_layer}"
        )
    for layer, heads, ffn in zip(layers, config.heads_per_layer, config.ffn_per_layer, strict=True):
        resize(layer, heads, config.head_dim, ffn)
    if getattr(config, "first_layer_norm", False):
        weight = layers[0].mlp_norm.weight
        layers[0].attn_norm = nn.LayerNorm(
            weight.shape[0], eps=config.norm_eps, bias=config.norm_bias, device=weight.device, dtype=weight.dtype
        )


@contextmanager
def _one_head(config: Any) -> Iterator[None]:
    """Stock constructors want heads that divide the hidden size; one does, whatever the real number is."""
    real = config.num_attention_heads
    config.num_attention_heads = 1
    try:
        yield
    finally:
        config.num_attention_heads = real


class _Slim:
    """Builds the stock model, then resizes it."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        with _one_head(config):
            super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        with torch.no_grad():
            _slim_down(self, config)


def _slim(stock: type[PreTrainedModel], config: type[PretrainedConfig], auto: str) -> type[PreTrainedModel]:
    """The uneven-shape subclass of a stock class; saving it copies this file and names it under `auto_map`."""
    members = {"config_class": config, "stock": stock, "__module__": __name__, "__doc__": f"Uneven {stock.__name__}."}
    made: Any = type(f"Slonik{stock.__name__}", (_Slim, stock), members)
    made._auto_class = auto
    config._auto_class = "AutoConfig"
    return made  # type: ignore[no-any-return]


def _slim_config(family: str) -> type[PretrainedConfig]:
    """The config of a family with `heads_per_layer`, `ffn_per_layer` (one number per layer) and `head_dim`.

    ModernBERT's `first_layer_norm` says that the original first layer is gone, so that the first one left has an
    attention norm.
    """
    stock: Any = getattr(transformers, f"{family}Config")
    fields: dict[str, Any] = {"heads_per_layer": list[int] | None, "ffn_per_layer": list[int] | None}
    fields["head_dim"] = int | None
    members: dict[str, Any] = dict.fromkeys(fields)
    if family == "ModernBert":
        fields["first_layer_norm"], members["first_layer_norm"] = bool, False
    members |= {"model_type": f"slonik_{stock.model_type.replace('-', '_')}", "__annotations__": fields}
    members |= {"__module__": __name__, "__doc__": f"{family} with uneven layers."}
    return type(f"Slonik{family}Config", (stock,), members)


_PARTS = (
    "Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
    "ForMultipleChoice",
)  # fmt: skip
_made: list[Any] = []
for _family in ("Bert", "Roberta", "XLMRoberta", "Electra", "DebertaV2", "DistilBert", "ModernBert"):
    _config = _slim_config(_family)
    for _part in _PARTS:
        _auto = "AutoModel" if _part == "Model" else f"AutoModel{_part}"
        _made.append(_slim(getattr(transformers, _family + _part), _config, _auto))
CLASSES: tuple[type[PreTrainedModel], ...] = tuple(_made)
# a checkpoint's `auto_map` names them as attributes of this module
globals().update({made.__name__: made for each in _made for made in (each, each.config_class)})
