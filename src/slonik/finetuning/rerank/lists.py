"""Measured queries with their candidates, the metrics of scores for them, and the rankers that are there untrained.

Every system orders the same documents of a query: BM25's best and all that are judged, the relevant ones among them. So
metrics are paired, and what is measured is the order alone, not the finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.core.protocols import Encoder, FloatArray
from slonik.data.rankings import Asked
from slonik.evaluation.agreement import unit
from slonik.evaluation.retrieval.bm25 import Bm25
from slonik.evaluation.retrieval.metrics import per_query
from slonik.evaluation.retrieval.rankers import DOCUMENT_PROMPTS, QUERY_PROMPTS, prompt_of
from slonik.evaluation.retrieval.ranking import NONE
from slonik.evaluation.statistics import Mean, Statistic
from slonik.finetuning.rerank.negatives import Numbers, best

METRICS = ("ndcg@10", "mrr@10", "recall@10")
"""The first chooses the checkpoint."""
Scores = Sequence[NDArray[np.floating]]
"""Per query one score for each of its candidates."""
Order = Callable[[Sequence[Asked], Sequence[Numbers]], Scores]
"""Queries and their candidates -> scores: what a system is here."""


@dataclass(frozen=True)
class Lists:
    """Queries and the documents that are put into an order for them.

    Attributes:
        queries: Q of them. candidates: per query document numbers, ascending.
    """

    queries: Sequence[Asked]
    candidates: Sequence[Numbers]

    @classmethod
    def of(cls, index: Bm25, queries: Sequence[Asked], count: int) -> Lists:
        """The best `count` documents of each query by BM25, and all that are judged."""
        found = [
            np.unique(np.concatenate([best(index.scores(asked.text), count, asked), list(asked.grades)]))
            for asked in queries
        ]
        return cls(queries, [one.astype(np.int64) for one in found])

    def per_query(self, scores: Scores) -> dict[str, NDArray[np.float64]]:
        """Metric -> (Q,) values."""
        numbers = np.full((len(self.queries), max(map(len, self.candidates))), NONE, dtype=np.int64)
        for row, (documents, own) in enumerate(zip(self.candidates, scores, strict=True)):
            numbers[row, : len(documents)] = documents[np.argsort(-np.asarray(own), kind="stable")]
        return per_query(numbers, [asked.grades for asked in self.queries], METRICS)

    def metrics(self, scores: Scores) -> dict[str, Statistic]:
        """Metric -> its mean, to be resampled by query."""
        return {name: Mean(values) for name, values in self.per_query(scores).items()}


def by_words(index: Bm25) -> Order:
    """Scores of BM25."""
    return lambda queries, candidates: [
        index.scores(asked.text)[documents] for asked, documents in zip(queries, candidates, strict=True)
    ]


def by_chance(seed: int) -> Order:
    """An order drawn by seed."""
    rng = np.random.default_rng(derive_seed(seed, "chance"))
    return lambda queries, candidates: [rng.permutation(len(documents)).astype(np.float64) for documents in candidates]


def by_vectors(encoder: Encoder, documents: Sequence[str]) -> Order:
    """Cosines of a sentence encoder, with the prompts that its checkpoint has."""

    def order(queries: Sequence[Asked], candidates: Sequence[Numbers]) -> Scores:
        asked = query_vectors(encoder, queries)
        numbers = np.unique(np.concatenate(candidates))
        read = document_vectors(encoder, [documents[number] for number in numbers])
        return [read[np.searchsorted(numbers, own)] @ vector for vector, own in zip(asked, candidates, strict=True)]

    return order


def query_vectors(encoder: Encoder, queries: Iterable[Asked]) -> FloatArray:
    """Unit vectors (Q, D)."""
    return unit(encoder.encode([asked.text for asked in queries], prefix=prompt_of(encoder, QUERY_PROMPTS, None)))


def document_vectors(encoder: Encoder, texts: Sequence[str]) -> FloatArray:
    """Unit vectors (N, D)."""
    return unit(encoder.encode(texts, prefix=prompt_of(encoder, DOCUMENT_PROMPTS, None)))
