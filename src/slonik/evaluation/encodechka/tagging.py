"""Scores of the word tasks: macro F1 over entity labels of single words.

Half of the texts train a linear classifier on word vectors, the other half test it. The classifier is the published
one to the letter, random order included: scikit-learn's SGD with log-loss, seed 1. Its figure hangs on that order,
so nothing faster could stand in for it; classes are learnt on several threads, which changes nothing. The interval
resamples documents, not words.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.protocols import FloatArray
from slonik.evaluation.encodechka.readers import Document
from slonik.evaluation.encodechka.score import Score, score_of
from slonik.evaluation.encodechka.words import OUTSIDE, WordVectors, label_words, split_words
from slonik.evaluation.statistics import MacroF1

_FAULTS = {
    "compatible": "word 0 is never labelled; of overlapping spans the first in the file wins; cut words are zeros",
    "fixed": "word 0 is labelled; of overlapping spans the longest wins; long texts are read in several windows",
}


def score_words(documents: Sequence[Document], vectors: WordVectors, variant: str) -> Score:
    """Macro F1 over the labels that occur in the test half, the outside label left out."""
    from sklearn.model_selection import train_test_split

    words = [split_words(document.text) for document in documents]
    features = vectors.get([[word.text for word in row] for row in words], whole=variant == "fixed")
    start = time.perf_counter()
    labels = [np.asarray(label_words(*pair, variant)) for pair in zip(documents, words, strict=True)]
    train, test = train_test_split(range(len(documents)), test_size=0.5, random_state=1)
    train_labels = np.concatenate([labels[index] for index in train])
    classifier = _classifier().fit(_stacked([features[index] for index in train]), train_labels)
    predicted = classifier.predict(_stacked([features[index] for index in test]))
    gold = np.concatenate([labels[index] for index in test])
    names = sorted(set(gold.tolist()) - {OUTSIDE})
    if variant == "fixed":
        names = [name for name in names if name in set(train_labels.tolist())]
    tallies = tally(gold, predicted, [len(labels[index]) for index in test], names)
    f1 = per_label_f1(tallies, names)
    detail = {"classifier": "sgd", "labels": f1, "rule": _FAULTS[variant], "words": len(gold)}
    return score_of(MacroF1(tallies), time.perf_counter() - start, **detail)


def tally(
    gold: NDArray[np.str_], predicted: NDArray[np.str_], lengths: Sequence[int], names: Sequence[str]
) -> NDArray[np.float64]:
    """Per document: true positives, false positives, false negatives of each label; (documents, 3, labels)."""
    tallies = np.zeros((len(lengths), 3, len(names)))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for column, name in enumerate(names):
        is_gold, is_predicted = gold == name, predicted == name
        cases = (is_gold & is_predicted, ~is_gold & is_predicted, is_gold & ~is_predicted)
        for row, case in enumerate(cases):
            tallies[:, row, column] = np.bincount(owner[case], minlength=len(lengths))
    return tallies


def per_label_f1(tallies: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    """F1 of each label over all documents."""
    hits, wrong, missed = tallies.sum(axis=0)
    whole = np.maximum(2 * hits + wrong + missed, 1)
    return {name: round(float(value), 6) for name, value in zip(names, 2 * hits / whole, strict=True)}


def _classifier() -> Any:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", random_state=1, tol=1e-4, n_jobs=max(1, (os.cpu_count() or 1)))


def _stacked(features: Sequence[FloatArray]) -> NDArray[np.floating[Any]]:
    """All words' vectors; in double precision once there is a word of zeros, as in the published code."""
    table = np.concatenate(features)
    return table.astype(np.float64) if not table.any(axis=1).all() else table
