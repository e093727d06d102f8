"""The modules behind a transformer that make one vector of a text's token states, and what they do, on numpy.

The modules are those of sentence-transformers: Pooling, Dense, LayerNorm, Normalize, Dropout. `slonik.models.pipeline`
does the same on torch; which files they are written in is `pipeline_files`'s. In order: modules on token states, one
pooling, modules on sentence vectors.

Shapes: B texts, T tokens, D dimensions of a token state, P of a pooled vector, M poolings side by side (P = M * D).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes
from slonik.text.activations import ACTIVATIONS

Array: TypeAlias = NDArray[np.float32]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Poolings, in the order in which older configurations put them side by side."""
EPS = 1e-12
"""The least norm that is divided by."""
_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Pooling:
    """Token states to one vector, several ways side by side.

    Attributes:
        modes: of MODES, in the order of their dimensions.
        include_prompt: whether the tokens of a prompt count.
    """

    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True

    def __str__(self) -> str:
        return "+".join(self.modes) + ("" if self.include_prompt else " without the prompt")

    def content(self) -> dict[str, Any]:
        """What decides it, as JSON."""
        return {"module": "Pooling", "modes": list(self.modes), "include_prompt": self.include_prompt}


@dataclass(frozen=True, eq=False)
class Dense:
    """activation(x W^T + b), and x (or a linear map of it) beside it where it is residual.

    Attributes:
        weight: (O, I). bias: (O,), or None.
        activation: import name of a class of torch.nn.
        slope: (1,), the weight of a PReLU.
        residual: whether the input is added. shortcut: (O, I), its linear map where O != I.
        tokens: works on token states, before the pooling.
    """

    weight: Array
    bias: Array | None = None
    activation: str = "torch.nn.modules.activation.Tanh"
    slope: Array | None = None
    residual: bool = False
    shortcut: Array | None = None
    tokens: bool = False

    @property
    def name(self) -> str:
        """The activation's class."""
        return self.activation.rpartition(".")[2]

    def __str__(self) -> str:
        out, into = self.weight.shape
        return f"Dense {into} to {out} ({self.name})" + (" on tokens" if self.tokens else "")

    def __call__(self, x: Array) -> Array:
        """(..., I) -> (..., O)."""
        made: Array = x @ self.weight.T
        if self.bias is not None:
            made = made + self.bias
        if self.slope is not None:
            made = np.where(made >= 0, made, self.slope * made)
        else:
            made = ACTIVATIONS[self.name](made)
        if self.residual:
            made = made + (x if self.shortcut is None else x @ self.shortcut.T)
        return made.astype(np.float32, copy=False)

    def content(self) -> dict[str, Any]:
        """What decides it, as JSON: weights by their hash."""
        arrays = {"weight": self.weight, "bias": self.bias, "slope": self.slope, "shortcut": self.shortcut}
        hashes = {name: None if array is None else _hash(array) for name, array in arrays.items()}
        return {"module": "Dense", "activation": self.name, "residual": self.residual, "tokens": self.tokens, **hashes}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dense) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(str(self.content()))


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias, over the dimensions of a sentence vector."""

    weight: Array
    bias: Array

    def __str__(self) -> str:
        return "LayerNorm"

    def __call__(self, x: Array) -> Array:
        """(..., P) -> (..., P)."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        made: Array = centred / np.sqrt(variance + _NORM_EPS) * self.weight + self.bias
        return made.astype(np.float32, copy=False)

    def content(self) -> dict[str, Any]:
        """What decides it, as JSON."""
        return {"module": "LayerNorm", "weight": _hash(self.weight), "bias": _hash(self.bias)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerNorm) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(str(self.content()))


@dataclass(frozen=True)
class Normalize:
    """x / |x|; of token states where `tokens`."""

    tokens: bool = False

    def __str__(self) -> str:
        return "normalised" + (" tokens" if self.tokens else "")

    def __call__(self, x: Array) -> Array:
        """(..., P) -> (..., P), unit length."""
        made: Array = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), EPS)
        return made.astype(np.float32, copy=False)

    def content(self) -> dict[str, Any]:
        """What decides it, as JSON."""
        return {"module": "Normalize", "tokens": self.tokens}


@dataclass(frozen=True)
class Dropout:
    """Nothing where a model is used; kept for those that train the folder elsewhere."""

    rate: float = 0.2

    def __str__(self) -> str:
        return "Dropout"

    def __call__(self, x: Array) -> Array:
        """(..., P) -> the same."""
        return x

    def content(self) -> dict[str, Any]:
        """What decides it, as JSON."""
        return {"module": "Dropout", "rate": self.rate}


Module: TypeAlias = Pooling | Dense | LayerNorm | Normalize | Dropout
PLAIN: tuple[Module, ...] = (Pooling(("mean",)), Normalize())


def split(modules: Sequence[Module]) -> tuple[list[Any], Pooling, list[Any]]:
    """Modules on token states, the pooling, modules on sentence vectors."""
    place = next(place for place, module in enumerate(modules) if isinstance(module, Pooling))
    pooling = modules[place]
    assert isinstance(pooling, Pooling)
    return list(modules[:place]), pooling, list(modules[place + 1 :])


def dimension_of(modules: Sequence[Module], hidden: int) -> int:
    """Dimensions of the last module's vectors, from D of token states.

    Raises:
        SlonikError: a module that takes another width than the one before it gives.
    """
    width = hidden
    for number, module in enumerate(modules, start=1):
        if isinstance(module, Pooling):
            width *= len(module.modes)
        elif isinstance(module, Dense):
            out, into = module.weight.shape
            if into != width:
                raise SlonikError(
                    f"module {number} of modules.json, {module}, takes {into} dimensions, and what stands before it "
                    f"gives {width}: it belongs to another model"
                )
            width = out
        elif isinstance(module, LayerNorm) and len(module.weight) != width:
            raise SlonikError(
                f"module {number} of modules.json, LayerNorm, takes {len(module.weight)} dimensions, and what stands "
                f"before it gives {width}: it belongs to another model"
            )
    return width


def without_prompt(mask: NDArray[np.integer], prompt: NDArray[np.integer] | int) -> NDArray[np.integer]:
    """`mask` (B, T) with zeros for the first `prompt` tokens of each text, as sentence-transformers leaves them out."""
    places = np.arange(mask.shape[1])[None, :]
    lengths = np.broadcast_to(np.asarray(prompt).reshape(-1, 1), (len(mask), 1))
    kept: NDArray[np.integer] = np.where(places < lengths, 0, mask)
    return kept


def pool(hidden: NDArray[np.floating], mask: NDArray[np.integer], modes: Sequence[str]) -> Array:
    """Pool token states.

    Args:
        hidden: (B, T, D), padded on the right.
        mask: (B, T), 1 for the tokens that count.
        modes: of MODES.

    Returns:
        (B, M * D), the modes side by side.
    """
    states: Array = hidden.astype(np.float32, copy=False)
    return np.concatenate([_pool(states, mask, mode) for mode in modes], axis=1)


def _pool(states: Array, mask: NDArray[np.integer], mode: str) -> Array:
    rows = np.arange(len(states))
    if mode == "cls":
        return states[rows, mask.argmax(axis=1)]
    if mode == "lasttoken":
        last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
        found: Array = states[rows, last] * (mask.max(axis=1) > 0)[:, None]
        return found.astype(np.float32, copy=False)
    if mode == "max":
        highest: Array = np.where(mask[..., None] > 0, states, -np.inf).max(axis=1)
        return highest.astype(np.float32, copy=False)
    weights = mask.astype(np.float32)
    if mode == "weightedmean":
        weights = weights * np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    total: Array = np.matmul(weights[:, None, :], states)[:, 0]
    count = np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    return total / (np.sqrt(count) if mode == "mean_sqrt_len_tokens" else count)


def _hash(array: Array) -> str:
    return sha256_bytes(str(array.shape).encode() + np.ascontiguousarray(array, dtype="<f4").tobytes())
