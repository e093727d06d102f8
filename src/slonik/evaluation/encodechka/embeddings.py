"""Sentence vectors of all tasks from one pass over their unique texts.

Poolings are variants of one forward pass: `cls`, `mean`, `pooler`, and each divided by its norm. An encoder that
gives one vector per text has the single variant `default`. Texts go longest first, in chunks that are saved to the
cache as they are done, so that an interrupted run goes on. Nothing here knows a task's labels.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import shutil
import time
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes, write_json
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, PoolingEncoder
from slonik.evaluation.agreement import unit
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
    other.sentence = replace(sentence, max_length=max_length)  # type: ignore[attr-defined]
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


FORMAT = 1
LARGEST_BYTES = 6 << 30
_KEY_BYTES = 16


def text_key(text: str) -> bytes:
    """What a text is filed under."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES]


class EmbeddingCache:
    """Vectors of texts under one identity.

    Args:
        root: the folder of all identities.
        identity: what the vectors depend on besides the text; JSON values only.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self._root = root
        self._folder = root / sha256_json({"format": FORMAT, **identity})[:32]
        self._identity = dict(identity)
        self._shards: list[dict[str, FloatArray]] = []
        self._places: dict[bytes, tuple[int, int, int]] = {}
        if self._folder.is_dir():
            os.utime(self._folder)  # in use: the last to be dropped
            for path in sorted(self._folder.glob("*.npz")):
                self._read(path)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, text: str) -> bool:
        return text_key(text) in self._places

    def find(self, text: str) -> dict[str, FloatArray] | None:
        """Kind -> vectors (rows, D) of a text: one row for a sentence, one per word for a document."""
        place = self._places.get(text_key(text))
        if place is None:
            return None
        shard, start, end = place
        return {kind: matrix[start:end] for kind, matrix in self._shards[shard].items()}

    def add(self, texts: Sequence[str], lengths: Sequence[int], kinds: Mapping[str, FloatArray]) -> None:
        """File the vectors of `texts` and write them to disk as one shard.

        Args:
            lengths: rows of each text.
            kinds: kind -> (sum of lengths, D) vectors, text after text.

        Raises:
            SlonikError: the disk is full or not writable.
        """
        keys = np.frombuffer(b"".join(text_key(text) for text in texts), np.uint8).reshape(-1, _KEY_BYTES)
        content = {f"kind_{kind}": matrix for kind, matrix in kinds.items()}
        stream = io.BytesIO()
        np.savez(stream, keys=keys, lengths=np.asarray(lengths, dtype=np.int64), **content)  # type: ignore[arg-type]
        if not self._folder.exists():
            write_json(self._folder / "identity.json", self._identity)
        write_bytes(self._folder / f"{uuid.uuid4().hex}.npz", stream.getvalue())
        self._file(keys, np.asarray(lengths, dtype=np.int64), dict(kinds))

    def _read(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as content:
                kinds = {name.removeprefix("kind_"): content[name] for name in content if name.startswith("kind_")}
                keys, lengths = content["keys"], content["lengths"]
            if any(len(matrix) != int(lengths.sum()) for matrix in kinds.values()) or len(keys) != len(lengths):
                raise ValueError("lengths do not add up")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)
            return
        self._file(keys, lengths, kinds)

    def _file(self, keys: Any, lengths: Any, kinds: dict[str, FloatArray]) -> None:
        ends = np.cumsum(lengths)
        shard = len(self._shards)
        self._shards.append(kinds)
        for key, length, end in zip(keys, lengths, ends, strict=True):
            self._places[key.tobytes()] = (shard, int(end - length), int(end))


def prune(root: Path, *, largest: int = LARGEST_BYTES) -> None:
    """Drop the identities unused for longest until the cache fits `largest` bytes.

    Raises:
        SlonikError: a folder cannot be removed.
    """
    if not root.is_dir():
        return
    folders = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    total = 0
    for folder in folders:
        total += sum(path.stat().st_size for path in folder.glob("*"))
        if total > largest:
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise SlonikError(f"cannot remove {folder} from the embedding cache: {error.strerror}") from None
