"""Cut a head as its encoder was cut: the columns that read hidden dimensions, the rows of tokens, the layers it mixes.

A head on a masked encoder (see `gates`) and the cut head on the cut encoder give the same outputs, to rounding. The
parent's head is left as it was, nothing is trained.

A task's head is built anew for the smaller dimension, and what both have in common is copied. An axis whose size
follows from the dimension D counts some vectors of D numbers, one after another, and then whatever else the head reads
(a cosine, a list of names); all heads in `slonik.models.heads` are built so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from slonik.compression.plan import Plan
from slonik.compression.surgery import cut_parameter
from slonik.core.errors import SlonikError
from slonik.models import slim
from slonik.models.anatomy import dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.heads import build_head
from slonik.models.language_model import LanguageModel
from slonik.models.modeling_slonik_heads import FeatureLayer
from slonik.models.task_model import TaskModel
from slonik.text.task_config import TaskConfig

_MIXTURE = "mixture"


def cut_task_head(model: TaskModel, encoder: TorchEncoder, plan: Plan) -> tuple[nn.Module, TaskConfig]:
    """The head of a task model for `encoder`, which was cut out of its own by `plan`, and the task's configuration.

    Raises:
        SlonikError: a head whose sizes cannot be told apart.
    """
    config, head, layers = model.config, model.head, len(dissect(model.encoder.model).layers)
    reads_all = bool(getattr(head, "reads_all_layers", False))
    same_class = type(encoder.model.config) is type(model.encoder.model.config)  # else a stock head is of another one
    if plan.hidden is None and same_class and not (reads_all and len(plan.layers) < layers):
        return copy.deepcopy(head), config
    if reads_all:
        config = config.model_copy(update={"head": {**config.head, "layers": len(plan.layers) + 1}})
    dimension = int(model.encoder.model.config.hidden_size)
    kept = list(range(dimension)) if plan.hidden is None else list(plan.hidden)
    made = _fresh(encoder, config).to(model.device)
    source, target = head.state_dict(), made.state_dict()
    if missing := sorted(set(source) ^ set(target)):
        raise SlonikError(f"the head {config.kind!r} has no counterpart for {missing[0]} in another width")
    for name, tensor in target.items():
        if name == _MIXTURE and reads_all:
            tensor.copy_(mixed(source[name], plan.layers, layers))
        else:
            tensor.copy_(_cut(name, source[name], tensor.shape, kept, dimension))
    _keep_scale(head, made, kept, dimension)
    made.train(head.training)
    return made, config


def mixed(weights: Tensor, layers: Sequence[int], depth: int) -> Tensor:
    """Logits (K,) of a mixture of the states that stay; those of a dropped layer go to the last kept state before it.

    A layer that is passed by puts out what it was given, so the cut mixture is the masked one exactly.

    Args:
        weights: (depth + 1,) logits, the first for the embeddings. layers: kept ones, ascending.
    """
    shares = weights.detach().double().softmax(0)
    found = torch.zeros(len(layers) + 1, dtype=torch.float64, device=weights.device)
    for state in range(depth + 1):
        found[sum(1 for layer in layers if layer < state)] += shares[state]
    return found.log().to(weights.dtype)


def cut_word_head(language: LanguageModel, encoder: TorchEncoder, plan: Plan) -> LanguageModel:
    """The language model on the body of `encoder`, which was cut out of its own by `plan`, with its head cut alike.

    Raises:
        SlonikError: a head whose parameters are not known.
    """
    body = dissect(language.model)
    stock: Any = slim.stock_class(language.model)
    uneven = slim.stock_class(encoder.model) is not type(encoder.model)
    config = copy.deepcopy(encoder.model.config)
    kind: Any = slim.slim_class(stock) if uneven else stock
    if uneven:
        config.auto_map = slim.auto_map(kind.config_class)
    with torch.random.fork_rng(devices=[]):
        made: Any = kind(config)
    prefix = made.base_model_prefix
    setattr(made, prefix, encoder.model)
    made.tie_weights()
    own = {name: parameter for name, parameter in made.named_parameters() if not name.startswith(f"{prefix}.")}
    source = dict(language.model.named_parameters())
    with torch.no_grad():
        for name, parameter in own.items():
            if name not in source:
                raise SlonikError(f"the language-model head of {language.name} lacks {name}: its head cannot be cut")
            parameter.copy_(cut_parameter(body, plan, name, source[name]))
    made.to(device=encoder.device, dtype=encoder.model.dtype)
    return replace(
        language, model=made.eval(), tokenizer=encoder.tokenizer, sentence=encoder.sentence, passport=encoder.passport
    )


def _fresh(encoder: TorchEncoder, config: TaskConfig) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return build_head(encoder.model.config, config)


def adopted_head(teacher: TaskModel, encoder: TorchEncoder) -> tuple[nn.Module, TaskConfig]:
    """A head for a student without one: the teacher's, where the student is as wide.

    A head that mixes the states of all layers begins with equal shares where the student has another number of them.

    Raises:
        SlonikError: a student of another width.
    """
    config, head, width = teacher.config, teacher.head, int(teacher.encoder.model.config.hidden_size)
    if int(encoder.model.config.hidden_size) != width:
        raise SlonikError(
            f"{encoder.name} has {encoder.model.config.hidden_size} hidden dimensions and {teacher.encoder.name} has "
            f"{width}: the head does not fit; give a student of the same width, or one with a head of its own"
        )
    depth = int(encoder.model.config.num_hidden_layers)
    other_depth = getattr(head, "reads_all_layers", False) and depth + 1 != int(config.head["layers"])
    if other_depth:
        config = config.model_copy(update={"head": {**config.head, "layers": depth + 1}})
    made = _fresh(encoder, config).to(encoder.device)
    own = {_MIXTURE: made.state_dict()[_MIXTURE]} if other_depth else {}
    made.load_state_dict({**head.state_dict(), **own})
    return made.train(head.training), config


def _cut(name: str, source: Tensor, shape: Sequence[int], kept: Sequence[int], dimension: int) -> Tensor:
    """`source` with the indices of every axis that follows from the dimension."""
    if source.dim() != len(shape):
        raise SlonikError(f"the head's {name} has {source.dim()} axes and would have {len(shape)}")
    for axis, (before, after) in enumerate(zip(source.shape, shape, strict=True)):
        if before == after:
            continue
        vectors, rest = divmod(before - after, dimension - len(kept))
        others = before - vectors * dimension
        if rest or others < 0:
            raise SlonikError(f"the head's {name} has {before} inputs, and which are hidden dimensions is not known")
        places = [number * dimension + index for number in range(vectors) for index in kept]
        places += range(vectors * dimension, before)
        source = source.index_select(axis, torch.tensor(places, device=source.device))
    return source


def _keep_scale(old: nn.Module, new: nn.Module, kept: Sequence[int], dimension: int) -> None:
    """Features that are brought to one length are scaled by their number; the weights make up for the new number."""
    layers = dict(new.named_modules())
    for name, layer in old.named_modules():
        if isinstance(layer, FeatureLayer) and layer.norm is not None:
            made: Any = layers[name]
            before, after = (_scales(each.groups) for each in (layer, made))
            ratio = _cut("scale", before, after.shape, kept, dimension) / after
            first = next(part for part in made.stack if isinstance(part, nn.Linear))
            with torch.no_grad():
                first.weight.mul_(ratio.to(first.weight.device))


def _scales(groups: Sequence[int]) -> Tensor:
    return torch.cat([torch.full((size,), size**-0.5) for size in groups])
