"""Writes are whole or absent, go through what is no plain file, and are readable by whom the umask says."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.files import (
    Lock,
    check_apart,
    check_new_file,
    check_new_folder,
    copy_folder,
    is_stream,
    new_file,
    new_folder,
    write_json,
    write_text,
)


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


def test_content_is_flushed_before_it_has_its_name_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int | str] = []
    for name in ("replace", "rename"):
        named = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *paths, named=named, **at: (done.append("named"), named(*paths, **at)))
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_ino))
    write_text(tmp_path / "a.txt", "one")
    place = tmp_path.stat().st_ino
    assert done == [(tmp_path / "a.txt").stat().st_ino, "named", place]
    done.clear()
    with new_folder(tmp_path / "model") as folder:
        (folder / "deep").mkdir()
        for path in (folder / "b.txt", folder / "deep" / "c.txt"):
            path.write_text("two")
    files = {path.stat().st_ino for path in (tmp_path / "model").rglob("*.txt")}
    at = done.index("named")
    assert set(done[:at]) >= files and done[at + 1 :] == [place] and len(files) == 2


def test_a_disk_that_fills_inside_a_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="no space left"), new_folder(tmp_path / "model") as folder:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "model.safetensors"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", "no space left while writing"),
        ("7460 requested and 6080 written", "no space left while writing"),
        ("I/O error: File too large (os error 27)", "larger than this machine lets a file be"),
    ],
)
@pytest.mark.parametrize("kind", [Exception, OSError])
def test_a_full_disk_in_the_words_of_a_library_is_one_sentence(
    tmp_path: Path, words: str, sentence: str, kind: type[Exception]
) -> None:
    for writing in (new_folder, new_file):
        with pytest.raises(SlonikError, match=sentence), writing(tmp_path / "model"):
            raise kind(words)
        with pytest.raises(ValueError, match="os error 2"), writing(tmp_path / "model"):
            raise ValueError("no such file (os error 2)")  # nothing of the disk that is written to
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


@pytest.mark.parametrize("when", ["inside", "between"])
def test_what_is_left_of_a_folder_in_a_folder_or_of_an_exchange_is_swept_or_put_back(tmp_path: Path, when: str) -> None:
    killed = (
        "import os, pathlib, signal\n"
        "from slonik.core import files\n"
        "target, rename = pathlib.Path(os.environ['TARGET']), pathlib.Path.rename\n"
        "def last(self, to):\n"
        "    rename(self, to)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "with files.new_folder(target, overwrite=True) as folder:\n"
        "    (folder / 'a.txt').write_text('new')\n"
        "    if os.environ['WHEN'] == 'inside':\n"
        "        with files.new_folder(folder, overwrite=True) as inner:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    pathlib.Path.rename = last\n"
    )
    target = tmp_path / "model"
    target.mkdir()
    (target / "a.txt").write_text("old")
    subprocess.run([sys.executable, "-c", killed], env=os.environ | {"TARGET": str(target), "WHEN": when}, check=False)
    assert target.exists() == (when == "inside") and len(list(tmp_path.iterdir())) >= 2
    with pytest.raises(RuntimeError), new_folder(target, overwrite=True):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and (target / "a.txt").read_text() == "old"


def test_names_as_long_as_file_systems_take_and_links_that_lead_nowhere(tmp_path: Path) -> None:
    longest = "ы" * 125  # 250 bytes
    with new_folder(tmp_path / longest) as folder:
        write_text(folder / longest, "text")
    assert (tmp_path / longest / longest).read_text() == "text"
    (tmp_path / "loop").symlink_to("loop")
    for check in (check_new_file, check_new_folder):
        check(tmp_path / "a" / "b")
        for wrong, why in (("ы" * 130, "File name too long"), ("loop", "leads back to itself")):
            with pytest.raises(SlonikError, match=why):
                check(tmp_path / wrong)
    with pytest.raises(SlonikError, match="leads back to itself"):
        write_text(tmp_path / "loop", "text")
    with pytest.raises(SlonikError, match="is a folder: name a file"):
        check_new_file(tmp_path)
    check_new_file("/dev/null")


def test_a_result_is_kept_apart_from_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("text")
    sources = [tmp_path / "corpus", "embedded:no-path", tmp_path / "none"]
    check_apart(tmp_path / "out", sources)
    for out, why in (("corpus", "is read itself"), ("corpus/new", "lies in .*, which is read")):
        with pytest.raises(SlonikError, match=why):
            check_apart(tmp_path / out, sources)
    check_apart(tmp_path / "corpus", [tmp_path / "corpus" / "a.txt"])
    with pytest.raises(SlonikError, match=r"holds .*a.txt, which is read and would be replaced"):
        check_apart(tmp_path / "corpus", [tmp_path / "corpus" / "a.txt"], replaced=True)


def test_a_device_or_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_json(pipe, ["слон"])
    reader.join(10)
    assert found == ['[\n  "слон"\n]\n'.encode()] and stat.S_ISFIFO(pipe.stat().st_mode)
    (tmp_path / "link").symlink_to("/dev/null")
    for target in (Path("/dev/null"), tmp_path / "link"):
        write_text(target, "nowhere")
        assert is_stream(target) and target.is_char_device()
        with pytest.raises(SlonikError, match="a device"), new_folder(target):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}
    if Path("/dev/full").exists():
        with pytest.raises(SlonikError, match="no space left while writing /dev/full"):
            write_text("/dev/full", "x")


def test_standard_output_by_name_goes_between_what_is_printed(tmp_path: Path) -> None:
    script = (
        "from slonik.core.files import write_text\n"
        "print('before')\n"
        "for name in ('/dev/stdout', '/dev/fd/1', '/proc/self/fd/1'):\n    write_text(name, 'x\\n')\n"
        "print('after')\n"
    )
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nx\nx\nx\nafter\n"
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert piped.stdout == b"before\nx\nx\nx\nafter\n"


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "old.json").write_text("old")
    for name in ("old.json", "new.json"):  # the second points to nothing yet
        link = tmp_path / f"link-{name}"
        link.symlink_to(Path("real") / name)
        write_text(link, "new")
        assert link.is_symlink() and (real / name).read_text() == "new"
    (tmp_path / "model").symlink_to("real/model")
    with new_folder(tmp_path / "model") as folder:
        write_text(folder / "a.txt", "1")
    with new_folder(tmp_path / "model", overwrite=True) as folder:
        write_text(folder / "a.txt", "2")
    assert (tmp_path / "model").is_symlink() and (real / "model" / "a.txt").read_text() == "2"
    assert {path.name for path in real.iterdir()} == {"old.json", "new.json", "model"}


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that lets the group read."""
    old = os.umask(0o027)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    """Permissions as `ls` shows them."""
    return stat.S_IMODE(path.stat().st_mode)


def test_permissions_are_those_of_the_umask(tmp_path: Path, umask: None) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, bits in (("weights", 0o600), ("read_only", 0o444), ("run.sh", 0o700)):
        (source / name).write_text("x")
        (source / name).chmod(bits)
    (source / "1_Pooling").mkdir(mode=0o700)
    copy_folder(source, tmp_path / "copy")
    assert mode(tmp_path / "copy") == mode(tmp_path / "copy" / "1_Pooling") == 0o750
    assert {path.name: mode(path) for path in (tmp_path / "copy").iterdir() if path.is_file()} == {
        "weights": 0o640, "read_only": 0o640, "run.sh": 0o750,
    }  # fmt: skip
    with new_file(tmp_path / "secret.bin") as temporary:
        temporary.touch(mode=0o600)
    assert mode(tmp_path / "secret.bin") == 0o640
    (tmp_path / "secret.bin").chmod(0o600)  # by the user, who may
    write_text(tmp_path / "secret.bin", "new")
    assert mode(tmp_path / "secret.bin") == 0o600


def test_a_copied_folder_is_whole_or_absent(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in "ab":
        (tmp_path / "source" / name).write_text(name)
    (tmp_path / "source" / "gone").symlink_to("nowhere")
    with pytest.raises(SlonikError, match=r"cannot copy .*gone"):
        copy_folder(tmp_path / "source", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    (tmp_path / "source" / "gone").unlink()
    assert copy_folder(tmp_path / "source", tmp_path / "copy") == tmp_path / "copy"
    with pytest.raises(SlonikError, match="not empty"):
        copy_folder(tmp_path / "source", tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["a", "b"]


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(SlonikError, match=r"records.json: .*/notes is a file, not a folder"):
        write_json(tmp_path / "notes" / "deep" / "records.json", [1])


def test_a_job_that_is_started_again_on_another_machine_takes_its_lock_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SLONIK_JOB", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "lock"

    def left_elsewhere() -> None:
        Lock(path, "the cache").take()
        path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "other", "host": "node-7"}))

    left_elsewhere()
    with pytest.raises(SlonikError, match="on node-7"):  # of no job
        Lock(path, "the cache").take()
    path.unlink()
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    left_elsewhere()
    Lock(path, "the cache").take()
    path.unlink()
    left_elsewhere()
    for other in ({"SLURM_JOB_ID": "72"}, {"SLURM_JOB_ID": "", "TORCHELASTIC_RUN_ID": "none"}):
        for variable, value in other.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(SlonikError, match="on node-7"):
            Lock(path, "the cache").take()


def test_the_dead_leave_no_lock_and_numbers_of_processes_come_again(tmp_path: Path) -> None:
    mine = Lock(tmp_path / "lock", "the cache")
    mine.take()
    with pytest.raises(SlonikError, match=f"the cache is being written by process {os.getpid()}"):
        Lock(tmp_path / "lock", "the cache").take()
    content = json.loads((tmp_path / "lock").read_text())
    for change in ({"started": "1"}, {"process": 2**22 + 1}):  # another process of this number; none
        (tmp_path / "lock").write_text(json.dumps(content | change))
        other = Lock(tmp_path / "lock", "the cache")
        other.take()
        mine.release()
        assert (tmp_path / "lock").exists()
        other.release()
        assert not (tmp_path / "lock").exists()
    (tmp_path / "lock").write_text("")
    mine.take()
    mine.release()
