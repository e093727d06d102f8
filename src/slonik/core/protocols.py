"""What a model is to the code that measures or serves it. A model never learns which benchmark it is in.

Shapes: N texts, T tokens of one text (specials included), D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
LongTexts = Literal["truncate", "average", "refuse"]
"""What happens to a text of more tokens than a model takes: its beginning is read, consecutive windows are averaged by
their tokens, or it is refused in a sentence."""


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors: a torch model, an ONNX file, a static table, a remote server."""

    name: str

    @property
    def dimension(self) -> int:
        """D of the vectors that are given."""
        ...

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Vectors (N, D) in the order of `texts`; `prefix` None = the model's own default, "" = none."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts about the model: parameters, bytes, shape, hash of the weights."""
        ...

    def identity(self) -> str:
        """Hash of everything that decides the vectors: weights, config, tokenizer, sentence settings."""
        ...


@runtime_checkable
class PoolingEncoder(Encoder, Protocol):
    """An encoder whose token vectors can be pooled in more than one way."""

    poolings: tuple[str, ...]

    def encode_poolings(
        self, texts: Sequence[str], poolings: Sequence[str], *, prefix: str | None = None
    ) -> dict[str, FloatArray]:
        """One (N, D) array per pooling ("cls", "mean", "pooler"), not normalised, from one pass over the texts."""
        ...


@dataclass(frozen=True)
class TokenVectors:
    """Last-layer vectors of one text.

    Attributes:
        vectors: (T, D) float32.
        offsets: (T, 2) character offsets into the text, (0, 0) for special tokens.
        special: (T,) True for special tokens.
    """

    vectors: FloatArray
    offsets: NDArray[np.int64]
    special: NDArray[np.bool_]


@runtime_checkable
class TokenEncoder(Protocol):
    """Texts to one vector per token."""

    name: str

    def encode_tokens(self, texts: Sequence[str], *, prefix: str = "") -> list[TokenVectors]:
        """Token vectors of each text; offsets refer to the text without the prefix."""
        ...


@runtime_checkable
class LayerEncoder(Encoder, Protocol):
    """An encoder that shows what each of its layers says."""

    def encode_layers(
        self, texts: Sequence[str], poolings: Sequence[str] = ("mean",), *, prefix: str | None = ""
    ) -> dict[str, NDArray[np.float16]]:
        """Pooling ("mean", "cls", "last") -> vectors (layers + 1, N, D), embeddings first, from one pass."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Texts, or pairs of texts that are read together, to scores of labels: a torch task model, an ONNX file."""

    name: str
    target: str
    """What the scores are: "single", one label of several; "multi", any number of labels; "number", a number, of a
    cross-encoder the relevance of the second text to the first."""
    labels: tuple[str, ...]
    """In the order of the scores; empty for "number"."""

    def logits(self, rows: Sequence[str | Sequence[str]], *, long_texts: LongTexts | None = None) -> FloatArray:
        """Scores (N, L), of "number" (N, 1), before any softmax or sigmoid; `long_texts` None = the model's own way."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts about the model: parameters, bytes, shape, hash of the weights, labels."""
        ...

    def identity(self) -> str:
        """Hash of everything that decides the scores."""
        ...


@runtime_checkable
class Generator(Protocol):
    """A decoder: a prompt to its continuation."""

    name: str

    def generate(self, prompt: str, *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0) -> Iterator[str]:
        """Parts of the continuation as they come."""
        ...
