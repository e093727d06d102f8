"""Sentence vectors of all tasks from one pass over their unique texts.

Poolings are variants of one forward pass: `cls`, `mean`, `pooler`, and each divided by its norm. An encoder that
gives one vector per text has the single variant `default`. Texts go longest first, in chunks that are saved to the
cache as they are done, so that an interrupted run goes on. Nothing here knows a task's labels.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slonik.core.hashing import sha256_bytes
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, PoolingEncoder
from slonik.evaluation.encodechka.cache import EmbeddingCache
from slonik.evaluation.encodechka.tasks import MAX_LENGTH

DEFAULT = "default"
_CHUNK_CHARACTERS = 100_000
_CHUNK_TEXTS = 1024  # encoders show a bar of their own above this
_SECONDS_BETWEEN_SHARDS = 30.0


def limited(encoder: Encoder, max_length: int) -> Encoder:
    """The same encoder with texts cut at `max_length` tokens, where it has such a setting; shares the weights."""
    sentence = getattr(encoder, "sentence", None)
    if sentence is None or not hasattr(sentence, "max_length"):
        return encoder
    other = copy.copy(encoder)
    other.sentence = sentence.model_copy(update={"max_length": max_length})  # type: ignore[attr-defined]
    if hasattr(other, "long_texts"):
        other.long_texts = "truncate"
    return other


def content_hashes(encoder: Encoder) -> dict[str, str | None]:
    """Hashes of weights and tokenizer; None for what has neither. Reads all weights: ask once."""
    tokenizer: Any = getattr(encoder, "tokenizer", None)
    facts = encoder.describe()
    own: Any = getattr(encoder, "weights_hash", None)  # of the file in use, where facts may speak of its origin
    return {
        "weights": own() if callable(own) else facts.get("weights_hash"),
        "tokenizer": sha256_bytes(tokenizer.to_str().encode()) if hasattr(tokenizer, "to_str") else None,
        "dtype": str(facts.get("dtype")),
    }


def identity(encoder: Encoder, hashes: Mapping[str, str | None], prefix: str | None, **more: Any) -> dict[str, Any]:
    """What the encoder's vectors depend on besides the text: a cache's name."""
    sentence: Any = getattr(encoder, "sentence", None)
    return {
        **hashes,
        "kind": type(encoder).__name__,
        "prefix": sentence.prefix(prefix) if hasattr(sentence, "prefix") else prefix,
        "max_length": getattr(sentence, "max_length", None),
        **more,
    }


class SentenceVectors:
    """Vectors of sentences under every pooling variant.

    Args:
        encoder: what encodes; sentences are cut at MAX_LENGTH tokens where the encoder has such a setting.
        prefix: put before each text; None = the encoder's own default, "" = none.
        cache: vectors of earlier runs; None keeps nothing.

    Attributes:
        seconds: time spent encoding, disk and hashing left out.
        encoded: texts encoded by this object.
        reused: texts that the cache had.
    """

    def __init__(self, encoder: Encoder, prefix: str | None, cache: EmbeddingCache | None = None) -> None:
        self._encoder = limited(encoder, MAX_LENGTH)
        self._prefix = prefix
        self._cache = cache
        self._rows: dict[str, int] = {}
        self._kinds: dict[str, list[FloatArray]] = {kind: [] for kind in self._poolings}
        self._tables: dict[str, FloatArray] = {}
        self.seconds = 0.0
        self.encoded = 0
        self.reused = 0

    @property
    def _poolings(self) -> tuple[str, ...]:
        return tuple(self._encoder.poolings) if isinstance(self._encoder, PoolingEncoder) else (DEFAULT,)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names that `get` takes, in the order in which a draw is settled."""
        poolings = self._poolings
        return poolings if poolings == (DEFAULT,) else (*poolings, *(f"{pooling}_norm" for pooling in poolings))

    @property
    def declared(self) -> str:
        """The normalised variant of the pooling that the checkpoint itself declares."""
        if self._poolings == (DEFAULT,):
            return DEFAULT
        declared = getattr(getattr(self._encoder, "sentence", None), "pooling", None)
        if declared not in self._poolings:
            declared = "mean" if "mean" in self._poolings else self._poolings[0]
        return f"{declared}_norm"

    def prepare(self, texts: Iterable[str]) -> None:
        """Encode those of `texts` that are not known yet, each once."""
        missing = []
        for text in dict.fromkeys(texts):
            if text in self._rows:
                continue
            known = self._cache.find(text) if self._cache is not None else None
            if known is None or set(known) != set(self._poolings):
                missing.append(text)
            else:
                self._store([text], known)
                self.reused += 1
        if missing:
            self._encode(sorted(missing, key=len, reverse=True))
            self.encoded += len(missing)

    def get(self, texts: Sequence[str], variant: str) -> FloatArray:
        """Vectors (N, D) of texts given to `prepare` before."""
        kind = variant.removesuffix("_norm")
        if kind not in self._tables:
            self._tables[kind] = np.concatenate(self._kinds[kind])
        vectors = self._tables[kind][[self._rows[text] for text in texts]]
        return normalised(vectors) if variant != kind else vectors

    def encode_one(self, text: str, *, every_pooling: bool) -> None:
        """Encode one text as the speed task does: every pooling variant, or the encoder's own vector."""
        if every_pooling and isinstance(self._encoder, PoolingEncoder):
            found = self._encoder.encode_poolings([text], self._poolings, prefix=self._prefix)
            for vectors in found.values():
                normalised(vectors)
        else:
            self._encoder.encode([text], prefix=self._prefix)

    def _encode(self, texts: list[str]) -> None:
        unsaved: list[tuple[list[str], dict[str, FloatArray]]] = []
        saved = time.monotonic()
        with progress_bar(f"{self._encoder.name}: sentences", total=len(texts)) as bar:
            for chunk in _chunks(texts):
                start = time.perf_counter()
                found = self._vectors(chunk)
                self.seconds += time.perf_counter() - start
                self._store(chunk, found)
                unsaved.append((chunk, found))
                if time.monotonic() - saved > _SECONDS_BETWEEN_SHARDS:
                    self._save(unsaved)
                    saved = time.monotonic()
                bar.advance(len(chunk))
        self._save(unsaved)

    def _vectors(self, texts: list[str]) -> dict[str, FloatArray]:
        if isinstance(self._encoder, PoolingEncoder):
            return self._encoder.encode_poolings(texts, self._poolings, prefix=self._prefix)
        return {DEFAULT: self._encoder.encode(texts, prefix=self._prefix)}

    def _store(self, texts: Sequence[str], kinds: dict[str, FloatArray]) -> None:
        for text in texts:
            self._rows[text] = len(self._rows)
        for kind, vectors in kinds.items():
            self._kinds[kind].append(vectors)
            self._tables.pop(kind, None)

    def _save(self, unsaved: list[tuple[list[str], dict[str, FloatArray]]]) -> None:
        if self._cache is not None and unsaved:
            texts = [text for chunk, _ in unsaved for text in chunk]
            kinds = {kind: np.concatenate([found[kind] for _, found in unsaved]) for kind in self._poolings}
            self._cache.add(texts, [1] * len(texts), kinds)
        unsaved.clear()


def normalised(vectors: FloatArray) -> FloatArray:
    """Rows divided by their L2 norm; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _chunks(texts: list[str]) -> Iterable[list[str]]:
    """Consecutive texts, limited in number and in characters."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        if chunk and (size + len(text) > _CHUNK_CHARACTERS or len(chunk) == _CHUNK_TEXTS):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text)
    if chunk:
        yield chunk
