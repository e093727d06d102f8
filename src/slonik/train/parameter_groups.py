"""Which parameters share a learning rate and a weight decay: decayed or not, deep or shallow, matrix or table.

Reads names and shapes only; which optimizer trains a group is `optimizers`' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|block|blocks|h)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embeddings?|relative_embedding|shared|wte|wpe|embed_tokens)(?:\.|$)")


def parameter_groups(
    named: Mapping[str, nn.Parameter], weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: matrices with `weight_decay`, vectors (biases, norms) without.

    Args:
        named: name -> parameter to train; all of them in one go, for the layers are counted here.
        weight_decay: of parameters with two axes or more.
        layer_decay: see `layer_scales`.

    Returns:
        Groups with `params`, `weight_decay`, and `scale`: the factor of the learning rate in this group.
    """
    scales = layer_scales(named, layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        groups.setdefault((scales[name], parameter.dim() >= 2), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: (not item[0][1], -item[0][0]))
    return [
        {"params": parameters, "weight_decay": weight_decay if matrices else 0.0, "scale": scale}
        for (scale, matrices), parameters in ordered
    ]


def layer_scales(names: Iterable[str], layer_decay: float) -> dict[str, float]:
    """Factor of the learning rate by parameter name: 1 for a head, `layer_decay` less for each layer further down.

    With L layers: heads, poolers and final norms 1, the top layer d, the lowest d^L, embeddings d^(L + 1)
    (ELECTRA, appendix B; layer-wise learning rate decay). Layers are found by the usual names
    (`encoder.layer.3.`, `layers.3.`, `h.3.`, `block.3.`); both stacks of an encoder-decoder count from their own
    bottom.
    """
    names = list(names)
    if layer_decay == 1.0:
        return dict.fromkeys(names, 1.0)
    places = {name: int(found[1]) for name in names if (found := _LAYER.search(name))}
    layers = max(places.values(), default=-1) + 1
    scales = {}
    for name in names:
        if name in places:
            scales[name] = layer_decay ** (layers - places[name])
        else:
            scales[name] = layer_decay ** (layers + 1) if _EMBEDDING.search(name) else 1.0
    return scales


def hidden_matrices(modules: Mapping[str, nn.Module]) -> set[int]:
    """Ids of the weights that Muon is meant for: two-axis weights of linear layers, output vocabularies excluded.

    Tables, tied heads, vectors and free-standing parameters (relative positions) stay with AdamW, as its author says.
    """
    apart: set[int] = set()
    found: set[int] = set()
    for module in modules.values():
        output = getattr(module, "get_output_embeddings", lambda: None)()
        if isinstance(weight := getattr(output, "weight", None), Tensor):
            apart.add(id(weight))
        for part in module.modules():
            weight = part._parameters.get("weight")
            if isinstance(part, nn.Embedding):
                apart.add(id(weight))
            elif weight is not None and weight.dim() == 2:
                found.add(id(weight))
    return found - apart
