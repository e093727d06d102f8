"""Whatever decides a result changes its identity, places and dates do not, and nothing is hashed twice in vain."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from slonik.core import identity
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.identity import (
    LARGE_BYTES,
    checkpoint_identity,
    code_identity,
    code_of,
    corpus_identity,
    file_identity,
    folder_identity,
    package_identity,
    rows_identity,
    texts_identity,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))
    identity._reached.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read to be hashed."""
    names: list[str] = []

    def spy(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(identity, "sha256_file", spy)
    return names


def work() -> int:
    """A step's work."""
    return 1


def test_a_large_file_is_read_once_and_again_when_anything_of_it_has_changed(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "corpus.txt"
    file.write_bytes(b"a" * LARGE_BYTES)
    now = time.time_ns()
    monkeypatch.setattr(identity.time, "time_ns", lambda: now)
    first = file_identity(file)
    assert file_identity(file) == first and len(hashed) == 2  # written just now: not to be trusted
    monkeypatch.setattr(identity.time, "time_ns", lambda: now + 10_000_000_000)
    assert file_identity(file) == first and len(hashed) == 3
    assert file_identity(file) == first and len(hashed) == 3
    times = file.stat()
    file.write_bytes(b"b" * LARGE_BYTES)  # the same name and size, and the same date
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_identity(file) != first and len(hashed) == 4
    replacement = tmp_path / "new"
    replacement.write_bytes(b"a" * LARGE_BYTES)
    os.utime(replacement, ns=(times.st_atime_ns, times.st_mtime_ns))
    replacement.replace(file)
    assert file_identity(file) == first and len(hashed) == 5
    (tmp_path / "small").write_text("x")
    for _ in range(2):
        file_identity(tmp_path / "small")
    assert hashed[5:] == ["small", "small"]
    with pytest.raises(SlonikError, match="there is no file"):
        file_identity(tmp_path / "none")


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file")
    file = tmp_path / "corpus.txt"
    file.write_bytes(b"a" * LARGE_BYTES)
    monkeypatch.setattr(identity.time, "time_ns", lambda: 2**62)
    assert file_identity(file) == sha256_file(file)
    assert code_identity("slonik.core.hashing") == code_identity("slonik.core.hashing")


def test_a_corpus_is_the_content_of_its_files_in_reading_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "news"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.jsonl.gz", "deep/c.txt", "readme.pdf", ".hidden.txt"):
        (folder / name).write_text(name)
    whole, read = corpus_identity(folder), corpus_identity(folder, suffixes=[".txt", ".jsonl"])
    assert list(whole.parts) == ["a.txt", "b.jsonl.gz", "deep/c.txt", "readme.pdf"]
    assert list(read.parts) == [".hidden.txt", "a.txt", "b.jsonl.gz", "deep/c.txt"]  # as the readers do
    files = [folder / "a.txt", folder / "deep" / "c.txt"]
    assert corpus_identity(files) != corpus_identity(files[::-1])
    assert corpus_identity(str(folder / "**" / "*.txt")) == corpus_identity(files)
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert corpus_identity(moved) == whole
    (moved / "a.ranges.tsv").write_text("source\t1\t2")  # names the sources of a.txt
    assert list(corpus_identity(moved / "a.txt").parts) == ["a.txt", "a.ranges.tsv"]
    assert list(corpus_identity([moved / "a.txt", moved / "a.txt"]).parts)[-2:] == ["1:a.txt", "1:a.ranges.tsv"]
    (moved / "deep" / "a.txt").write_text("other")
    both = corpus_identity(str(moved / "**" / "a.txt"))
    assert len(both.parts) == 3 and both != corpus_identity(str(moved / "*" / "a.txt"))  # one name, two files
    (moved / "b.text").write_text("b")
    (moved / "b.ranges.tsv").write_text("source\t1\t2")
    assert list(corpus_identity(moved / "b.text").parts) == ["b.text", "b.ranges.tsv"]
    assert corpus_identity("hub:owner/name").parts == {"hub:owner/name": "hub:owner/name"}
    for wrong in (moved / "none.txt", str(moved / "*.csv")):
        with pytest.raises(SlonikError, match="corpus not found"):
            corpus_identity(wrong)
    with pytest.raises(SlonikError, match="no file of a corpus"):
        corpus_identity(moved / "deep", suffixes=[".po"])


def test_a_checkpoint_is_all_but_what_only_tells_of_it(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "1_Pooling/config.json"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("x")
    before = checkpoint_identity(tmp_path / "model")
    for name in ("passport.json", "README.md", "records.json", "metrics.jsonl", "report.html", "run.json", ".cache/x",
                 "tensorboard/events", "predictions/rwsd.jsonl"):  # fmt: skip
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("x")
    assert checkpoint_identity(tmp_path / "model") == before
    for name in ("modeling_slim.py", "vocab.txt", "task.json", "onnx/model.onnx", "2_Normalize/config.json"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("x")
        after = checkpoint_identity(tmp_path / "model")
        assert after != before and name in after.parts
        before = after
    assert set(folder_identity(tmp_path / "model", ["*.json"]).parts) >= {"task.json", "1_Pooling/config.json"}
    (tmp_path / "model" / "1_Pooling").rename(tmp_path / "pooling")
    (tmp_path / "model" / "1_Pooling").symlink_to(tmp_path / "pooling")
    (tmp_path / "pooling" / "again").symlink_to(tmp_path / "model")  # leads back
    assert checkpoint_identity(tmp_path / "model") == after
    (tmp_path / "pooling" / "config.json").write_text("y")
    assert checkpoint_identity(tmp_path / "model") != after
    with pytest.raises(SlonikError, match="there is no folder"):
        checkpoint_identity(tmp_path / "none")


def test_rows_texts_and_packages() -> None:
    rows = [{"text": "слон", "label": 1}, {"text": "кот", "label": 0}]
    assert rows_identity(rows) == rows_identity([dict(reversed(row.items())) for row in rows])
    assert rows_identity(rows) != rows_identity(rows[::-1])

    class Frame:
        """As pandas has it."""

        def to_dict(self, orient: str) -> list[dict[str, object]]:
            return rows if orient == "records" else []

    assert rows_identity(Frame()) == rows_identity(rows)
    assert texts_identity(iter(["ab"])) != texts_identity(["a", "b"])
    assert package_identity("numpy").parts["version"] == np.__version__
    with pytest.raises(SlonikError, match="pip install no-such-package"):
        package_identity("no-such-package")


SOURCE = '''
"""Module."""
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from slonik.core import records

class Thing:
    """What it is."""

    def work(self, number: int) -> int:
        return number + 1  # one more
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module whose source lies in a file."""
    found = ModuleType("made_by_test")
    found.__file__ = str(tmp_path / "made_by_test.py")
    monkeypatch.setitem(sys.modules, "made_by_test", found)
    return found


def key(module: ModuleType, source: str) -> str:
    """The identity of a module with this source."""
    assert module.__file__ is not None
    Path(module.__file__).write_text(source)
    identity._reached.cache_clear()
    identity._source.cache_clear()
    return code_identity(module.__name__)


def test_the_meaning_of_code_counts_and_its_looks_do_not(module: ModuleType) -> None:
    first = key(module, SOURCE)
    for same in (
        SOURCE.replace("  # one more", ""),
        SOURCE.replace("What it is", "What it was"),
        SOURCE.replace("return number + 1", "return (number\n            + 1)"),
        SOURCE.replace("import records", "import passport"),
    ):
        assert key(module, same) == first
    for other in (SOURCE.replace("+ 1", "+ 2"), SOURCE.replace("int) -> int", "int = 3) -> int"), SOURCE + "x = 1\n"):
        assert key(module, other) != first


def test_what_code_imports_counts_too_also_in_functions(module: ModuleType) -> None:
    key(module, SOURCE + "def f():\n    from slonik.core import paths\n    import slonik.core.records\n")
    parts = code_identity(module.__name__).parts
    assert {"slonik.core.paths", "slonik.core.records", module.__name__} <= parts.keys()
    assert "slonik.core.progress" not in parts  # how work is shown does not decide it
    with pytest.raises(ValueError, match=r"there is no module slonik\.core\.nothing"):
        code_identity("slonik.core.nothing")
    narrow = code_identity("slonik.core.hashing", work=work)
    assert "slonik.core.hashing" in narrow.parts and f"{__name__}:work" in narrow.parts
    assert narrow != code_identity("slonik.core.hashing", work=key)


def test_code_without_sources_is_known_by_the_version(module: ModuleType) -> None:
    module.__file__ = None
    identity._source.cache_clear()
    identity._reached.cache_clear()
    assert code_identity(module.__name__).parts[module.__name__].startswith("version ")


def test_the_second_time_is_fast(cache: Path) -> None:
    script = (
        "import time\nfrom slonik.core.identity import code_identity\nstart = time.process_time()\n"
        "found = code_identity('slonik.compression.compress')\nprint(time.process_time() - start, len(found.parts))\n"
    )
    times = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        seconds, count = done.stdout.split()
        times.append(float(seconds))
        assert int(count) > 50
    assert times[1] < times[0] / 2 and list((cache / "hashes").iterdir())


def test_the_code_of_a_model_is_that_of_its_network_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Part:
        """A part of a network."""

    class Network:
        """As much of a torch module as is asked for."""

        def modules(self) -> list[object]:
            return [self, Part()]

    class Model:
        """A model with a network."""

        model = Network()

    before = code_of(Model())
    assert before == code_identity(__name__)
    monkeypatch.setattr(Part, "__module__", "slonik.text.batching")
    assert "slonik.text.batching" in code_of(Model()).parts and code_of(Model()) != before
    monkeypatch.setattr(Part, "__module__", "json")  # a package's own version says what it means
    assert code_of(Model()) == before
    assert __name__ in code_of(object(), __name__).parts
