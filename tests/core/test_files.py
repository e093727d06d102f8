"""Writes are whole or absent, whatever happens in the middle."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder, write_json, write_text


def test_a_failed_folder_leaves_the_old_one_and_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with new_folder(target) as folder:
        write_text(folder / "a.txt", "old")
    with pytest.raises(RuntimeError), new_folder(target, overwrite=True) as folder:
        write_text(folder / "a.txt", "new")
        raise RuntimeError("killed in the middle")
    assert (target / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_is_there_is_refused_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").write_text("x")
    with pytest.raises(SlonikError, match="not empty"), new_folder(tmp_path / "model"):
        pass
    assert (tmp_path / "model" / "precious").exists()


def test_a_full_disk_is_one_sentence_and_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.json"
    write_json(path, [1])

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SlonikError, match="no space left"):
        write_json(path, [2])
    assert path.read_text().strip() == "[\n  1\n]"
    assert [entry.name for entry in tmp_path.iterdir()] == ["records.json"]


def test_a_disk_that_fills_inside_a_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="no space left"), new_folder(tmp_path / "model") as folder:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "model.safetensors"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(SlonikError, match="notes"):
        write_json(tmp_path / "notes" / "records.json", [1])
    with pytest.raises(SlonikError, match="notes"), new_folder(tmp_path / "notes" / "model"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    killed = (
        "import os, pathlib, signal\n"
        "from slonik.core.files import new_folder\n"
        "with new_folder(pathlib.Path(os.environ['TARGET'])) as folder:\n"
        "    (folder / 'large.bin').write_bytes(b'x' * 1000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "model"
    for name in (target, tmp_path / "other-model"):
        subprocess.run([sys.executable, "-c", killed], env=os.environ | {"TARGET": str(name)}, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with new_folder(target) as mine:
        # A second writer of the same name that is alive: its half-written folder must survive.
        with new_folder(target) as folder:
            write_text(folder / "a.txt", "whole")
        assert mine.is_dir()
        shutil.rmtree(target)
    left = [path.name for path in tmp_path.iterdir() if path != target]
    assert len(left) == 1 and left[0].endswith("-other-model")
