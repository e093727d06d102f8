"""What teachers say about a corpus, computed once and kept on disk in half precision.

Sentence vectors cost 768 bytes a text at 384 dimensions; states of tokens some 30 times that, so their size is shown
before the work starts. Both are continued after a crash and reused whenever teacher, texts and code are the same.
The caller decides how a teacher encodes (pooling, precision); nothing here loads a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.array_store import RowArray
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.identity import code_identity, code_of, texts_identity
from slonik.core.progress import progress_bar, warn_once
from slonik.core.protocols import Encoder, FloatArray
from slonik.train.ragged import Ragged

_POOL_TEXTS = 8192
_CALL_TEXTS = 1024
_FEW_TEXTS = 50  # of fewer texts, those that choose for example, all may be unknown by chance


@dataclass(frozen=True)
class TeacherVectors:
    """Sentence vectors of one teacher.

    Attributes:
        vectors: (N, D) float16, memory-mapped, in the order of the texts.
        key: hash of teacher, texts and code; belongs in a loader's key.
    """

    vectors: NDArray[np.float16]
    key: str


def teacher_vectors(encoder: Encoder, texts: Sequence[str], folder: Path) -> TeacherVectors:
    """Vectors of `texts` from the cache, the missing ones computed.

    Args:
        encoder: the teacher, with its own default prefix; its `identity()` is part of the key.
        folder: cache of all teachers; each (teacher, texts, code) has a folder in it.

    Raises:
        SlonikError: full disk (the vectors computed before stay), a damaged cache, vectors that are no numbers, or
            zeros for all texts (for some: a warning).
    """
    identity: dict[str, Any] = {"teacher": encoder.identity(), "texts": texts_identity(texts)}
    identity["code"] = code_of(encoder)
    rows = RowArray(folder, identity, total=len(texts), row_shape=(encoder.dimension,))
    with progress_bar(f"vectors of {encoder.name}", total=len(texts), completed=rows.done) as bar:
        for start in range(rows.done, len(texts), _POOL_TEXTS):
            pool = texts[start : start + _POOL_TEXTS]
            vectors = np.zeros((len(pool), encoder.dimension), dtype=np.float32)
            # Calls of near-equal text lengths: little padding, although rows are kept in corpus order.
            order = np.argsort([len(text) for text in pool], kind="stable")
            for first in range(0, len(pool), _CALL_TEXTS):
                part = order[first : first + _CALL_TEXTS]
                vectors[part] = _checked(encoder, [pool[index] for index in part])
                bar.advance(len(part))
            _check_finite(vectors, encoder.name)
            rows.append(vectors)
    found = rows.array()
    _tell_unanswered(found, encoder.name)
    return TeacherVectors(found, sha256_json(identity))


def _checked(encoder: Encoder, texts: Sequence[str]) -> FloatArray:
    """(n, D) of the texts, held to be that."""
    found: FloatArray = np.asarray(encoder.encode(texts), dtype=np.float32)
    if found.shape != (len(texts), encoder.dimension):
        raise SlonikError(
            f"the teacher {encoder.name} gave an array of {' x '.join(map(str, found.shape))} for {len(texts)} texts: "
            f"{len(texts)} x {encoder.dimension} was expected"
        )
    return found


def _tell_unanswered(vectors: NDArray[np.float16], name: str) -> None:
    """Say of how many texts a teacher knows nothing: their vectors are zero.

    Raises:
        SlonikError: of all of them.
    """
    total = len(vectors)
    parts = (vectors[start : start + _POOL_TEXTS] for start in range(0, total, _POOL_TEXTS))
    unanswered = sum(int((~part.any(1)).sum()) for part in parts)
    if unanswered == total >= _FEW_TEXTS:
        raise SlonikError(
            f"the teacher {name} has no vector (all are zero) for any of {total:,} texts: it does not read their "
            "language or their letters; leave it out"
        )
    if unanswered:
        warn_once(
            f"the teacher {name} has no vector (zeros) for {unanswered:,} of {total:,} texts: of these it teaches none"
        )


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
    """What a teacher says of every token of every text, float16.

    Args:
        encode_tokens: texts -> one (T_i, D) array each; its code is part of the key.
        lengths: (N,) tokens of each text as the *student* cuts it; the teacher must cut alike.
        folder: cache of all teachers.
        dimension: D.
        identity: everything else that decides the states: the teacher's `identity()`, how the student cuts; JSON.
        name: for the progress bar.

    Raises:
        SlonikError: the teacher cuts a text into another number of tokens, full disk, damaged cache.
    """
    facts = {"identity": dict(identity), "texts": texts_identity(texts), "code": code_identity(work=encode_tokens)}
    facts["lengths"] = sha256_bytes(np.ascontiguousarray(lengths, dtype="<i8").tobytes())
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = RowArray(folder, facts, total=int(offsets[-1]), row_shape=(dimension,))
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
    return Ragged(rows.array(), offsets, sha256_json(facts))


def _check_finite(vectors: FloatArray, name: str) -> None:
    with np.errstate(over="ignore"):
        small = vectors.astype(np.float16)
    bad = np.flatnonzero(~np.isfinite(small).all(axis=1))
    if len(bad):
        raise SlonikError(f"{name} gives vectors that are no finite half-precision numbers (first: row {bad[0]})")
