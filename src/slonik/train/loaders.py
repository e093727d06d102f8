"""Batches by number for the loop: near-equal lengths together, in an order that depends on nothing but (seed, epoch).

Every epoch shuffles all items, sorts by length inside large pools, cuts batches by budget, and shuffles the batches:
near-equal lengths share a batch (1 to 3 % padding), yet which items meet is new each epoch. The random numbers of a
batch come from (seed, epoch, index): a resumed run needs no saved generator. How an epoch is cut and what becomes of
the items of a batch is passed in; `text_loader` and `example_loader` do so for plain texts and for labelled examples.
Shapes: B items of a batch, N items in all, T tokens, D dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_bytes, sha256_json
from slonik.text.batching import pad_arrays, pad_fields, token_budget_batches
from slonik.train.protocols import Batch, Corruption, IntArray, Loader
from slonik.train.ragged import Ragged

Fields: TypeAlias = Mapping[str, NDArray[Any]]
"""One example: `input_ids` (T,) or (R, T), and any other arrays."""
Collate: TypeAlias = Callable[[Sequence[Fields]], Batch]
Cut: TypeAlias = Callable[[int, np.random.Generator], Sequence[IntArray]]
"""(epoch, rng) -> the items of each batch, every item once."""
Make: TypeAlias = Callable[[int, IntArray, np.random.Generator], Batch]
"""(epoch, items, rng) -> their batch."""
Column: TypeAlias = Callable[[IntArray], Tensor]
"""Something aligned with the texts of a loader (teacher vectors, those of translations, states of tokens): the B text
numbers -> (B, ...)."""

_POOL_BATCHES = 50


class BatchLoader:
    """Batches as the training loop wants them.

    Args:
        cut: cuts an epoch into batches; they are shuffled here.
        make: makes a batch.
        seed: of order and batches.
        fingerprint: hash of everything the batches depend on, the seed included.
    """

    def __init__(self, cut: Cut, make: Make, *, seed: int, fingerprint: str) -> None:
        self._cut, self._make, self._seed = cut, make, seed
        self.fingerprint = fingerprint

    def plan(self, epoch: int) -> list[IntArray]:
        """The items of every batch of an epoch; each item once. A pure function of (seed, epoch)."""
        rng = np.random.default_rng(derive_seed(self._seed, "order", epoch))
        batches = self._cut(epoch, rng)
        return [batches[index] for index in rng.permutation(len(batches))]

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of `texts` = plan(epoch)[index]."""
        return self._make(epoch, texts, np.random.default_rng(derive_seed(self._seed, "corrupt", epoch, index)))


class StagedLoader:
    """Batches of several loaders one after another: so many of each, and of the last one without an end.

    Each goes through its own epochs, the last of which may be cut; they are the epochs of the whole, so positions can
    be resumed, and no more is planned than what is read.

    Args:
        parts: (loader, how many batches of it), in order.
        last: what comes afterwards.
    """

    def __init__(self, parts: Sequence[tuple[Loader, int]], last: Loader) -> None:
        self._last = last
        self._epochs: list[tuple[Loader, int, int]] = []  # (loader, its own epoch, batches of it)
        for loader, batches in parts:
            epoch = 0
            while batches > 0:
                size = min(batches, len(loader.plan(epoch)))
                self._epochs.append((loader, epoch, size))
                epoch, batches = epoch + 1, batches - size
        self.fingerprint = sha256_json(
            [[loader.fingerprint, batches] for loader, batches in parts] + [last.fingerprint]
        )

    def plan(self, epoch: int) -> Sequence[IntArray]:
        """The items of every batch of an epoch of the whole."""
        loader, own, size = self._of(epoch)
        return loader.plan(own)[:size]

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of `texts` = plan(epoch)[index], by the loader whose turn it is."""
        loader, own, _ = self._of(epoch)
        return loader.batch(own, index, texts)

    def _of(self, epoch: int) -> tuple[Loader, int, int | None]:
        if epoch < len(self._epochs):
            return self._epochs[epoch]
        return self._last, epoch - len(self._epochs), None


def pools(count: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """The numbers below `count` in random order, `size` at a time."""
    order = rng.permutation(count).astype(np.int64)
    for start in range(0, count, size):
        yield order[start : start + size]


def buckets(
    lengths: IntArray, rng: np.random.Generator, *, max_tokens: int, max_texts: int, pool: int
) -> list[IntArray]:
    """Items (N,) as batches of near-equal lengths.

    Args:
        lengths: (N,) tokens of each item.
        max_tokens: the most tokens of a padded batch. max_texts: the most items of one.
        pool: items that are sorted together.
    """
    return [
        part[chosen]
        for part in pools(len(lengths), pool, rng)
        for chosen in token_budget_batches(lengths[part], max_tokens, max_texts)
    ]


def text_loader(
    ids: Ragged,
    objective: Corruption,
    *,
    max_texts: int = 128,
    max_tokens: int | None = None,
    columns: Mapping[str, Column] | None = None,
    groups: IntArray | None = None,
    seed: int = 0,
    key: str = "",
    pool: int = _POOL_BATCHES,
) -> BatchLoader:
    """Batches of plain texts.

    Args:
        ids: token ids of N texts, specials included.
        objective: whose `corrupt` makes the batch of the ids.
        max_texts: the most texts of a batch.
        max_tokens: the most tokens of a padded batch; None leaves only `max_texts`.
        columns: arrays aligned with the texts; each is put into the batch under its name.
        groups: (N,) texts with the same number share a batch, for losses that compare them; -1 for a text on its own.
        seed: of order and corruption.
        key: hash of the columns' content (the teacher cache key), for the fingerprint.
        pool: texts that are sorted together, in batches; 1 = no sorting by length.

    Raises:
        SlonikError: no texts.
    """
    if len(ids) == 0:
        raise SlonikError("the training corpus is empty: give a file with at least one sentence")
    lengths = ids.lengths
    named = dict(columns or {})
    budget = max_tokens or max_texts * int(lengths.max())
    size = max_texts * pool
    facts = [ids.key, key, len(ids), lengths[:1000].tolist(), int(lengths.sum()), max_texts]
    facts += [max_tokens, sorted(named), seed]
    facts += [pool] if pool != _POOL_BATCHES else []
    together = None
    if groups is not None and (groups >= 0).any():
        together = _Groups(groups, lengths)
        facts.append(sha256_bytes(np.ascontiguousarray(groups, dtype="<i8").tobytes()))

    def cut(_epoch: int, rng: np.random.Generator) -> list[IntArray]:
        if together is None:
            return buckets(lengths, rng, max_tokens=budget, max_texts=max_texts, pool=size)
        parts = pools(len(together.longest), size, rng)
        return [batch for part in parts for batch in together.batches(part, budget, max_texts)]

    def make(_epoch: int, texts: IntArray, rng: np.random.Generator) -> Batch:
        batch = objective.corrupt([ids[text] for text in texts], rng)
        return batch | {name: column(texts) for name, column in named.items()}

    return BatchLoader(cut, make, seed=seed, fingerprint=sha256_json(facts))


class _Groups:
    """Groups of texts; a text on its own is a group of one.

    Args:
        numbers: (N,) group of each text, -1 for none. lengths: (N,) tokens of each text.
    """

    def __init__(self, numbers: IntArray, lengths: IntArray) -> None:
        alone = numbers < 0
        first_free = int(numbers.max()) + 1
        numbers = np.where(alone, first_free + np.arange(len(numbers)), numbers)
        self._order = np.argsort(numbers, kind="stable").astype(np.int64)
        borders = np.flatnonzero(np.diff(numbers[self._order])) + 1
        self._starts = np.concatenate([[0], borders, [len(numbers)]]).astype(np.int64)
        self._sizes = np.diff(self._starts)
        self.longest = np.maximum.reduceat(np.asarray(lengths)[self._order], self._starts[:-1]).astype(np.int64)
        """(G,) tokens of the longest text of each group."""

    def batches(self, groups: IntArray, max_tokens: int, max_texts: int) -> list[IntArray]:
        """Text numbers of batches that hold the given groups whole, longest batch first.

        A group that is too large for the budget is a batch alone.
        """
        made: list[IntArray] = []
        batch: list[IntArray] = []
        texts = longest = 0
        for group in groups[np.argsort(-self.longest[groups], kind="stable")]:
            size = int(self._sizes[group])
            if batch and (texts + size > max_texts or (texts + size) * longest > max_tokens):
                made.append(np.concatenate(batch))
                batch, texts = [], 0
            if not batch:
                longest = int(self.longest[group])
            batch.append(self._order[self._starts[group] : self._starts[group + 1]])
            texts += size
        return [*made, np.concatenate(batch)] if batch else made


def rows(array: NDArray[Any]) -> Column:
    """One row (...) per text of an (N, ...) array or memory map."""
    return lambda texts: torch.from_numpy(np.ascontiguousarray(array[texts]))


def partner_rows(array: NDArray[Any], places: IntArray) -> Column:
    """The row of another text, of the translation where there is one; zeros where a text has no partner.

    Args:
        array: (M, D) array or memory map.
        places: (N,) the row of each text's partner, -1 for none.
    """

    def taken(texts: IntArray) -> Tensor:
        found = np.ascontiguousarray(array[np.maximum(places[texts], 0)])
        found[places[texts] < 0] = 0
        return torch.from_numpy(found)

    return taken


def token_rows(states: Ragged) -> Column:
    """One vector per token of N rows (T_i, D): (B, longest T, D), zeros after the end of a text."""
    return lambda texts: torch.from_numpy(pad_arrays([states[text] for text in texts]))


def example_loader(
    examples: Sequence[Fields], collate: Collate, *, max_texts: int = 32, max_tokens: int | None = None, seed: int = 0
) -> BatchLoader:
    """Batches of labelled examples, each a set of named arrays. Nothing is corrupted.

    Args:
        examples: N sets of arrays with the same names; `input_ids` gives the length.
        collate: makes the batch of a list of examples (`PadFields` will do for most).
        max_texts: the most examples of a batch.
        max_tokens: the most tokens of a padded batch; None leaves only `max_texts`.
        seed: of the order.

    Raises:
        SlonikError: no examples.
    """
    if not examples:
        raise SlonikError("there are no training examples: give a file with at least one labelled line")
    lengths = np.array([example["input_ids"].size for example in examples], dtype=np.int64)
    budget = max_tokens or max_texts * int(lengths.max())

    def cut(_epoch: int, rng: np.random.Generator) -> list[IntArray]:
        return buckets(lengths, rng, max_tokens=budget, max_texts=max_texts, pool=max_texts * _POOL_BATCHES)

    def make(_epoch: int, texts: IntArray, _rng: np.random.Generator) -> Batch:
        return collate([examples[number] for number in texts])

    facts = [_hash_examples(examples), "", max_texts, max_tokens, seed, _POOL_BATCHES]
    return BatchLoader(cut, make, seed=seed, fingerprint=sha256_json(facts))


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


def _hash_examples(examples: Sequence[Fields]) -> str:
    """sha256 over names, types, shapes and values of every example's arrays, in order."""
    digest = hashlib.sha256()
    for example in examples:
        for name in sorted(example):
            array = np.ascontiguousarray(example[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
