"""The size of a model that is to be made, whatever its family, and the ids that its vocabulary gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config

FamilyName = Literal["bert", "roberta", "deberta-v2", "modernbert", "gpt2", "t5", "fred-t5", "ltg-bert"]


class Shape(Config):
    """A fresh model: its family and its sizes. Sizes that a family does not have are refused by its builder."""

    family: FamilyName
    layers: int = Field(ge=1)
    """Of the encoder in an encoder-decoder."""
    decoder_layers: int | None = Field(None, ge=1)
    """Encoder-decoders only; None = as many as `layers`."""
    hidden: int = Field(ge=1)
    heads: int = Field(ge=1)
    head_size: int | None = Field(None, ge=1)
    """Encoder-decoders only; None = hidden / heads."""
    ffn: int | None = Field(None, ge=1)
    """Neurons of the feed-forward part; None = 4 x hidden."""
    max_length: int = Field(512, ge=4)
    """Positions: the most tokens of an input. Models with relative positions alone take it as their advice."""
    dropout: float = Field(0.1, ge=0, lt=1)
    next_sentence: bool = False
    """BERT: with the next-sentence head, as BertForPreTraining."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the family's Transformers config, as it names them (layer_norm_eps: 1e-6)."""

    @model_validator(mode="after")
    def _fits_its_family(self) -> Self:
        if self.family not in ("t5", "fred-t5"):
            for name in ("decoder_layers", "head_size"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for t5 and fred-t5, not for {self.family}")
            if self.hidden % self.heads:
                raise ValueError(f"hidden {self.hidden} does not divide by {self.heads} heads")
        if self.next_sentence and self.family != "bert":
            raise ValueError(f"next_sentence is for bert, not for {self.family}")
        return self

    @property
    def neurons(self) -> int:
        """Feed-forward neurons of a layer."""
        return self.ffn or 4 * self.hidden


@dataclass(frozen=True)
class TokenIds:
    """What a model's config says of its vocabulary.

    Attributes:
        size: rows of the embedding table.
        pad: id of padding; others are None where the vocabulary has no such token.
    """

    size: int
    pad: int = 0
    bos: int | None = None
    eos: int | None = None
    cls: int | None = None
    sep: int | None = None
    mask: int | None = None


def encoder_fields(shape: Shape, ids: TokenIds) -> dict[str, Any]:
    """What the Transformers configs of encoders name as BERT's does; other fields have names of the family's own."""
    return {
        "vocab_size": ids.size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.neurons,
        "max_position_embeddings": shape.max_length,
        "pad_token_id": ids.pad,
    }
