"""Words of a text, their entity labels, and one vector per word.

Words are razdel's tokens. A word's vector is the mean of the last-layer vectors of its pieces, each word being
tokenized as if a space stood before it; an encoder without token vectors encodes each word alone. Labels follow the
published code in the variant `compatible`, its faults included; `fixed` mends them. No classifier lives here.

Faults of the published code, kept in `compatible`: word 0 never gets a label; of overlapping spans the first in the
file wins, and a span that starts inside another gets its B- in mid-word; words beyond the model's length get zeros.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, TokenEncoder, TokenVectors
from slonik.evaluation.encodechka.cache import EmbeddingCache
from slonik.evaluation.encodechka.readers import Document

OUTSIDE = "O"
_NO_LIMIT = 1_000_000
_DOCUMENTS_AT_ONCE = 32
_SEPARATOR = "\x1f"  # between the words of a cache key
_WHOLE = "\x1e"  # at the end of the key of a text read in several windows

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
    spans = document.entities if variant == "compatible" else sorted(document.entities, key=_longest_first)
    for kind, start, end in spans:
        touched = [int(index) for index in dict.fromkeys(of_character[start:end].tolist()) if index >= 0]
        if variant == "compatible":
            touched = [index for index in touched if index != 0 and labels[index] == OUTSIDE]
        elif any(labels[index] != OUTSIDE for index in touched):
            continue
        for place, index in enumerate(touched):
            labels[index] = ("I-" if place else "B-") + kind
    return labels


def _longest_first(span: tuple[str, int, int]) -> tuple[int, int]:
    return span[1] - span[2], span[1]


class WordVectors:
    """Vectors of the words of texts; every window of a text is read once, whoever asks for it.

    Args:
        encoder: what encodes.
        prefix: put before each text; "" by default in the word tasks.
        cache: vectors of earlier runs.

    Attributes:
        seconds: time spent encoding.
        encoded, reused: documents encoded, and found in the cache.
    """

    def __init__(self, encoder: Encoder, prefix: str, cache: EmbeddingCache | None = None) -> None:
        self._encoder = longest(encoder)
        self._prefix = prefix
        self._cache = cache
        self._known: dict[str, tuple[FloatArray, int]] = {}
        self.seconds = 0.0
        self.encoded = 0
        self.reused = 0

    def get(self, documents: Sequence[Sequence[str]], *, whole: bool) -> list[FloatArray]:
        """One (W, D) array per document of W words; a word without pieces is a row of zeros.

        Args:
            whole: read texts longer than the model in several windows; False cuts them: cut words are zeros.
        """
        keys = [_SEPARATOR.join(words) for words in documents]
        words_of = {key: list(words) for key, words in zip(keys, documents, strict=True)}
        self._learn(words_of, self._first_windows)
        if not whole:
            return [self._known[key][0] for key in keys]
        cut = {key + _WHOLE: words for key, words in words_of.items() if self._known[key][1] < len(words)}
        self._learn(cut, self._further_windows)
        return [self._known.get(key + _WHOLE, self._known[key])[0] for key in keys]

    def _learn(self, documents: dict[str, list[str]], read: _Reader) -> None:
        """Make `documents` known, from the cache or by `read`."""
        missing = []
        for key in documents:
            if key in self._known:
                continue
            found = self._cache.find(key) if self._cache is not None else None
            if found is None:
                missing.append(key)
            else:
                self._known[key] = found["words"], int(found["read"].sum())
                self.reused += 1
        with progress_bar(f"{self._encoder.name}: words", total=len(missing)) as bar:
            for start in range(0, len(missing), _DOCUMENTS_AT_ONCE):
                chosen = missing[start : start + _DOCUMENTS_AT_ONCE]
                began = time.perf_counter()
                self._known |= dict(zip(chosen, read([documents[key] for key in chosen]), strict=True))
                self.seconds += time.perf_counter() - began
                bar.advance(len(chosen))
        self.encoded += len(missing)
        if self._cache is not None and missing:
            self._save(self._cache, missing)

    def _save(self, cache: EmbeddingCache, keys: Sequence[str]) -> None:
        found = [self._known[key] for key in keys]
        read = [(np.arange(len(vectors)) < done)[:, None] for vectors, done in found]
        kinds = {"words": np.concatenate([vectors for vectors, _ in found])}
        kinds["read"] = np.concatenate(read).astype(np.float32)
        cache.add(keys, [len(vectors) for vectors, _ in found], kinds)

    def _first_windows(self, documents: Sequence[list[str]]) -> list[tuple[FloatArray, int]]:
        """Vectors of the words within the model's length, and how many words were read whole."""
        if not isinstance(self._encoder, TokenEncoder):
            return self._encode_alone(documents)
        read = self._encoder.encode_tokens([" ".join(words) for words in documents], prefix=self._prefix)
        return [word_means(words, tokens) for words, tokens in zip(documents, read, strict=True)]

    def _further_windows(self, documents: Sequence[list[str]]) -> list[tuple[FloatArray, int]]:
        """Vectors of all words, the first window being known."""
        found = [self._known[_SEPARATOR.join(words)] for words in documents]
        results = [vectors.copy() for vectors, _ in found]
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
        empty = np.zeros((0, self._encoder.dimension), dtype=np.float32)
        table = self._encoder.encode(unique, prefix=self._prefix) if unique else empty
        return [(table[[rows[word] for word in words]] if words else empty, len(words)) for words in documents]


def word_means(words: Sequence[str], tokens: TokenVectors) -> tuple[FloatArray, int]:
    """Mean vector of each word's pieces, and how many words were read whole.

    Args:
        words: the words that were joined by single spaces.
        tokens: the pieces of the joined text; they may end early where the text was cut.

    Returns:
        Vectors (W, D), zeros for a word without pieces, and the number of words that need no further window.
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
    pieces = np.bincount(owner, minlength=len(words))
    sums /= np.maximum(pieces, 1)[:, None].astype(np.float32)
    last = int(owner.max())
    cut = offsets[:, 1].max() < starts[last] + lengths[last]
    return sums, max(1, last if cut else last + 1)


def longest(encoder: Encoder) -> Encoder:
    """The same encoder reading as many tokens as its tokenizer says, whatever is usual for its sentences."""
    sentence = getattr(encoder, "sentence", None)
    if sentence is None or not hasattr(sentence, "max_length"):
        return encoder
    other = copy.copy(encoder)
    limit = _tokenizer_limit(getattr(encoder, "source", None)) or max(512, sentence.max_length)
    other.sentence = sentence.model_copy(update={"max_length": min(limit, _NO_LIMIT)})  # type: ignore[attr-defined]
    return other


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
