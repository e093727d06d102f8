"""Sentence vectors of all tasks from one pass over their unique texts, and what vectors are kept by.

Poolings are variants of one forward pass: `cls`, `mean`, `pooler`, `pipeline` (the vector of all modules of a
checkpoint that has more than a pooling), and each divided by its norm. An encoder that
gives one vector per text has the single variant `default`. Texts go longest first, in chunks that are kept on disk as
they are done, so that an interrupted run goes on. Nothing here knows a task's labels.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from slonik.core.array_store import ArrayStore
from slonik.core.identity import code_of
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, PoolingEncoder
from slonik.evaluation.agreement import unit
from slonik.evaluation.encodechka.tasks import MAX_LENGTH
from slonik.text.matryoshka import leading

DEFAULT = "default"
OWN = "pipeline"  # an encoder's own vector where more than a pooling makes it
LARGEST_BYTES = 6 << 30  # of all embeddings on disk; those unused for longest go first
_CHUNK_CHARACTERS = 100_000
_CHUNK_TEXTS = 1024  # encoders show a bar of their own above this
_SECONDS_BETWEEN_WRITES = 30.0


def limited(encoder: Encoder, max_length: int, *, truncate: bool = True) -> Encoder:
    """The same encoder reading `max_length` tokens, where it has such a setting; shares the weights.

    Args:
        truncate: longer texts are cut, whatever the encoder does with them otherwise.
    """
    sentence = getattr(encoder, "sentence", None)
    if sentence is None or not hasattr(sentence, "max_length"):
        return encoder
    other = copy.copy(encoder)
    other.sentence = replace(sentence, max_length=max_length)  # type: ignore[attr-defined]
    if truncate and hasattr(other, "long_texts"):
        other.long_texts = "truncate"
    return other


def weights_of(encoder: Encoder) -> str | None:
    """Hash of the weights in use, for records; None where there are none. Reads all weights: ask once."""
    own: Any = getattr(encoder, "weights_hash", None)  # of the file in use, where facts may speak of its origin
    return own() if callable(own) else encoder.describe().get("weights_hash")


def vectors_identity(encoder: Encoder, prefix: str | None, *code: str) -> dict[str, Any]:
    """What an encoder's vectors depend on besides the text: what a store of them is kept by.

    The encoder as it is (weights, config, tokenizer, sentence modules, length), the code that encodes, the prefix in
    effect, and the poolings that there are. Reads all weights.

    Args:
        code: modules that make of the encoder's vectors what is kept.
    """
    sentence: Any = getattr(encoder, "sentence", None)
    return {
        "encoder": encoder.identity(),
        "code": code_of(encoder, *code),
        "prefix": sentence.prefix(prefix) if hasattr(sentence, "prefix") else prefix,
        "poolings": list(poolings_of(encoder)),
    }


def poolings_of(encoder: Encoder) -> tuple[str, ...]:
    """Poolings that an encoder can give; the one name "default" where it gives one vector per text."""
    return tuple(encoder.poolings) if isinstance(encoder, PoolingEncoder) else (DEFAULT,)


class KeptVectors:
    """What an encoder makes of texts, each once, and what that takes.

    Args:
        encoder: what encodes.
        prefix: put before each text; None = the encoder's own default, "" = none.
        store: where vectors are kept; None: in memory, for as long as this object.

    Attributes:
        seconds: time spent encoding, disk and hashing left out.
        encoded: texts encoded by this object.
        reused: texts that the store had.
    """

    def __init__(self, encoder: Encoder, prefix: str | None, store: ArrayStore | None = None) -> None:
        self._encoder, self._prefix = encoder, prefix
        self._store = store if store is not None else ArrayStore(None, {})
        self._known: set[str] = set()
        self.seconds = 0.0
        self.encoded = self.reused = 0

    def _missing(self, texts: Iterable[str]) -> list[str]:
        """Those of `texts` that are now to be encoded, each once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        missing = self._store.missing(new)
        self._known.update(new)
        self.encoded += len(missing)
        self.reused += len(new) - len(missing)
        return missing


class SentenceVectors(KeptVectors):
    """Vectors of sentences, cut at MAX_LENGTH tokens where the encoder has such a setting, under every pooling.

    Args:
        dimensions: how many leading ones of each vector are given; None = all. Kept are whole vectors.
    """

    def __init__(
        self, encoder: Encoder, prefix: str | None, store: ArrayStore | None = None, dimensions: int | None = None
    ) -> None:
        super().__init__(limited(encoder, MAX_LENGTH), prefix, store)
        self._poolings = poolings_of(self._encoder)
        self._dimensions = dimensions
        self._normalize = bool(getattr(getattr(encoder, "sentence", None) or encoder, "normalize", False))

    @property
    def variants(self) -> tuple[str, ...]:
        """Names that `get` takes, in the order in which a draw is settled."""
        poolings = self._poolings
        return poolings if poolings == (DEFAULT,) else (*poolings, *(f"{pooling}_norm" for pooling in poolings))

    @property
    def declared(self) -> str:
        """The normalised variant of what the checkpoint itself declares: a pooling, or all its modules."""
        if self._poolings == (DEFAULT,):
            return DEFAULT
        if OWN in self._poolings:
            return f"{OWN}_norm"
        declared = getattr(getattr(self._encoder, "sentence", None), "pooling", None)
        if declared not in self._poolings:
            declared = "mean" if "mean" in self._poolings else self._poolings[0]
        return f"{declared}_norm"

    def prepare(self, texts: Iterable[str]) -> None:
        """Encode those of `texts` that are not known yet, each once."""
        if missing := self._missing(texts):
            self._encode(sorted(missing, key=len, reverse=True))

    def get(self, texts: Sequence[str], variant: str) -> FloatArray:
        """Vectors (N, D) of texts given to `prepare` before."""
        kind = variant.removesuffix("_norm")
        own = kind in (DEFAULT, OWN) and self._normalize
        vectors = leading(self._store.take(kind, texts), self._dimensions, normalize=own)
        return unit(vectors) if variant != kind else vectors

    def encode_one(self, text: str, *, every_pooling: bool) -> None:
        """Encode one text as the speed task does: every pooling variant, or the encoder's own vector."""
        if every_pooling and isinstance(self._encoder, PoolingEncoder):
            found = self._encoder.encode_poolings([text], self._poolings, prefix=self._prefix)
            for vectors in found.values():
                unit(vectors)
        else:
            self._encoder.encode([text], prefix=self._prefix)

    def _encode(self, texts: list[str]) -> None:
        unsaved: list[tuple[list[str], dict[str, FloatArray]]] = []
        saved = time.monotonic()
        with progress_bar(f"{self._encoder.name}: sentences", total=len(texts)) as bar:
            for chunk in _chunks(texts):
                start = time.perf_counter()
                unsaved.append((chunk, self._vectors(chunk)))
                self.seconds += time.perf_counter() - start
                if time.monotonic() - saved > _SECONDS_BETWEEN_WRITES:
                    self._save(unsaved)
                    saved = time.monotonic()
                bar.advance(len(chunk))
        self._save(unsaved)

    def _vectors(self, texts: list[str]) -> dict[str, FloatArray]:
        if isinstance(self._encoder, PoolingEncoder):
            return self._encoder.encode_poolings(texts, self._poolings, prefix=self._prefix)
        return {DEFAULT: self._encoder.encode(texts, prefix=self._prefix)}

    def _save(self, unsaved: list[tuple[list[str], dict[str, FloatArray]]]) -> None:
        if unsaved:
            texts = [text for chunk, _ in unsaved for text in chunk]
            self._store.add(texts, {kind: np.concatenate([f[kind] for _, f in unsaved]) for kind in self._poolings})
        unsaved.clear()


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
