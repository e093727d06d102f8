"""The activations of `torch.nn` that a Dense module may name, on numpy: those without weights or arguments.

A name is an import path ("torch.nn.modules.activation.Tanh", "torch.nn.Tanh"); its last part decides. Values in
float32; formulas as in the documentation of torch.nn, with the default arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
_ERF = np.frompyfunc(math.erf, 1, 1)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _erf(x: Array) -> Array:
    found: Any = _ERF(x)
    made: Array = found.astype(np.float32)
    return made


def _sigmoid(x: Array) -> Array:
    low = np.exp(-np.abs(x))
    found: Array = np.where(x >= 0, 1.0, low) / (1.0 + low)
    return found


def _softplus(x: Array) -> Array:
    found: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return found


def _elu(x: Array) -> Array:
    found: Array = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return found


def _softmax(x: Array) -> Array:
    high = np.exp(x - x.max(axis=-1, keepdims=True))
    found: Array = high / high.sum(axis=-1, keepdims=True)
    return found


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "GELU": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "SiLU": lambda x: x * _sigmoid(x),
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Sigmoid": _sigmoid,
    "LogSigmoid": lambda x: -_softplus(-x),
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1.0 + np.abs(x)),
    "Tanhshrink": lambda x: x - np.tanh(x),
    "Hardshrink": lambda x: np.where(np.abs(x) > 0.5, x, 0.0),
    "Softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0.0),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "Hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyReLU": lambda x: np.where(x >= 0, x, 0.01 * x),
    "RReLU": lambda x: np.where(x >= 0, x, (1 / 8 + 1 / 3) / 2 * x),
    "ELU": _elu,
    "CELU": _elu,
    "SELU": lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "Softmax": _softmax,
    "Softmin": lambda x: _softmax(-x),
    "LogSoftmax": lambda x: np.log(_softmax(x)),
}
"""Name of the class -> what it does to (..., D)."""
