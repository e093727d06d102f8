"""Which model families can be exported, and which part of them.

The table is the whole policy; a family that is not in it gets a sentence, not an attempt.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from slonik.core.errors import SlonikError

ENCODERS = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "eurobert", "modernbert", "mpnet",
    "nomic_bert", "roberta", "slonik", "xlm-roberta",
)  # fmt: skip
ENCODER_HALF = ("mt5", "t5", "umt5")
DECODERS = ("gpt2",)


def part_to_export(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """The module whose last hidden states are exported: the model, or the encoder half of a T5.

    A GPT-2 is exported as a reader of text (hidden states under its causal mask); generating needs a cache of keys
    and values, which these files do not have.

    Raises:
        SlonikError: the family is not known to export.
    """
    family = str(model.config.model_type)
    if family in ENCODER_HALF:
        half: PreTrainedModel = model.get_encoder()
        return half
    if family in ENCODERS or family in DECODERS or family.startswith("slonik"):
        return model
    known = ", ".join((*ENCODERS, *ENCODER_HALF, *DECODERS))
    raise SlonikError(f"{name} is of the family {family!r}, which cannot be exported to ONNX: known are {known}")


def limits_of(family: str) -> tuple[str, ...]:
    """What an exported model of this family cannot do, said to the user with the result."""
    if family in DECODERS:
        return ("the files give hidden states and sentence vectors; slonik generate writes text with the original",)
    if family in ENCODER_HALF:
        return ("the files hold the encoder half alone; slonik generate writes text with the original",)
    return ()
