"""LTG-BERT in this library: known to transformers' Auto classes without a flag, saved with its code file.

The class itself is in `modeling_ltg_bert`, which travels with the weights.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from slonik.models import modeling_ltg_bert as code

MODEL_TYPE = code.LtgBertConfig.model_type
_AUTO: dict[str, tuple[Any, Any]] = {
    "AutoModel": (AutoModel, code.LtgBertModel),
    "AutoModelForMaskedLM": (AutoModelForMaskedLM, code.LtgBertForMaskedLM),
}


def register() -> None:
    """Make LTG-BERT known to the Auto classes of this process; harmless when repeated."""
    AutoConfig.register(MODEL_TYPE, code.LtgBertConfig, exist_ok=True)
    for auto, made in _AUTO.values():
        auto.register(code.LtgBertConfig, made, exist_ok=True)


def auto_map() -> dict[str, str]:
    """What config.json says of the code file beside it."""
    module = code.__name__.rsplit(".", 1)[-1]
    return {"AutoConfig": f"{module}.LtgBertConfig"} | {
        name: f"{module}.{made.__name__}" for name, (_, made) in _AUTO.items()
    }
