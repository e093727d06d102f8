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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, TokenEncoder, TokenVectors
from slonik.evaluate.encodechka.cache import EmbeddingCache
from slonik.evaluate.encodechka.readers import Document

OUTSIDE = "O"
_NO_LIMIT = 1_000_000
_DOCUMENTS_AT_ONCE = 32


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
    """Vectors of the words of texts.

    Args:
        encoder: what encodes.
        prefix: put before each text; "" by default in the word tasks.
        whole: read texts longer than the model in several windows; False cuts them, and cut words are zeros.
        cache: vectors of earlier runs.

    Attributes:
        seconds: time spent encoding.
        encoded, reused: documents encoded, and found in the cache.
    """

    def __init__(self, encoder: Encoder, prefix: str, *, whole: bool, cache: EmbeddingCache | None = None) -> None:
        self._encoder = longest(encoder)
        self._prefix = prefix
        self._whole = whole
        self._cache = cache
        self.seconds = 0.0
        self.encoded = 0
        self.reused = 0

    def get(self, documents: Sequence[Sequence[str]]) -> list[FloatArray]:
        """One (W, D) array per document of W words; a word without pieces is a row of zeros."""
        keys = ["\x1f".join(words) for words in documents]
        found: list[FloatArray | None] = [None] * len(documents)
        for index, key in enumerate(keys):
            known = self._cache.find(key) if self._cache is not None else None
            found[index] = known["words"] if known is not None else None
        missing = [index for index, vectors in enumerate(found) if vectors is None]
        self.reused += len(documents) - len(missing)
        self.encoded += len(missing)
        with progress_bar(f"{self._encoder.name}: words", total=len(missing)) as bar:
            for start in range(0, len(missing), _DOCUMENTS_AT_ONCE):
                chosen = missing[start : start + _DOCUMENTS_AT_ONCE]
                began = time.perf_counter()
                vectors = self._encode([documents[index] for index in chosen])
                self.seconds += time.perf_counter() - began
                for place, index in enumerate(chosen):
                    found[index] = vectors[place]
                bar.advance(len(chosen))
        if self._cache is not None and missing:
            matrices = [matrix for index in missing if (matrix := found[index]) is not None]
            lengths = [len(matrix) for matrix in matrices]
            self._cache.add([keys[index] for index in missing], lengths, {"words": np.concatenate(matrices)})
        return [vectors for vectors in found if vectors is not None]

    def _encode(self, documents: Sequence[Sequence[str]]) -> list[FloatArray]:
        if not isinstance(self._encoder, TokenEncoder):
            return self._encode_alone(documents)
        results = [np.zeros((len(words), self._encoder.dimension), dtype=np.float32) for words in documents]
        waiting = [(index, 0) for index, words in enumerate(documents) if words]
        while waiting:
            texts = [" ".join(documents[index][start:]) for index, start in waiting]
            read = self._encoder.encode_tokens(texts, prefix=self._prefix)
            left = []
            for (index, start), tokens in zip(waiting, read, strict=True):
                vectors, done = word_means(documents[index][start:], tokens)
                done = done if self._whole else len(vectors)
                results[index][start : start + done] = vectors[:done]
                if start + done < len(documents[index]):
                    left.append((index, start + done))
            waiting = left
        return results

    def _encode_alone(self, documents: Sequence[Sequence[str]]) -> list[FloatArray]:
        unique = list(dict.fromkeys(word for words in documents for word in words))
        if not unique:
            return [np.zeros((0, self._encoder.dimension), dtype=np.float32) for _ in documents]
        rows = {word: row for row, word in enumerate(unique)}
        table = self._encoder.encode(unique, prefix=self._prefix)
        return [table[[rows[word] for word in words]] for words in documents]


def word_means(words: Sequence[str], tokens: TokenVectors) -> tuple[FloatArray, int]:
    """Mean vector of each word's pieces, and how many words were read whole.

    Args:
        words: the words that were joined by single spaces.
        tokens: the pieces of the joined text; they may end early where the text was cut.

    Returns:
        Vectors (W, D), zeros for a word without pieces, and the number of words that need no further window.
    """
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
