"""Scores of the pair tasks: similarity (STS), paraphrases (PI), inference (NLI).

`compatible`: the dot product of raw or normalised vectors, under every pooling, and the maximum over them on the
test set. `fixed`: the cosine under the pooling that the checkpoint declares; no choice is made on the test set. NLI
fits a classifier on that single number, in three folds of the test file, as published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.evaluation.encodechka.embeddings import SentenceVectors, normalised
from slonik.evaluation.encodechka.readers import Pairs
from slonik.evaluation.encodechka.score import Score, best, rounded, score_of
from slonik.evaluation.statistics import Mean, Spearman, Statistic, value_of

_Judge: TypeAlias = Callable[[NDArray[np.float32]], Statistic]
_SELECTED_ON = {"compatible": "test", "fixed": "nothing: the pooling is the checkpoint's own"}


def score_correlation(
    pairs: Pairs, targets: Sequence[float], vectors: SentenceVectors, variants: Sequence[str]
) -> dict[str, Score]:
    """Spearman's correlation of similarity and target, per variant of the protocol."""
    return _score(pairs, vectors, variants, lambda products: Spearman(targets, products))


def score_inference(pairs: Pairs, vectors: SentenceVectors, variants: Sequence[str]) -> dict[str, Score]:
    """Accuracy of the relation predicted from similarity alone, per variant of the protocol."""
    labels = np.asarray(pairs.targets)
    return _score(pairs, vectors, variants, lambda products: Mean(_cross_predicted(products, labels) == labels))


def _score(pairs: Pairs, vectors: SentenceVectors, variants: Sequence[str], judge: _Judge) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for variant in variants:
        start = time.perf_counter()
        if variant == "compatible":
            judged = {name: judge(products(pairs, vectors, name)) for name in vectors.variants}
        else:
            judged = {vectors.declared: judge(products(pairs, vectors, vectors.declared, cosine=True))}
        figures = {name: value_of(statistic) for name, statistic in judged.items()}
        winner = best(figures)
        detail = {"pooling": winner, "poolings": rounded(figures), "selected_on": _SELECTED_ON[variant]}
        scores[variant] = score_of(judged[winner], time.perf_counter() - start, **detail)
    return scores


def products(pairs: Pairs, vectors: SentenceVectors, variant: str, *, cosine: bool = False) -> NDArray[np.float32]:
    """Dot product of each pair's vectors (N,), or their cosine."""
    first, second = vectors.get(pairs.first, variant), vectors.get(pairs.second, variant)
    if cosine:
        first, second = normalised(first), normalised(second)
    return np.asarray(np.sum(first * second, axis=1), dtype=np.float32)


def _cross_predicted(values: NDArray[np.float32], labels: NDArray[np.str_]) -> NDArray[np.str_]:
    """Label of each pair, predicted by a classifier fitted on the two other folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(n_splits=3, shuffle=True, random_state=1)
    classifier = LogisticRegression(max_iter=10_000)  # one feature: nothing to gain from a faster one
    return np.asarray(cross_val_predict(classifier, values[:, None], labels, cv=folds))
