"""A masked-language model's head apart from its encoder, so that it runs at masked positions only.

At 15 % masked tokens this saves 85 % of the head's work, which for a small model is more than the encoder's. A table
of the stock classes; an own class says `predict_tokens(hidden (M, D)) -> logits (M, V)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from slonik.core.errors import SlonikError

Head = Callable[[Tensor], Tensor]
"""(M, D) hidden states -> (M, V) logits."""


def vocabulary_head(model: Any) -> Head:
    """The head of a masked-language model.

    Raises:
        SlonikError: the model has none.
    """
    own = getattr(model, "predict_tokens", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    cls = getattr(model, "cls", None)
    if cls is not None and hasattr(cls, "predictions"):  # BERT, BERT for pre-training, DeBERTa with the older head
        return cls.predictions  # type: ignore[no-any-return]
    if hasattr(model, "lm_predictions"):  # DeBERTa
        words = model.base_model.embeddings.word_embeddings
        return lambda hidden: model.lm_predictions(hidden, words)
    if hasattr(model, "lm_head"):  # RoBERTa, XLM-RoBERTa
        return model.lm_head  # type: ignore[no-any-return]
    if hasattr(model, "decoder") and hasattr(model, "head"):  # ModernBERT
        return lambda hidden: model.decoder(model.head(hidden))
    if hasattr(model, "vocab_projector"):  # DistilBERT
        return lambda hidden: model.vocab_projector(
            model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
        )
    raise SlonikError(
        f"{type(model).__name__} has no language-model head that is known here: load the model with its head "
        "(BertForMaskedLM and the like)"
    )


def vocabulary_of(model: Any) -> int:
    """How many words the head tells apart."""
    return int(model.config.vocab_size)


def encoder_of(model: nn.Module) -> nn.Module:
    """The encoder below the head."""
    base = getattr(model, "base_model", None)
    return base if isinstance(base, nn.Module) else model
