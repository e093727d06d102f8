"""Uneven-shape encoders in this library: which class, which config, saved and loaded without a flag.

The classes themselves are in `modeling_slonik`, which travels with the weights. Cutting a model to such a shape is
`slonik.compression.surgery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from slonik.core.errors import SlonikError
from slonik.models import modeling_slonik

_AUTO: dict[str, Any] = {
    "AutoModel": AutoModel,
    "AutoModelForMaskedLM": AutoModelForMaskedLM,
    "AutoModelForSequenceClassification": AutoModelForSequenceClassification,
    "AutoModelForTokenClassification": AutoModelForTokenClassification,
}
CODE_FILE = "modeling_slonik.py"


def register() -> None:
    """Make the uneven-shape types known to transformers' Auto classes in this process; harmless when repeated."""
    for made in modeling_slonik.CLASSES:
        config: Any = made.config_class
        AutoConfig.register(config.model_type, config, exist_ok=True)
        _AUTO[getattr(made, "_auto_class")].register(config, made, exist_ok=True)  # noqa: B009


def slim_class(stock: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The uneven-shape class that belongs to a stock class.

    Raises:
        SlonikError: no such class.
    """
    for made in modeling_slonik.CLASSES:
        if getattr(made, "stock") is stock:  # noqa: B009
            return made
    raise SlonikError(
        f"{stock.__name__} cannot have uneven layers: cut it uniformly (whole layers, the same number of feed-forward "
        "neurons everywhere, vocabulary), or cut its bare encoder"
    )


def stock_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The stock class of a model: its own, or the one that its uneven-shape class is made from."""
    found: type[PreTrainedModel] = getattr(type(model), "stock", type(model))
    return found


def slim_config(
    stock: type[PreTrainedModel],
    values: Mapping[str, Any],
    heads: Sequence[int],
    ffn: Sequence[int],
    head_dim: int,
    **extra: Any,
) -> PreTrainedConfig:
    """Config of an uneven model.

    Args:
        stock: the stock class that it is made from.
        values: the stock config as a dict, its sizes (layers, hidden, vocabulary) already those of the result.
        heads, ffn: heads and neurons of every layer. head_dim: size of one head.
        extra: more fields, for example `first_layer_norm` of ModernBERT.
    """
    made: Any = slim_class(stock)
    kept = {key: value for key, value in values.items() if key not in ("model_type", "architectures", "auto_map")}
    kept |= {"heads_per_layer": list(heads), "ffn_per_layer": list(ffn), "head_dim": head_dim, **extra}
    config: PreTrainedConfig = made.config_class.from_dict(kept)
    module = Path(CODE_FILE).stem
    config.auto_map = {"AutoConfig": f"{module}.{made.config_class.__name__}"}
    for each in modeling_slonik.CLASSES:
        if each.config_class is made.config_class:
            config.auto_map[getattr(each, "_auto_class")] = f"{module}.{each.__name__}"  # noqa: B009
    return config
