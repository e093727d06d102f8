"""Examples of a training run: a query with one relevant document, negatives drawn anew each time it comes.

What a batch is made of them is the learner's; the draw comes from (seed, epoch, batch), so that a resumed run meets the
same documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.hashing import sha256_json
from slonik.data.rankings import Asked
from slonik.finetuning.rerank.negatives import Draw, Numbers
from slonik.text.pairs import pair_template
from slonik.text.tokenizing import content_ids, template_of
from slonik.train.loaders import BatchLoader, buckets
from slonik.train.protocols import Batch, IntArray

_POOL_BATCHES = 50


@dataclass(frozen=True)
class Examples:
    """What is learned from.

    Attributes:
        queries: those to fit. draws: one each.
        places: (E, 2) an example's query, and its relevant document.
        width: documents of an example.
        identity: hash of everything that decides them.
    """

    queries: Sequence[Asked]
    draws: Sequence[Draw]
    places: NDArray[np.int64]
    width: int
    identity: str

    @classmethod
    def of(cls, queries: Sequence[Asked], draws: Sequence[Draw], count: int, identity: str) -> Examples:
        """One example for every relevant document of every query, with `count` negatives."""
        places = [(number, document) for number, asked in enumerate(queries) for document in asked.relevant]
        return cls(queries, draws, np.array(places, dtype=np.int64), 1 + count, identity)

    @property
    def highest(self) -> float:
        """The highest grade."""
        return max(max(asked.grades.values()) for asked in self.queries)

    def sizes(self, tokenizer: Tokenizer, documents: Sequence[str], most: int, *, together: bool) -> IntArray:
        """(E,) tokens of an example, about: its query and its relevant document stand for all of its pairs.

        Args:
            most: tokens of a row; what is longer is cut there. together: query and document are one row.
        """
        return np.minimum(most, self._rows(tokenizer, documents, together=together)) * self.width

    def longer(self, tokenizer: Tokenizer, documents: Sequence[str], most: int, *, together: bool) -> int:
        """How many examples have a relevant document (with its query, if `together`) of more than `most` tokens."""
        return int((self._rows(tokenizer, documents, together=together) > most).sum())

    def _rows(self, tokenizer: Tokenizer, documents: Sequence[str], *, together: bool) -> IntArray:
        """(E,) tokens of the relevant document, with its query if `together`."""
        specials = (pair_template(tokenizer) if together else template_of(tokenizer)).size
        numbers = np.unique(self.places[:, 1])
        read = dict(zip(numbers.tolist(), _lengths(tokenizer, [documents[one] for one in numbers]), strict=True))
        asked = _lengths(tokenizer, [one.text for one in self.queries]) if together else [0] * len(self.queries)
        rows = [asked[query] + read[document] + specials for query, document in self.places.tolist()]
        return np.array(rows, dtype=np.int64)

    def loader(
        self, sizes: IntArray, make: Callable[[Sequence[tuple[Asked, Numbers]]], Batch], *, max_texts: int,
        max_tokens: int | None, seed: int,
    ) -> BatchLoader:  # fmt: skip
        """Batches of examples of like length.

        Args:
            make: makes a batch of queries and their documents, the relevant one first.
        """
        budget = max_tokens or max_texts * int(sizes.max())

        def cut(_epoch: int, rng: np.random.Generator) -> list[IntArray]:
            return buckets(sizes, rng, max_tokens=budget, max_texts=max_texts, pool=max_texts * _POOL_BATCHES)

        def batch(_epoch: int, items: IntArray, rng: np.random.Generator) -> Batch:
            chosen = self.places[items].tolist()
            return make([(self.queries[query], self.draws[query](document, rng)) for query, document in chosen])

        facts = [self.identity, self.width, sizes.tolist()[:1000], int(sizes.sum()), max_texts, max_tokens, seed]
        return BatchLoader(cut, batch, seed=seed, fingerprint=sha256_json(facts))


def _lengths(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in content_ids(tokenizer, texts)]
