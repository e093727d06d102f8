"""Where each model family keeps its layers, heads, feed-forward neurons, hidden dimensions and embeddings.

`dissect(model)` binds a row of the table in `families` to a model. Importance gates, surgery, inspection and counting
read it; it changes no model and scores nothing. A parameter that the table does not name is an error, so a new
version of a family cannot be cut half.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from slonik.core.errors import SlonikError
from slonik.models.families import FAMILIES, Anatomy, Axes, Rules
from slonik.models.kinds import family_of


@dataclass(frozen=True)
class LayerParts:
    """The modules of one layer and its sizes: heads, head_size, ffn (neurons)."""

    module: nn.Module
    attention: nn.Module
    query: nn.Module
    key: nn.Module
    value: nn.Module
    context: nn.Module
    inner: tuple[nn.Module, ...]
    outer: nn.Module
    output_norm: nn.Module | None
    heads: int
    head_size: int
    ffn: int


@dataclass(frozen=True)
class ParameterAxes:
    """What the axes of one parameter count; `layer` is None outside the layers, `base` False outside the base model."""

    name: str
    layer: int | None
    base: bool
    axes: Axes


class Body:
    """An anatomy bound to a model.

    Attributes:
        model: what was given. base: its base model (itself, if it has no head). anatomy: the table row.
        layers: parts of every layer. words: the word embedding module. hidden, vocab, head_size: sizes.
    """

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy) -> None:
        self.model = model
        self.base: Any = model.base_model
        self.anatomy = anatomy
        words: Any = self.base
        for part in anatomy.words.split("."):
            words = getattr(words, part)
        self.words = words
        self.layers = [_layer_parts(layer, anatomy) for layer in self.layer_list]
        self.hidden = int(getattr(model.config, anatomy.config["hidden"]))
        self.vocab = int(self.words.weight.shape[0])
        self.head_size = self.layers[0].head_size

    @property
    def layer_list(self) -> nn.ModuleList:
        found = self.base.get_submodule(self.anatomy.layers)
        assert isinstance(found, nn.ModuleList)
        return found

    @property
    def heads(self) -> tuple[int, ...]:
        return tuple(layer.heads for layer in self.layers)

    @property
    def ffn(self) -> tuple[int, ...]:
        return tuple(layer.ffn for layer in self.layers)

    @property
    def first_layer_pinned(self) -> bool:
        """True where the first layer cannot be dropped: DeBERTa's convolution joins its output to the embeddings, T5's
        position biases lie in it."""
        return self.anatomy.first_layer or getattr(getattr(self.base, "encoder", None), "conv", None) is not None

    @property
    def cuttable(self) -> bool:
        """Whether it can be cut: a family that is, and no encoder with a decoder."""
        return self.anatomy.cuttable and getattr(self.base, "decoder", None) is None

    @cached_property
    def axes(self) -> dict[str, ParameterAxes]:
        """Parameter name -> its axes, for every parameter of the model.

        Raises:
            SlonikError: a parameter that the table does not know.
        """
        projected = any(
            getattr(part, "out_features", None) == self.hidden
            for part in (
                getattr(self.base, "embeddings_project", None),
                getattr(getattr(self.base, "embeddings", None), "embed_proj", None),
            )
        )
        found = {}
        for name, parameter in self.model.named_parameters():
            axes = self._axes_of(name)
            resolved = tuple((None if projected else "hidden") if axis == "embedding" else axis for axis in axes.axes)
            if len(resolved) != parameter.dim():
                raise SlonikError(f"{name} has {parameter.dim()} axes where {self.anatomy.family} has {len(resolved)}")
            found[name] = ParameterAxes(name, axes.layer, axes.base, resolved)
        return found

    def _axes_of(self, name: str) -> ParameterAxes:
        prefix = "" if self.base is self.model else self.model.base_model_prefix + "."
        if not name.startswith(prefix):
            return ParameterAxes(name, None, False, _match(self.anatomy.head_axes, name, name))
        inside = name.removeprefix(prefix)
        if layer := re.match(re.escape(self.anatomy.layers) + r"\.(\d+)\.(.+)$", inside):
            axes = _match(self.anatomy.layer_axes, layer.group(2), name)
            return ParameterAxes(name, int(layer.group(1)), True, axes)
        return ParameterAxes(name, None, True, _match(self.anatomy.base_axes, inside, name))


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The table row of a model's family.

    Raises:
        SlonikError: a family that is not in the table.
    """
    family = family_of(str(model.config.model_type))
    if family not in FAMILIES:
        raise SlonikError(f"the anatomy of {family!r} is not known; known families: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[family]


def dissect(model: PreTrainedModel) -> Body:
    """Find the parts of `model`.

    Raises:
        SlonikError: an unknown family, or a model without layers.
    """
    body_anatomy = anatomy_of(model)
    try:
        return Body(model, body_anatomy)
    except (AttributeError, IndexError) as error:
        raise SlonikError(
            f"this {type(model).__name__} is not built as {body_anatomy.family} usually is: {error}"
        ) from None


def linear_sizes(module: Any) -> tuple[int, int]:
    """(inputs, outputs) of a linear map; GPT-2's Conv1D stores its matrix transposed."""
    rows, columns = module.weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)


def stream_norms(body: Body) -> Iterator[tuple[str, nn.LayerNorm]]:
    """Every LayerNorm over the hidden dimensions, with its dotted name, heads' norms included."""
    for name, module in body.model.named_modules():
        weight = f"{name}.weight"
        if isinstance(module, nn.LayerNorm) and body.axes.get(weight, _NOWHERE).axes == ("hidden",):
            yield name, module


def _match(rules: Rules, name: str, full: str) -> Axes:
    for pattern, axes in rules:
        if re.fullmatch(pattern, name):
            return axes
    raise SlonikError(f"the parameter {full} is not in the anatomy table, so this model cannot be cut or scored")


def _layer_parts(layer: nn.Module, anatomy: Anatomy) -> LayerParts:
    attention: Any = layer.get_submodule(anatomy.attention)
    context, outer = layer.get_submodule(anatomy.context), layer.get_submodule(anatomy.outer)
    present = {name for name, _ in layer.named_modules()}
    head_size = int(getattr(attention, anatomy.head_size))
    return LayerParts(
        module=layer,
        attention=attention,
        query=layer.get_submodule(anatomy.query),
        key=layer.get_submodule(anatomy.key),
        value=layer.get_submodule(anatomy.value),
        context=context,
        inner=tuple(layer.get_submodule(path) for path in anatomy.inner if path in present),
        outer=outer,
        output_norm=layer.get_submodule(anatomy.output_norm) if anatomy.output_norm else None,
        heads=linear_sizes(context)[0] // head_size,
        head_size=head_size,
        ffn=linear_sizes(outer)[0],
    )


_NOWHERE = ParameterAxes("", None, False, ())
