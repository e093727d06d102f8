"""Length-bucketed batches of tokenised texts, in an order that depends on nothing but (seed, epoch).

Every epoch shuffles all texts, sorts by length inside large pools, cuts batches by budget, and shuffles the batches:
near-equal lengths share a batch (1 to 3 % padding), yet which texts meet is new each epoch. The random numbers of a
batch come from (seed, epoch, index): a resumed run needs no saved generator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_bytes, sha256_json
from slonik.text.batching import token_budget_batches
from slonik.train.columns import Column
from slonik.train.groups import Groups
from slonik.train.protocols import Batch, Corruption, IntArray
from slonik.train.ragged import Ragged

_POOL_BATCHES = 50


class TextLoader:
    """Batches of texts.

    Args:
        ids: token ids of N texts, specials included.
        objective: whose `corrupt` makes the batch of the ids.
        max_texts: the most texts of a batch.
        max_tokens: the most tokens of a padded batch; None leaves only `max_texts`.
        columns: arrays aligned with the texts; each is put into the batch under its name.
        groups: (N,) texts with the same number share a batch; -1 for a text on its own.
        seed: of order and corruption.
        key: hash of the columns' content (the teacher cache key), for the fingerprint.

    Raises:
        SlonikError: no texts.
    """

    def __init__(
        self,
        ids: Ragged,
        objective: Corruption,
        *,
        max_texts: int = 128,
        max_tokens: int | None = None,
        columns: Mapping[str, Column] | None = None,
        groups: IntArray | None = None,
        seed: int = 0,
        key: str = "",
    ) -> None:
        if len(ids) == 0:
            raise SlonikError("the training corpus is empty: give a file with at least one sentence")
        self._ids = ids
        self._lengths = ids.lengths
        self._objective = objective
        self._max_texts = max_texts
        self._max_tokens = max_tokens or max_texts * int(self._lengths.max())
        self._columns = dict(columns or {})
        self._seed = seed
        together = groups is not None and bool((groups >= 0).any())
        self._groups = Groups(groups, self._lengths) if groups is not None and together else None
        facts = [ids.key, key, len(ids), self._lengths[:1000].tolist(), int(self._lengths.sum()), max_texts]
        facts += [max_tokens, sorted(self._columns), seed]
        if groups is not None and together:
            facts.append(sha256_bytes(np.ascontiguousarray(groups, dtype="<i8").tobytes()))
        self.fingerprint = sha256_json(facts)

    def plan(self, epoch: int) -> list[IntArray]:
        """Text numbers of every batch of an epoch; each text once. A pure function of (seed, epoch)."""
        rng = np.random.default_rng(derive_seed(self._seed, "order", epoch))
        batches = self._grouped(rng) if self._groups is not None else self._single(rng)
        return [batches[index] for index in rng.permutation(len(batches))]

    def _single(self, rng: np.random.Generator) -> list[IntArray]:
        order = rng.permutation(len(self._ids)).astype(np.int64)
        pool = self._max_texts * _POOL_BATCHES
        batches: list[IntArray] = []
        for start in range(0, len(order), pool):
            texts = order[start : start + pool]
            cut = token_budget_batches(self._lengths[texts], self._max_tokens, self._max_texts)
            batches += [texts[part] for part in cut]
        return batches

    def _grouped(self, rng: np.random.Generator) -> list[IntArray]:
        groups = self._groups
        assert groups is not None
        order = rng.permutation(len(groups.longest)).astype(np.int64)
        pool = self._max_texts * _POOL_BATCHES
        parts = [order[start : start + pool] for start in range(0, len(order), pool)]
        return [batch for part in parts for batch in groups.batches(part, self._max_tokens, self._max_texts)]

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of `texts` with its columns."""
        rng = np.random.default_rng(derive_seed(self._seed, "corrupt", epoch, index))
        batch = self._objective.corrupt([self._ids[text] for text in texts], rng)
        for name, column in self._columns.items():
            batch[name] = column.take(texts)
        return batch
