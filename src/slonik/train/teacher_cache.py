"""What teachers say about a corpus, computed once and kept on disk in half precision.

Sentence vectors cost 768 bytes a text at 384 dimensions; states of tokens some 30 times that, so their size is shown
before the work starts. Both are continued after a crash and reused whenever weights, texts and prefix are the same.
The caller decides how a teacher encodes (prefix, pooling, precision); nothing here loads a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json, sha256_texts
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray
from slonik.train.ragged import Ragged
from slonik.train.row_file import RowFile

_POOL_TEXTS = 8192
_CALL_TEXTS = 1024
_NOT_WEIGHTS = ("name", "source")


@dataclass(frozen=True)
class TeacherVectors:
    """Sentence vectors of one teacher.

    Attributes:
        vectors: (N, D) float16, memory-mapped, in the order of the texts.
        key: hash of weights, texts and prefix; belongs in a loader's key.
    """

    vectors: NDArray[np.float16]
    key: str


def teacher_vectors(
    encoder: Encoder, texts: Sequence[str], folder: Path, *, prefix: str | None = None
) -> TeacherVectors:
    """Vectors of `texts` from the cache, the missing ones computed.

    Args:
        encoder: the teacher; `describe()` identifies its weights.
        folder: cache of all teachers; each (weights, texts, prefix) has a folder in it.
        prefix: as in `Encoder.encode`.

    Raises:
        SlonikError: full disk (the vectors computed before stay), or a damaged cache.
    """
    identity = {**_identity(encoder.describe()), "prefix": prefix}

    def encode(some: Sequence[str]) -> FloatArray:
        return encoder.encode(some, prefix=prefix)

    return cached_vectors(encode, texts, folder, dimension=encoder.dimension, identity=identity, name=encoder.name)


def cached_vectors(
    encode: Callable[[Sequence[str]], FloatArray],
    texts: Sequence[str],
    folder: Path,
    *,
    dimension: int,
    identity: Mapping[str, Any],
    name: str = "teacher",
) -> TeacherVectors:
    """As `teacher_vectors`, for any function from texts to (n, D) vectors.

    Args:
        identity: everything that decides the vectors apart from the texts (hash of weights, prefix, pooling).
        name: for the progress bar.
    """
    key = sha256_json({"identity": dict(identity), "texts": sha256_texts(texts), "dimension": dimension})
    rows = RowFile(folder / key[:24], key=key, total=len(texts), row_shape=(dimension,))
    with progress_bar(f"vectors of {name}", total=len(texts), completed=rows.done) as bar:
        for start in range(rows.done, len(texts), _POOL_TEXTS):
            pool = texts[start : start + _POOL_TEXTS]
            vectors = np.zeros((len(pool), dimension), dtype=np.float32)
            # Calls of near-equal text lengths: little padding, although rows are kept in corpus order.
            order = np.argsort([len(text) for text in pool], kind="stable")
            for first in range(0, len(pool), _CALL_TEXTS):
                part = order[first : first + _CALL_TEXTS]
                vectors[part] = encode([pool[index] for index in part])
                bar.advance(len(part))
            _check_finite(vectors, name)
            rows.append(vectors)
    return TeacherVectors(rows.array(), key)


def cached_token_states(
    encode_tokens: Callable[[Sequence[str]], Sequence[NDArray[Any]]],
    texts: Sequence[str],
    lengths: NDArray[np.int64],
    folder: Path,
    *,
    dimension: int,
    identity: Mapping[str, Any],
    name: str = "teacher",
) -> Ragged:
    """Last hidden states of every token of every text, float16.

    Args:
        encode_tokens: texts -> one (T_i, D) array each.
        lengths: (N,) tokens of each text as the *student* cuts it; the teacher must cut alike.
        identity: as in `cached_vectors`.

    Raises:
        SlonikError: the teacher cuts a text into another number of tokens, full disk, damaged cache.
    """
    facts = {"identity": dict(identity), "texts": sha256_texts(texts), "lengths": int(lengths.sum()), "d": dimension}
    key = sha256_json(facts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = RowFile(folder / key[:24], key=key, total=int(offsets[-1]), row_shape=(dimension,))
    done = int(np.searchsorted(offsets, rows.done))
    size = f"{rows.total_bytes / 2**30:.2f} GiB"
    with progress_bar(f"token states of {name} ({size})", total=len(texts), completed=done) as bar:
        for start in range(done, len(texts), _CALL_TEXTS):
            some = texts[start : start + _CALL_TEXTS]
            states = encode_tokens(some)
            for index, (state, length) in enumerate(zip(states, lengths[start:], strict=False)):
                if len(state) != length:
                    raise SlonikError(
                        f"{name} cuts text {start + index} into {len(state)} tokens and the student into {length}: "
                        "token states can be cached only for one segmentation; use a token teacher instead"
                    )
            rows.append(np.concatenate(list(states)))
            bar.advance(len(some))
    return Ragged(rows.array(), offsets, key)


def _identity(described: Mapping[str, Any]) -> dict[str, Any]:
    """What `describe()` says, without where the weights were found."""
    return {name: value for name, value in described.items() if name not in _NOT_WEIGHTS}


def _check_finite(vectors: FloatArray, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors.astype(np.float16)).all(axis=1))
    if len(bad):
        raise SlonikError(f"{name} gives vectors that are no finite half-precision numbers (first: row {bad[0]})")
