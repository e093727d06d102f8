"""A twin with random weights: the architecture, tokenizer and texts of a model, and nothing that it learned.

What a probe, or the best of many heads, reads off such a model comes from the words, their order and the choice itself
(Zhang and Bowman 2018; Hewitt and Liang 2019). The weights are those that the model's class begins training with.
"""

from __future__ import annotations

import copy

import torch

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.passport import Passport
from slonik.core.progress import warn_once
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import quiet_transformers

SUFFIX = " (random weights)"


def random_twin(encoder: TorchEncoder, seed: int = 0) -> TorchEncoder:
    """The twin of a model, named "NAME (random weights)"; the same for the same seed.

    Raises:
        SlonikError: a class that cannot be made from its config alone.
    """
    config = copy.deepcopy(encoder.model.config)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(derive_seed(seed, "random twin") % 2**31)
        try:
            model = type(encoder.model)(config)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise SlonikError(
                f"a {type(encoder.model).__name__} cannot be made with random weights from its config: {error}"
            ) from None
    model = model.to(device=encoder.device, dtype=encoder.model.dtype)
    sentence = encoder.sentence
    twin = TorchEncoder(
        model, encoder.tokenizer, sentence, Passport(name=encoder.name + SUFFIX), name=encoder.name + SUFFIX,
        long_texts=encoder.long_texts, autocast=encoder.autocast,
    )  # fmt: skip
    twin.batch_tokens = encoder.batch_tokens
    return twin


def twin_of(encoder: TorchEncoder, wanted: bool = True) -> TorchEncoder | None:
    """The twin that stands beside a model in a table; None where it is not wanted or cannot be made, which is said."""
    if not wanted:
        return None
    try:
        return random_twin(encoder)
    except SlonikError as error:
        warn_once(f"no twin with random weights is beside {encoder.name}: {error}")
        return None


def is_twin(model: str) -> bool:
    """Whether a record's model is a twin."""
    return model.endswith(SUFFIX)
