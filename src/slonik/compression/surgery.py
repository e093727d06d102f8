"""Carry out a plan: build the smaller model and copy into it what is kept. Deterministic from (weights, plan).

The result is the stock class where the shape allows it (whole layers, the same feed-forward width everywhere, a
trimmed vocabulary, hidden size = heads x head size), else the uneven-shape class of `slonik.models.slim`. A model
with 0/1 gates (`gates.gated`, from the same plan) and the cut model agree to rounding. The parent is left as it was.
Nothing is chosen here and nothing is trained.
"""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from slonik.compression.gates import Gates
from slonik.compression.plan import Plan, whole
from slonik.core.errors import SlonikError
from slonik.models import slim
from slonik.models.anatomy import Body, LayerParts, ParameterAxes, dissect
from slonik.models.kinds import family_of
from slonik.models.state import state_hash


def apply(model: PreTrainedModel, plan: Plan, *, check_parent: bool = True) -> PreTrainedModel:
    """A new model with only what `plan` keeps, on the same device, in the same dtype, in eval mode.

    Args:
        check_parent: compare the hash of `model`'s weights with the plan's parent, if the plan names one.

    Raises:
        SlonikError: a plan for another family, other weights or other sizes; a family that is not cut; a shape
            that cannot be built (DeBERTa without its first layer where a convolution hangs on it).
    """
    body = dissect(model)
    _check(body, plan)
    if check_parent and plan.parent and plan.parent != state_hash(model):
        raise SlonikError("the plan was made for other weights: score this model and choose again")
    made: Any = _build(body, plan)
    kept = _Indices(body, plan)
    source = dict(model.named_parameters())
    targets = {_old_name(body, plan, name): parameter for name, parameter in made.named_parameters()}
    _check_names(body, plan, set(source), set(targets))
    with torch.no_grad():
        for name, parameter in targets.items():
            parameter.copy_(kept.cut(source[name], body.axes[name]))
    result: PreTrainedModel = made.to(device=model.device, dtype=body.words.weight.dtype).eval()
    return result


def keep_tokens(model: PreTrainedModel, tokens: Sequence[int]) -> PreTrainedModel:
    """`model` with only these rows of its vocabulary, in this order.

    Args:
        tokens: kept token ids of the old tokenizer; position i becomes the new id i.

    Raises:
        SlonikError: an id outside the vocabulary or twice, or the padding id missing or moved where positions are
            counted from it.
    """
    plan = whole(model, with_parent=False)
    return apply(model, plan.model_copy(update={"tokens": tuple(int(token) for token in tokens)}), check_parent=False)


def cut_parameter(body: Body, plan: Plan, name: str, tensor: Tensor) -> Tensor:
    """What `plan` keeps of one parameter outside the layers."""
    return _Indices(body, plan).cut(tensor, body.axes[name])


def masks(model: PreTrainedModel, plan: Plan) -> Gates:
    """Gates of 0 and 1 under which `model` computes what `apply(model, plan)` does (on kept hidden dimensions)."""
    body = dissect(model)
    _check(body, plan)
    like = body.words.weight

    def marked(size: int, kept: Sequence[int]) -> Tensor:
        gate = torch.zeros(size, device=like.device, dtype=like.dtype)
        gate[list(kept)] = 1.0
        return gate

    place = {layer: index for index, layer in enumerate(plan.layers)}
    everything: dict[str, tuple[Tensor, ...]] = {}
    for kind, sizes, kept in (("heads", body.heads, plan.heads), ("ffn", body.ffn, plan.ffn)):
        everything[kind] = tuple(
            marked(size, kept[place[layer]] if layer in place else range(size)) for layer, size in enumerate(sizes)
        )
    return Gates(
        heads=everything["heads"],
        ffn=everything["ffn"],
        layers=marked(len(body.layers), plan.layers),
        hidden=None if plan.hidden is None else marked(body.hidden, plan.hidden),
    )


class _Indices:
    """Kept indices of every axis of a plan."""

    def __init__(self, body: Body, plan: Plan) -> None:
        self._body = body
        self._plan = plan
        self._place = {layer: index for index, layer in enumerate(plan.layers)}

    def cut(self, tensor: Tensor, axes: ParameterAxes) -> Tensor:
        for dimension, axis in enumerate(axes.axes):
            kept = self._kept(axis, axes.layer)
            if kept is not None:
                tensor = tensor.index_select(dimension, torch.tensor(kept, device=tensor.device))
        return tensor

    def _kept(self, axis: str | None, layer: int | None) -> list[int] | None:
        if axis is None:
            return None
        if axis in ("hidden", "tokens"):
            named: tuple[int, ...] | None = getattr(self._plan, axis)
            return None if named is None else list(named)
        assert layer is not None
        parts, place = self._body.layers[layer], self._place[layer]
        if axis in ("heads", "qkv"):
            size = parts.head_size
            rows = [head * size + row for head in self._plan.heads[place] for row in range(size)]
            return _repeat(rows, parts.heads * size, 3 if axis == "qkv" else 1)
        return _repeat(list(self._plan.ffn[place]), parts.ffn, 2 if axis == "glu" else 1)


def _repeat(rows: list[int], size: int, times: int) -> list[int]:
    return [part * size + row for part in range(times) for row in rows]


def _old_name(body: Body, plan: Plan, name: str) -> str:
    """Name in the parent of a parameter of the cut model: layers are numbered anew."""
    prefix = "" if body.base is body.model else body.model.base_model_prefix + "."
    start = f"{prefix}{body.anatomy.layers}."
    if not name.startswith(start):
        return name
    index, rest = name.removeprefix(start).split(".", 1)
    return f"{start}{plan.layers[int(index)]}.{rest}"


def _check_names(body: Body, plan: Plan, source: set[str], targets: set[str]) -> None:
    """Every parameter of a kept layer and outside the layers has its place in the cut model."""
    expected = {name for name in source if (layer := body.axes[name].layer) is None or layer in plan.layers}
    if odd := sorted(expected ^ targets):
        hint = " (embedding and hidden size would be equal: keep another number of hidden dimensions)"
        why = hint if "embed" in odd[0] else ""
        raise SlonikError(f"the parameter {odd[0]} has no counterpart in a {body.anatomy.family} of this shape{why}")


def _build(body: Body, plan: Plan) -> PreTrainedModel:
    """The empty model of the plan's shape; its random state is the caller's no more than before."""
    config, kind = _config(body, plan)
    with torch.random.fork_rng(devices=[]):
        made: Any = kind(config)
    if hasattr(body.base, "pooler") and body.base.pooler is None:
        made.base_model.pooler = None
    result: PreTrainedModel = made
    return result


def _check_layer_kinds(family: str, kinds: Sequence[str]) -> None:
    """Refuse what Transformers before 5.17 cannot build: it takes rotary parameters of two kinds for flat ones there.

    Raises:
        SlonikError: a ModernBERT whose layers are all of one kind, and such a version.
    """
    version = importlib.metadata.version("transformers")
    if family == "modernbert" and len(set(kinds)) == 1 and tuple(map(int, version.split(".")[:2])) < (5, 17):
        raise SlonikError(
            f"all layers that stay are of the kind {kinds[0]!r}, and transformers {version} cannot build such a "
            "ModernBERT: keep a layer of each kind, or install transformers 5.17 or newer"
        )


def _config(body: Body, plan: Plan) -> tuple[PreTrainedConfig, type[PreTrainedModel]]:
    stock = slim.stock_class(body.model)
    heads = [len(kept) for kept in plan.heads]
    ffn = [len(kept) for kept in plan.ffn]
    hidden = body.hidden if plan.hidden is None else len(plan.hidden)
    values = copy.deepcopy(body.model.config).to_dict()
    for name in ("heads_per_layer", "ffn_per_layer", "head_dim", "first_layer_norm", "auto_map", "architectures"):
        values.pop(name, None)
    names = body.anatomy.config
    values |= {names["layers"]: len(heads), names["heads"]: max(heads), names["ffn"]: max(ffn)}
    values |= {names["hidden"]: hidden}
    _resize_embeddings(body, values, plan, hidden)
    if values.get("layer_types"):
        values["layer_types"] = [values["layer_types"][layer] for layer in plan.layers]
        _check_layer_kinds(body.anatomy.family, values["layer_types"])
    implementation = getattr(body.model.config, "_attn_implementation", None)
    first_norm = body.anatomy.family == "modernbert" and not _has_identity_norm(body, plan.layers[0])
    even = len(set(heads)) == 1 and len(set(ffn)) == 1
    even = even and (heads[0] * body.head_size == hidden or "heads" in body.anatomy.keeps)
    kind: Any
    if even and not first_norm:
        kind = stock
        values.pop("model_type", None)
        config = kind.config_class.from_dict(values)
    else:
        slim.register()  # a head of the family's class is made by it
        kind = slim.slim_class(stock)
        extra = {"first_layer_norm": True} if first_norm else {}
        config = slim.slim_config(stock, values, heads, ffn, body.head_size, **extra)
    config._attn_implementation = implementation
    return config, kind


def _resize_embeddings(body: Body, values: dict[str, Any], plan: Plan, hidden: int) -> None:
    """Sizes and token ids of the config that follow from kept dimensions and tokens."""
    if "embedding_size" in values and body.axes[_words_name(body)].axes[1] == "hidden":
        values["embedding_size"] = hidden
    if "pooler_hidden_size" in values:
        values["pooler_hidden_size"] = hidden
    if plan.tokens is None:
        return
    values["vocab_size"] = len(plan.tokens)
    new = {old: index for index, old in enumerate(plan.tokens)}
    for name, value in list(values.items()):
        if name.endswith("_token_id") and isinstance(value, int) and 0 <= value < body.vocab:
            values[name] = new.get(value)
        elif name.endswith("_token_id") and isinstance(value, list):
            values[name] = [new[each] for each in value if each in new] or None


def _words_name(body: Body) -> str:
    prefix = "" if body.base is body.model else body.model.base_model_prefix + "."
    return f"{prefix}{body.anatomy.words}.weight"


def _has_identity_norm(body: Body, layer: int) -> bool:
    return isinstance(getattr(body.layers[layer].module, "attn_norm", None), torch.nn.Identity)


def _check(body: Body, plan: Plan) -> None:
    family = body.anatomy.family
    if not body.cuttable:
        raise SlonikError(f"{family} models can be scored and inspected, not cut")
    if family_of(plan.family) != family:
        raise SlonikError(f"the plan is for a {plan.family} model, this one is {family}")
    _check_range("layers", plan.layers, len(body.layers))
    for index, layer in enumerate(plan.layers):
        _check_range(f"heads of layer {layer}", plan.heads[index], body.layers[layer].heads)
        _check_range(f"neurons of layer {layer}", plan.ffn[index], body.layers[layer].ffn)
    _check_range("hidden dimensions", plan.hidden or (), body.hidden)
    _check_range("tokens", plan.tokens or (), body.vocab)
    convolution = getattr(getattr(body.base, "encoder", None), "conv", None)
    if body.first_layer_pinned and plan.layers[0] != 0:
        why = "this DeBERTa has a convolution beside" if convolution is not None else f"{family} keeps its positions in"
        raise SlonikError(f"{why} its first layer: keep layer 0")
    whole_heads = all(len(kept) == parts.heads for kept, parts in zip(plan.heads, _kept_parts(body, plan), strict=True))
    if "heads" in body.anatomy.keeps and not whole_heads:
        raise SlonikError(f"heads of {family} share a table of position biases between layers: they cannot be cut")
    if "hidden" in body.anatomy.keeps and plan.hidden is not None and len(plan.hidden) < body.hidden:
        raise SlonikError(f"hidden dimensions of {family} cannot be cut: cut layers, neurons or the vocabulary")
    if convolution is not None and plan.hidden is not None and int(convolution.conv.groups) != 1:
        raise SlonikError("this DeBERTa has a grouped convolution: its hidden dimensions cannot be cut")
    if plan.tokens is not None:
        _check_padding(body, plan.tokens)


def _kept_parts(body: Body, plan: Plan) -> list[LayerParts]:
    return [body.layers[layer] for layer in plan.layers]


def _check_range(what: str, kept: Sequence[int], size: int) -> None:
    wrong = [index for index in kept if not 0 <= index < size]
    if wrong:
        raise SlonikError(f"the plan keeps {what} {wrong[0]}, but the model has {size}: the plan is for another model")


def _check_padding(body: Body, tokens: Sequence[int]) -> None:
    pad = getattr(body.model.config, "pad_token_id", None)
    if pad is None or not 0 <= pad < body.vocab:
        return
    if pad not in tokens:
        raise SlonikError(f"the padding token (id {pad}) must stay in the vocabulary")
    embeddings = getattr(body.base, "embeddings", None)
    counted = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None) is not None
    if counted and tokens[pad] != pad:
        raise SlonikError(
            f"{body.anatomy.family} counts positions from the padding id, so token {pad} must keep its place: "
            "keep the special tokens first"
        )
