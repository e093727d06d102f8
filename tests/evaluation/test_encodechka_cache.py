"""The embedding cache: content keys, shards, damage, and its bound."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from slonik.evaluation.encodechka.embeddings import EmbeddingCache, prune


def _rows(count: int, start: float = 0) -> np.ndarray:
    return np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3)


def test_vectors_come_back_for_the_same_identity_and_text(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, {"weights": "w"})
    cache.add(["раз", "два"], [1, 2], {"mean": _rows(3), "cls": _rows(3, 100)})
    again = EmbeddingCache(tmp_path, {"weights": "w"})
    found = again.find("два")
    assert found is not None and len(again) == 2 and "раз" in again
    np.testing.assert_array_equal(found["mean"], _rows(3)[1:])
    np.testing.assert_array_equal(found["cls"], _rows(3, 100)[1:])
    assert again.find("три") is None
    assert EmbeddingCache(tmp_path, {"weights": "x"}).find("два") is None


def test_a_damaged_shard_is_dropped_and_the_others_stay(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, {"weights": "w"})
    cache.add(["раз"], [1], {"mean": _rows(1)})
    first = next(tmp_path.rglob("*.npz"))
    cache.add(["два"], [1], {"mean": _rows(1)})
    first.write_bytes(b"not an archive")
    again = EmbeddingCache(tmp_path, {"weights": "w"})
    assert "раз" not in again and "два" in again and not first.exists()


def test_the_identities_unused_for_longest_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        EmbeddingCache(tmp_path, {"weights": name}).add(["раз"], [100], {"mean": _rows(100)})
        folder = next(path for path in tmp_path.iterdir() if name in (path / "identity.json").read_text())
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    prune(tmp_path, largest=4000)
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 2 or len(kept) == 1
    assert "раз" in EmbeddingCache(tmp_path, {"weights": "new"})
    assert "раз" not in EmbeddingCache(tmp_path, {"weights": "old"})
