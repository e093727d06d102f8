"""Embeddings kept on disk by content: same weights, tokenizer, prefix, length and text, same vectors.

One folder per identity (what the vectors depend on besides the text), with shards of vectors in it; a text's key is
the hash of the text, so that two tasks, two runs and two benchmarks share its vectors. Shards appear whole or not at
all; a damaged one is dropped and its texts are encoded again. The folder is bounded: identities unused for longest
go first. Nothing here encodes.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.atomic import write_bytes, write_json
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.protocols import FloatArray

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
