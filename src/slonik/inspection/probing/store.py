"""Layer vectors on disk in half precision: a text goes through a model once, whatever tasks and probes ask for it.

One folder per identity (weights, tokenizer, prefix, length, pooling), with blocks of vectors (layers, texts, D) that
are mapped, not read: one layer of one task is all that is in memory. Blocks appear whole or not at all, so an
interrupted run goes on; a damaged one is dropped. Nothing here knows labels.
"""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.array_store import text_key
from slonik.core.files import write_bytes, write_json
from slonik.core.hashing import sha256_json
from slonik.core.progress import progress_bar
from slonik.core.protocols import LayerEncoder

FORMAT = 1
_KEY_BYTES = 16
_BLOCK_TEXTS = 1024

Half = NDArray[np.float16]


@dataclass(frozen=True)
class Encoded:
    """What `prepare` did: texts encoded now, texts found on disk, and the seconds that encoding took."""

    encoded: int
    reused: int
    seconds: float


class LayerStore:
    """Vectors of one encoder under one pooling.

    Args:
        encoder: what encodes. pooling: "mean", "cls" or "last". prefix: put before each text.
        root: the folder of all identities; None keeps vectors in memory only.
        identity: what the vectors depend on besides pooling and text; JSON values only.
    """

    def __init__(
        self, encoder: LayerEncoder, pooling: str, prefix: str | None, root: Path | None, identity: Mapping[str, Any]
    ) -> None:
        self.encoder, self.pooling, self.prefix = encoder, pooling, prefix
        self._identity = {"format": FORMAT, "pooling": pooling, **identity}
        self._folder = None if root is None else root / sha256_json(self._identity)[:32]
        self._blocks: list[Half] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        if self._folder is not None and self._folder.is_dir():
            os.utime(self._folder)
            for path in sorted(self._folder.glob("*.keys")):
                self._open(path)

    @property
    def layers(self) -> int:
        """Layers that there are vectors of, embeddings included; 0 before anything is encoded."""
        return self._blocks[0].shape[0] if self._blocks else 0

    def absent(self, texts: Iterable[str]) -> list[str]:
        """Those of `texts` that there are no vectors of yet."""
        return [text for text in texts if text_key(text) not in self._places]

    def keep(self, texts: Sequence[str], block: Half) -> None:
        """Add vectors (layers, texts, D); on disk, if the store has a folder. Texts that are there are left out."""
        fresh = [row for row, text in enumerate(texts) if text_key(text) not in self._places]
        if fresh:
            self._add([texts[row] for row in fresh], block[:, fresh])

    def layer(self, texts: Sequence[str], index: int) -> NDArray[np.float32]:
        """Vectors (N, D) of one layer, in the order of `texts`.

        Raises:
            KeyError: a text that was not prepared.
        """
        places = np.array([self._places[text_key(text)] for text in texts], dtype=np.int64)
        found = np.empty((len(texts), self._blocks[0].shape[-1]), dtype=np.float32)
        for block in np.unique(places[:, 0]):
            rows = np.flatnonzero(places[:, 0] == block)
            found[rows] = self._blocks[block][index][places[rows, 1]]
        return found

    def _add(self, texts: Sequence[str], block: Half) -> None:
        keys = b"".join(text_key(text) for text in texts)
        if self._folder is None:
            self._file(keys, block)
            return
        if not self._folder.exists():
            write_json(self._folder / "identity.json", self._identity)
        stream = io.BytesIO()
        np.save(stream, block)
        name = uuid.uuid4().hex
        write_bytes(self._folder / f"{name}.npy", stream.getvalue())
        write_bytes(self._folder / f"{name}.keys", keys)  # last: a block without keys is not seen
        self._open(self._folder / f"{name}.keys")

    def _open(self, path: Path) -> None:
        try:
            keys = path.read_bytes()
            block = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            if block.ndim != 3 or block.shape[1] * _KEY_BYTES != len(keys):
                raise ValueError("keys and vectors differ in number")
        except (OSError, ValueError, EOFError):
            for damaged in (path, path.with_suffix(".npy")):
                damaged.unlink(missing_ok=True)
            return
        self._file(keys, block)

    def _file(self, keys: bytes, block: Half) -> None:
        for row in range(len(keys) // _KEY_BYTES):
            self._places[keys[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]] = (len(self._blocks), row)
        self._blocks.append(block)


def prepare(stores: Sequence[LayerStore], texts: Iterable[str]) -> Encoded:
    """Encode what some of the stores lack, longest texts first, block by block: one pass for all poolings.

    Args:
        stores: of one encoder and prefix, each with a pooling of its own.
    """
    encoder, prefix = stores[0].encoder, stores[0].prefix
    unique = dict.fromkeys(texts)
    missing = {text for store in stores for text in store.absent(unique)}
    absent = sorted((text for text in unique if text in missing), key=len, reverse=True)
    poolings = [store.pooling for store in stores if store.absent(absent)]
    seconds = 0.0
    with progress_bar(f"layers of {encoder.name}", total=len(absent)) as bar:
        for start in range(0, len(absent), _BLOCK_TEXTS):
            chunk = absent[start : start + _BLOCK_TEXTS]
            began = time.perf_counter()
            blocks = encoder.encode_layers(chunk, poolings, prefix=prefix)
            seconds += time.perf_counter() - began
            for store in stores:
                if store.pooling in blocks:
                    store.keep(chunk, blocks[store.pooling])
            bar.advance(len(chunk))
    return Encoded(len(absent), len(unique) - len(absent), seconds)
