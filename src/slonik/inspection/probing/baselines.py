"""What a probing task gives away without any model: its majority class, lengths, TF-IDF counts, mean word vectors.

Features of RuSentEval's own baselines (character count; TF-IDF of words, of characters 1-4, of BPE tokens; mean static
word vectors), each with a logistic regression whose penalty is chosen on validation. Changed: a term counts from its
second sentence on (the original asks for a tenth of all sentences, which leaves function words only), BPE is trained on
the task's own training sentences, and word vectors are navec's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.protocols import Encoder
from slonik.inspection.probing.probes import Correct, Features, LogisticProbe, scale
from slonik.inspection.probing.tasks import TaskData

_SPARSE_PENALTIES = (1.0, 10.0, 100.0)
_MOST_TERMS = 20_000
_BPE_VOCABULARY = 4000
_MANY_CLASSES = 20  # beyond, one against all the rest: a joint fit takes minutes, and at a loose tolerance does nothing


def majority(data: TaskData) -> Correct:
    """Always the commonest training label (the first of equals)."""
    labels, counts = np.unique(data.train.labels, return_counts=True)
    found: Correct = data.test.labels == labels[counts.argmax()]
    return found


def length(data: TaskData) -> Correct:
    """Numbers of characters, of words and of characters per word, and their logarithms."""

    def features(texts: Sequence[str]) -> NDArray[np.float32]:
        characters = np.array([len(text) for text in texts], dtype=np.float64)
        words = np.array([max(1, len(text.split())) for text in texts], dtype=np.float64)
        table = np.stack([characters, words, characters / words], axis=1)
        return np.concatenate([table, np.log(table)], axis=1).astype(np.float32)

    parts = [features(split.texts) for split in (data.train, data.validation, data.test)]
    mean, spread = parts[0].mean(0), parts[0].std(0) + 1e-6
    return _dense(data, *((part - mean) / spread for part in parts))


def tfidf_words(data: TaskData) -> Correct:
    """TF-IDF of words split at spaces."""
    return _tfidf(data, tokenizer=str.split)


def tfidf_chars(data: TaskData) -> Correct:
    """TF-IDF of character n-grams, 1 to 4."""
    return _tfidf(data, analyzer="char", ngram_range=(1, 4))


def tfidf_bpe(data: TaskData) -> Correct:
    """TF-IDF of byte-level BPE tokens and their n-grams, 1 to 4."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_BPE_VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(data.train.texts, trainer)

    def tokens(text: str) -> list[str]:
        return list(bpe.encode(text).tokens)

    return _tfidf(data, tokenizer=tokens, ngram_range=(1, 4))


def mean_vectors(encoder: Encoder) -> Callable[[TaskData], Correct]:
    """A baseline of one static vector per text, for example the encoder of `open_encoder("navec")`."""

    def baseline(data: TaskData) -> Correct:
        return _dense(data, *(encoder.encode(split.texts) for split in (data.train, data.validation, data.test)))

    return baseline


_OWN: dict[str, Callable[[TaskData], Correct]] = {
    "majority": majority,
    "length": length,
    "tfidf_words": tfidf_words,
    "tfidf_chars": tfidf_chars,
    "tfidf_bpe": tfidf_bpe,
}
NAMES = (*_OWN, "navec")


def available() -> dict[str, Callable[[TaskData], Correct]]:
    """Name -> baseline; `navec` only where its package is installed."""
    from slonik.models.opening import open_encoder

    try:
        return _OWN | {"navec": mean_vectors(open_encoder("navec"))}
    except SlonikError:
        return dict(_OWN)


def _dense(data: TaskData, *parts: NDArray[np.float32]) -> Correct:
    features: Features = scale(*(np.asarray(part, dtype=np.float32) for part in parts))
    return LogisticProbe(features).fit(data, (1e-2, 1e-1, 1.0, 10.0, 100.0)).test


def _tfidf(data: TaskData, **options: Any) -> Correct:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
    except ModuleNotFoundError:
        raise MissingExtra("the TF-IDF baselines", "evaluate", "scikit-learn") from None
    if "tokenizer" in options:
        options["token_pattern"] = None
    vectorizer = TfidfVectorizer(lowercase=False, min_df=2, max_features=_MOST_TERMS, **options)
    try:
        train = vectorizer.fit_transform(data.train.texts)
    except ValueError:  # no term is in two sentences
        return majority(data)
    held, test = (vectorizer.transform(split.texts) for split in (data.validation, data.test))
    best: tuple[float, Any] = (-1.0, None)
    for c in _SPARSE_PENALTIES:
        if len(data.classes) > _MANY_CLASSES:
            model = OneVsRestClassifier(LogisticRegression(C=c, solver="liblinear"))
        else:
            model = LogisticRegression(C=c, max_iter=300)
        accuracy = float((model.fit(train, data.train.labels).predict(held) == data.validation.labels).mean())
        if accuracy > best[0]:
            best = (accuracy, model)
    found: Correct = best[1].predict(test) == data.test.labels
    return found
