"""Places are those that the variables say; names of folders for several models are different and short; the cache's
sizes are those of the files, and clearing takes what it is told and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.paths import cache_dir, cache_entries, clear_cache, data_dir, own_names


@pytest.mark.skipif(os.name != "posix" or not Path("/proc").is_dir(), reason="the places of Linux")
def test_places_are_those_of_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLONIK_CACHE", "SLONIK_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "slonik" and data_dir() == cache_dir() / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "slonik"
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own" and data_dir() == tmp_path / "own" / "data"
    monkeypatch.setenv("SLONIK_DATA", str(tmp_path / "data"))
    assert data_dir() == tmp_path / "data" and data_dir(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []  # asking makes nothing


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["majority", "runs/a/model", "b"], ["majority", "model", "b"]),
        (["runs/a/model", "runs/b/model", "c"], ["a-model", "b-model", "c"]),
        (["/x/a/m", "/y/a/m"], ["x-a-m", "y-a-m"]),
        (["m", "m", "m-1"], ["m", "m-2", "m-1"]),
        (["m", "x/m"], ["m", "x-m"]),
        (["..", "/"], ["model", "model-1"]),
        ([], []),
    ],
)
def test_names_are_different_and_short(paths: list[str], names: list[str]) -> None:
    assert own_names(paths) == names
    assert len(set(names)) == len(names)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two teachers' states (one unused for ten days), one embedding, fetched data, and a stranger's folder."""
    for name, size in (("training/states/old", 100), ("training/states/new", 50), ("training/vectors/a", 7)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "rows.raw").write_bytes(b"x" * size)
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "one.npy").write_bytes(b"x" * 11)
    (tmp_path / "data" / "encodechka").mkdir(parents=True)
    (tmp_path / "data" / "encodechka" / "sts.csv").write_bytes(b"x" * 13)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_bytes(b"x" * 17)
    old = time.time() - 10 * 86400
    for path in (tmp_path / "training/states/old/rows.raw", tmp_path / "training/states/old"):
        os.utime(path, (old, old))
    return tmp_path


def test_sizes_and_order(root: Path) -> None:
    entries = cache_entries(root)
    assert [(entry.kind, entry.path.name, entry.size) for entry in entries] == [
        ("training/states", "new", 50),
        ("training/states", "old", 100),
        ("training/vectors", "a", 7),
        ("embeddings", "one.npy", 11),
        ("data", "encodechka", 13),
    ]


def test_only_what_is_named_and_unused_goes(root: Path) -> None:
    assert [entry.path.name for entry in clear_cache(root, ["training"], unused_days=7)] == ["old"]
    assert not (root / "training/states/old").exists()
    assert {entry.path.name for entry in clear_cache(root, ["training/vectors", "embeddings"])} == {"a", "one.npy"}
    assert {entry.path.name for entry in cache_entries(root)} == {"new", "encodechka"}
    assert (root / "mine" / "notes.txt").exists()
    assert clear_cache(root, ["layers"]) == []


def test_an_unknown_kind_removes_nothing(root: Path) -> None:
    with pytest.raises(SlonikError, match=r"'mine'.*training/states"):
        clear_cache(root, ["training", "mine"])
    assert len(cache_entries(root)) == 5


def test_a_folder_that_is_not_there_is_an_empty_cache(tmp_path: Path) -> None:
    assert cache_entries(tmp_path / "nowhere") == []
