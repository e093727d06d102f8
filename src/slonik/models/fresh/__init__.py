"""Fresh models of any size: a family's stock Transformers class (LTG-BERT: our own) with random weights.

Does: make a model from a `Shape` and the ids of its vocabulary, on any device, also without memory (`meta`).
Does not: train, or load anything.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError, lookup, unknown_name
from slonik.models.fresh.bert import bert
from slonik.models.fresh.deberta_v2 import deberta_v2
from slonik.models.fresh.gpt2 import gpt2
from slonik.models.fresh.ltg_bert import ltg_bert
from slonik.models.fresh.modernbert import modernbert
from slonik.models.fresh.roberta import roberta
from slonik.models.fresh.shape import Shape, TokenIds
from slonik.models.fresh.t5 import fred_t5, t5

__all__ = ["FAMILIES", "Shape", "TokenIds", "build"]

FAMILIES: dict[str, Callable[[Shape, TokenIds], PreTrainedModel]] = {
    "bert": bert,
    "roberta": roberta,
    "deberta-v2": deberta_v2,
    "modernbert": modernbert,
    "gpt2": gpt2,
    "t5": t5,
    "fred-t5": fred_t5,
    "ltg-bert": ltg_bert,
}
"""Family -> what makes a model of it."""


def build(shape: Shape, ids: TokenIds, *, seed: int = 0, device: str = "cpu") -> PreTrainedModel:
    """A model with random weights that depend on `seed` alone; the generator of the process is left as it was.

    Args:
        device: "meta" makes a model of any size without memory, for counting.

    Raises:
        SlonikError: an option that the family does not know, or not with this value.
    """
    make = lookup(shape.family, FAMILIES, "model family")
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            model = make(shape, ids)
            _check_options(shape, model)
    except (TypeError, ValueError, KeyError) as error:
        detail = " ".join(str(error).split())[:300]
        raise SlonikError(f"no {shape.family} can be made with this shape and these options: {detail}") from None
    return model.train()


def _check_options(shape: Shape, model: PreTrainedModel) -> None:
    """Refuse options that nothing reads: the configs of Transformers keep any name without a word.

    Some that the code does read are no fields of the config (DeBERTa's `conv_kernel_size`).
    """
    if not shape.options:
        return
    config = type(model.config)
    known = {*config().to_dict(), *config.attribute_map}
    code = inspect.getsource(sys.modules[type(model).__module__])
    for name in shape.options:
        if name not in known and not re.search(rf"\b{re.escape(name)}\b", code):
            raise SlonikError(unknown_name(name, known, f"option of {shape.family}"))
