"""The word tasks: words of a text, their entity labels, one vector per word, and macro F1 over labels of single words.

Words are razdel's tokens. A word's vector is the mean of the last-layer vectors of its tokens, each word being
tokenized as if a space stood before it; an encoder without token vectors encodes each word alone. Labels follow the
published code in the variant `compatible`, its faults included; `fixed` mends them.

Faults of the published code, kept in `compatible`: word 0 never gets a label; of overlapping spans the first in the
file wins, and a span that starts inside another gets its B- in mid-word; words beyond the model's length get zeros.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.array_store import ArrayStore
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, TokenEncoder, TokenVectors
from slonik.evaluation.encodechka.embeddings import KeptVectors, limited
from slonik.evaluation.encodechka.readers import Document
from slonik.evaluation.encodechka.scoring import Score, score_of
from slonik.evaluation.statistics import MacroF1

OUTSIDE = "O"
_NO_LIMIT = 1_000_000
_DOCUMENTS_AT_ONCE = 32
_SEPARATOR = "\x1f"  # between the words of a key
_WHOLE = "\x1e"  # at the end of the key of a text read in several windows

_FAULTS = {
    "compatible": "word 0 is never labelled; of overlapping spans the first in the file wins; cut words are zeros",
    "fixed": "word 0 is labelled; of overlapping spans the longest wins; long texts are read in several windows",
}

_Reader: TypeAlias = Callable[[Sequence[list[str]]], list[tuple[FloatArray, int]]]


@dataclass(frozen=True)
class Word:
    """One razdel token with its characters."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """razdel's tokens of a text."""
    import razdel

    return [Word(token.text, token.start, token.stop) for token in razdel.tokenize(text)]


def label_words(document: Document, words: Sequence[Word], variant: str) -> list[str]:
    """A label per word: "O", "B-<type>" or "I-<type>".

    Args:
        variant: "compatible" (the published rule, faults included) or "fixed".
    """
    labels = [OUTSIDE] * len(words)
    of_character = np.full(len(document.text) + 1, -1)
    for index, word in enumerate(words):
        of_character[word.start : word.end] = index
    spans = list(document.entities)
    if variant != "compatible":
        spans.sort(key=lambda span: (span[1] - span[2], span[1]))  # the longest first
    for kind, start, end in spans:
        touched = [int(index) for index in dict.fromkeys(of_character[start:end].tolist()) if index >= 0]
        if variant == "compatible":
            touched = [index for index in touched if index != 0 and labels[index] == OUTSIDE]
        elif any(labels[index] != OUTSIDE for index in touched):
            continue
        for place, index in enumerate(touched):
            labels[index] = ("I-" if place else "B-") + kind
    return labels


class WordVectors(KeptVectors):
    """Vectors of the words of texts; every window of a text is read once, whoever asks for it."""

    def __init__(self, encoder: Encoder, prefix: str, store: ArrayStore | None = None) -> None:
        super().__init__(longest(encoder), prefix, store)

    def get(self, documents: Sequence[Sequence[str]], *, whole: bool) -> list[FloatArray]:
        """One (W, D) array per document of W words; a word without tokens is a row of zeros.

        Args:
            whole: read texts longer than the model in several windows; False cuts them: cut words are zeros.
        """
        keys = [_SEPARATOR.join(words) for words in documents]
        words_of = {key: list(words) for key, words in zip(keys, documents, strict=True)}
        self._read(words_of, self._first_windows)
        if not whole:
            return [self._found(key)[0] for key in keys]
        cut = {key + _WHOLE: words for key, words in words_of.items() if self._found(key)[1] < len(words)}
        self._read(cut, self._further_windows)
        return [self._found(key + _WHOLE if key + _WHOLE in cut else key)[0] for key in keys]

    def _found(self, key: str) -> tuple[FloatArray, int]:
        """Vectors of a text's words, and how many words were read whole."""
        found = self._store.find(key)
        assert found is not None, "every text is read before it is asked for"
        return found["words"], int(found["read"].sum())

    def _read(self, documents: dict[str, list[str]], read: _Reader) -> None:
        """Make `documents` known, from the store or by `read`."""
        missing = self._missing(documents)
        results: list[tuple[FloatArray, int]] = []
        with progress_bar(f"{self._encoder.name}: words", total=len(missing)) as bar:
            for start in range(0, len(missing), _DOCUMENTS_AT_ONCE):
                chosen = missing[start : start + _DOCUMENTS_AT_ONCE]
                began = time.perf_counter()
                results += read([documents[key] for key in chosen])
                self.seconds += time.perf_counter() - began
                bar.advance(len(chosen))
        if missing:
            marks = [(np.arange(len(vectors)) < done)[:, None].astype(np.float32) for vectors, done in results]
            kinds = {"words": np.concatenate([vectors for vectors, _ in results]), "read": np.concatenate(marks)}
            self._store.add(missing, kinds, [len(vectors) for vectors, _ in results])

    def _first_windows(self, documents: Sequence[list[str]]) -> list[tuple[FloatArray, int]]:
        """Vectors of the words within the model's length, and how many words were read whole."""
        if not isinstance(self._encoder, TokenEncoder):
            return self._encode_alone(documents)
        read = self._encoder.encode_tokens([" ".join(words) for words in documents], prefix=self._prefix or "")
        return [word_means(words, tokens) for words, tokens in zip(documents, read, strict=True)]

    def _further_windows(self, documents: Sequence[list[str]]) -> list[tuple[FloatArray, int]]:
        """Vectors of all words, the first window being known."""
        found = [self._found(_SEPARATOR.join(words)) for words in documents]
        results = [np.array(vectors) for vectors, _ in found]
        starts = [done for _, done in found]
        while waiting := [index for index, words in enumerate(documents) if starts[index] < len(words)]:
            rest = [documents[index][starts[index] :] for index in waiting]
            for index, (vectors, done) in zip(waiting, self._first_windows(rest), strict=True):
                results[index][starts[index] : starts[index] + done] = vectors[:done]
                starts[index] += done
        return [(vectors, len(vectors)) for vectors in results]

    def _encode_alone(self, documents: Sequence[Sequence[str]]) -> list[tuple[FloatArray, int]]:
        unique = list(dict.fromkeys(word for words in documents for word in words))
        rows = {word: row for row, word in enumerate(unique)}
        empty = np.zeros((0, getattr(self._encoder, "hidden_size", self._encoder.dimension)), dtype=np.float32)
        table = self._encoder.encode(unique, prefix=self._prefix) if unique else empty
        return [(table[[rows[word] for word in words]] if words else empty, len(words)) for words in documents]


def word_means(words: Sequence[str], tokens: TokenVectors) -> tuple[FloatArray, int]:
    """Mean vector of each word's tokens, and how many words were read whole.

    Args:
        words: the words that were joined by single spaces.
        tokens: those of the joined text; they may end early where the text was cut.

    Returns:
        Vectors (W, D), zeros for a word without tokens, and the number of words that need no further window.
    """
    if not words:
        return np.zeros((0, tokens.vectors.shape[1]), dtype=np.float32), 0
    lengths = np.array([len(word) for word in words])
    starts = np.cumsum(lengths + 1) - lengths - 1
    kept = ~tokens.special
    vectors, offsets = tokens.vectors[kept], tokens.offsets[kept]
    sums = np.zeros((len(words), tokens.vectors.shape[1]), dtype=np.float32)
    if len(vectors) == 0:
        return sums, len(words)  # nothing but characters that the tokenizer drops
    owner: NDArray[np.intp] = np.searchsorted(starts, offsets[:, 0], side="right") - 1
    np.add.at(sums, owner, vectors)
    counts = np.bincount(owner, minlength=len(words))
    sums /= np.maximum(counts, 1)[:, None].astype(np.float32)
    last = int(owner.max())
    cut = offsets[:, 1].max() < starts[last] + lengths[last]
    return sums, max(1, last if cut else last + 1)


def longest(encoder: Encoder) -> Encoder:
    """The same encoder reading as many tokens as its tokenizer says, whatever is usual for its sentences."""
    usual = getattr(getattr(encoder, "sentence", None), "max_length", 0)
    limit = _tokenizer_limit(getattr(encoder, "source", None)) or max(512, usual)
    return limited(encoder, min(limit, _NO_LIMIT), truncate=False)


def _tokenizer_limit(folder: Path | None) -> int | None:
    """`model_max_length` of a checkpoint's tokenizer, which is what the published code cuts at."""
    path = Path(folder) / "tokenizer_config.json" if folder is not None else None
    if path is None or not path.is_file():
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return int(content["model_max_length"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def score_words(documents: Sequence[Document], vectors: WordVectors, variant: str) -> Score:
    """Macro F1 over the labels that occur in the test half, the outside label left out.

    Half of the texts train a linear classifier on word vectors, the other half test it. The classifier is the
    published one to the letter, random order included: scikit-learn's SGD with log-loss, seed 1. Its result hangs on
    that order, so nothing faster could stand in for it; classes are trained on several threads, which changes nothing.
    The interval resamples documents, not words.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import train_test_split

    words = [split_words(document.text) for document in documents]
    features = vectors.get([[word.text for word in row] for row in words], whole=variant == "fixed")
    start = time.perf_counter()
    labels = [np.asarray(label_words(*pair, variant)) for pair in zip(documents, words, strict=True)]
    train, test = train_test_split(range(len(documents)), test_size=0.5, random_state=1)
    train_labels = np.concatenate([labels[index] for index in train])
    threads = max(1, os.cpu_count() or 1)
    classifier = SGDClassifier(loss="log_loss", random_state=1, tol=1e-4, n_jobs=threads)
    classifier.fit(_stacked([features[index] for index in train]), train_labels)
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


def _stacked(features: Sequence[FloatArray]) -> NDArray[np.floating[Any]]:
    """All words' vectors; in double precision once there is a word of zeros, as in the published code."""
    table = np.concatenate(features)
    return table.astype(np.float64) if not table.any(axis=1).all() else table
