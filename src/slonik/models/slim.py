"""Our own model classes in this library: which class, which config, saved and loaded without a flag.

Uneven-shape encoders are in `modeling_slonik`, LTG-BERT in `modeling_ltg_bert`; these files travel with the weights.
Cutting a model to an uneven shape is `slonik.compression.surgery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from slonik.core.errors import SlonikError
from slonik.models import modeling_slonik
from slonik.models.modeling_ltg_bert import LtgBertForMaskedLM, LtgBertModel

_AUTO: dict[str, Any] = {
    "AutoModel": AutoModel,
    "AutoModelForMaskedLM": AutoModelForMaskedLM,
    "AutoModelForSequenceClassification": AutoModelForSequenceClassification,
    "AutoModelForTokenClassification": AutoModelForTokenClassification,
    "AutoModelForQuestionAnswering": AutoModelForQuestionAnswering,
    "AutoModelForMultipleChoice": AutoModelForMultipleChoice,
}
LTG_CLASSES: tuple[type[PreTrainedModel], ...] = (LtgBertModel, LtgBertForMaskedLM)


def register() -> None:
    """Make our types known to transformers' Auto classes in this process; harmless when repeated."""
    for made in (*modeling_slonik.CLASSES, *LTG_CLASSES):
        config: Any = made.config_class
        AutoConfig.register(config.model_type, config, exist_ok=True)
        _AUTO[getattr(made, "_auto_class")].register(config, made, exist_ok=True)  # noqa: B009


def auto_map(config: type[PreTrainedConfig]) -> dict[str, str]:
    """What config.json says of the code file beside it."""
    module = config.__module__.rsplit(".", 1)[-1]
    classes = (made for made in (*modeling_slonik.CLASSES, *LTG_CLASSES) if made.config_class is config)
    found = {getattr(made, "_auto_class"): f"{module}.{made.__name__}" for made in classes}  # noqa: B009
    return {"AutoConfig": f"{module}.{config.__name__}"} | found


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
    config.auto_map = auto_map(made.config_class)
    return config
