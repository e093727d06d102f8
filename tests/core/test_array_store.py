"""Arrays come back bit by bit, belong to one identity, and are whole or absent whatever happens in between."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest

from slonik.core.array_store import ArrayStore, RowArray, prune_store
from slonik.core.errors import SlonikError

TEXTS = ["мама мыла раму", "слон", "", "кот"]
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(4, 8)).astype(np.float16)


def test_what_is_added_is_found_by_a_later_store_of_the_same_identity_only(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, {"checkpoint": "12", "pooling": "mean"})
    store.add(TEXTS[:3], {"0": VECTORS[:3], "1": -VECTORS[:3]})
    store.add(TEXTS[3:], {"0": VECTORS[3:], "1": -VECTORS[3:]})
    again = ArrayStore(tmp_path, {"checkpoint": "12", "pooling": "mean"})
    for one in (store, again):
        assert len(one) == 4 and one.names == ("0", "1") and "слон" in one
        assert one.missing([*TEXTS, "новый", "новый"]) == ["новый"]
        order = [TEXTS[n] for n in (3, 0, 3)]
        assert np.array_equal(one.take("1", order, np.float16), -VECTORS[[3, 0, 3]])
        assert one.take("0", order).dtype == np.float32
    found = again.find("слон")
    assert found is not None and isinstance(found["0"], np.memmap) and np.array_equal(found["0"], VECTORS[1:2])
    for other in ({"checkpoint": "13", "pooling": "mean"}, {"checkpoint": "12", "pooling": "cls"}):
        assert len(ArrayStore(tmp_path, other)) == 0
    with pytest.raises(KeyError):
        again.take("0", ["новый"])


def test_a_text_may_have_several_rows_and_a_store_may_live_in_memory(tmp_path: Path) -> None:
    lengths = [3, 1, 0]
    for root in (tmp_path, None):
        store = ArrayStore(root, {})
        store.add(TEXTS[:3], {"words": VECTORS.astype(np.float32)}, lengths)
        first, last = store.find(TEXTS[0]), store.find(TEXTS[2])
        assert first is not None and np.array_equal(first["words"], VECTORS[:3].astype(np.float32))
        assert last is not None and last["words"].shape == (0, 8)
        with pytest.raises(ValueError, match="words has 4 rows, 3 texts have 3"):
            store.add(TEXTS[:3], {"words": VECTORS})
    assert len(list(tmp_path.rglob("*.arrays"))) == 1


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_a_damaged_chunk_is_dropped_and_the_others_stay(tmp_path: Path, damage: str) -> None:
    store = ArrayStore(tmp_path, {})
    store.add(TEXTS[:2], {"0": VECTORS[:2]})
    (chunk,) = tmp_path.rglob("*.arrays")
    store.add(TEXTS[2:], {"0": VECTORS[2:]})
    content = chunk.read_bytes()
    chunk.write_bytes({"cut": content[:-70], "garbage": b"x" * 200, "empty": b""}[damage])
    again = ArrayStore(tmp_path, {})
    assert again.missing(TEXTS) == TEXTS[:2] and not chunk.exists()


def full(_handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rows = ArrayStore(tmp_path, {}), RowArray(tmp_path, {"a": 1}, total=4, row_shape=(8,))
    store.add(TEXTS[:2], {"0": VECTORS[:2]})
    rows.append(VECTORS[:2])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(SlonikError, match="no space left"):
            store.add(TEXTS[2:], {"0": VECTORS[2:]})
        with pytest.raises(SlonikError, match="no space left"):
            rows.append(VECTORS[2:])
    assert ArrayStore(tmp_path, {}).missing(TEXTS) == store.missing(TEXTS) == TEXTS[2:]
    rows = RowArray(tmp_path, {"a": 1}, total=4, row_shape=(8,))
    assert rows.done == 2
    rows.append(VECTORS[2:])
    assert np.array_equal(rows.array(), VECTORS)


def test_rows_are_continued_by_the_same_identity_only(tmp_path: Path) -> None:
    rows = RowArray(tmp_path, {"texts": "12"}, total=4, row_shape=(8,))
    rows.append(VECTORS[:3])
    with pytest.raises(SlonikError, match="has 3 of 4 rows"):
        rows.array()
    again = RowArray(tmp_path, {"texts": "12"}, total=4, row_shape=(8,))
    assert (again.done, again.total_bytes) == (3, 64)
    again.append(VECTORS[3:])
    assert isinstance(again.array(), np.memmap) and np.array_equal(again.array(), VECTORS)
    assert RowArray(tmp_path, {"texts": "13"}, total=4, row_shape=(8,)).done == 0
    assert RowArray(tmp_path, {"texts": "12"}, total=5, row_shape=(8,)).done == 0
    with pytest.raises(SlonikError, match="another process fills"):
        rows.append(VECTORS[3:])
    assert np.array_equal(again.array(), VECTORS)
    assert RowArray(tmp_path, {}, total=0, row_shape=(8,)).array().shape == (0, 8)


@pytest.mark.parametrize("name", ["rows.raw", "rows.json"])
def test_damaged_rows_are_refused(tmp_path: Path, name: str) -> None:
    RowArray(tmp_path, {}, total=4, row_shape=(8,)).append(VECTORS)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(SlonikError, match=r"(damaged|cut short).*remove it"):
        RowArray(tmp_path, {}, total=4, row_shape=(8,))


def test_what_was_unused_for_longest_goes_first(tmp_path: Path) -> None:
    for number in range(3):
        ArrayStore(tmp_path, {"n": number}).add(TEXTS, {"0": VECTORS})
    for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda path: path.name)):
        os.utime(path, (time.time() - 100 - age,) * 2)
    oldest = sorted(path.name for path in tmp_path.iterdir())[-1]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    prune_store(tmp_path, size)
    assert len(list(tmp_path.iterdir())) == 3
    prune_store(tmp_path, size - 1)
    assert len(list(tmp_path.iterdir())) == 2 and not (tmp_path / oldest).exists()
    for number in range(3):
        ArrayStore(tmp_path, {"n": number})  # opening marks as used
    assert all(time.time() - path.stat().st_mtime < 50 for path in tmp_path.iterdir())
    prune_store(tmp_path / "nowhere", 0)
