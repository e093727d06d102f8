"""Length-bucketed batches of labelled examples, each a set of named arrays, in an order that depends on (seed, epoch).

Every epoch shuffles all examples, sorts by length inside pools, cuts batches by budget, and shuffles the batches, as
`TextLoader` does for plain texts. Nothing is corrupted here: what a batch holds is what `collate` makes of the arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.text.batching import pad_fields, token_budget_batches
from slonik.train.protocols import Batch, IntArray

Fields: TypeAlias = Mapping[str, NDArray[Any]]
"""One example: `input_ids` (T,) or (R, T), and any other arrays."""
Collate: TypeAlias = Callable[[Sequence[Fields]], Batch]

_POOL_BATCHES = 50


class ExampleLoader:
    """Batches of examples, as the training loop wants them.

    Args:
        examples: N sets of arrays with the same names; `input_ids` gives the length.
        collate: makes the batch of a list of examples (`PadFields` will do for most).
        max_texts: the most examples of a batch.
        max_tokens: the most tokens of a padded batch; None leaves only `max_texts`.
        seed: of the order.
        key: hash of whatever else the batches depend on, for the fingerprint; the arrays themselves are hashed here.
        pool: examples that are sorted together, in batches; 1 = no sorting by length.

    Raises:
        SlonikError: no examples.
    """

    def __init__(
        self,
        examples: Sequence[Fields],
        collate: Collate,
        *,
        max_texts: int = 32,
        max_tokens: int | None = None,
        seed: int = 0,
        key: str = "",
        pool: int = _POOL_BATCHES,
    ) -> None:
        if not examples:
            raise SlonikError("there are no training examples: give a file with at least one labelled line")
        self._examples = examples
        self._collate = collate
        self._lengths = np.array([example["input_ids"].size for example in examples], dtype=np.int64)
        self._max_texts = max_texts
        self._max_tokens = max_tokens or max_texts * int(self._lengths.max())
        self._seed = seed
        self._pool = max(1, pool)
        self.fingerprint = sha256_json([hash_examples(examples), key, max_texts, max_tokens, seed, pool])

    def plan(self, epoch: int) -> list[IntArray]:
        """Example numbers of every batch of an epoch; each example once. A pure function of (seed, epoch)."""
        rng = np.random.default_rng(derive_seed(self._seed, "order", epoch))
        order = rng.permutation(len(self._examples)).astype(np.int64)
        pool = self._max_texts * self._pool
        batches: list[IntArray] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            cut = token_budget_batches(self._lengths[part], self._max_tokens, self._max_texts)
            batches += [part[chosen] for chosen in cut]
        return [batches[index] for index in rng.permutation(len(batches))]

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of the examples `texts` = plan(epoch)[index]."""
        return self._collate([self._examples[number] for number in texts])


class PadFields:
    """A `collate` that pads every field to the largest shape in the batch, on every axis, at its end.

    Args:
        fill: field name -> value to pad with; 0 for fields that are not named.
    """

    def __init__(self, fill: Mapping[str, float] | None = None) -> None:
        self._fill = dict(fill or {})

    def __call__(self, examples: Sequence[Fields]) -> Batch:
        """Tensors (B, ...) of every field; integers become int64, floats float32, truth values bool."""
        return {name: torch.from_numpy(array) for name, array in pad_fields(examples, self._fill).items()}


def hash_examples(examples: Sequence[Fields]) -> str:
    """sha256 over names, types, shapes and values of every example's arrays, in order."""
    digest = hashlib.sha256()
    for example in examples:
        for name in sorted(example):
            array = np.ascontiguousarray(example[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
