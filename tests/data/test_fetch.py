"""Fetching benchmark data: pins, atomicity, unsafe archives, offline sentences; a local server, no network."""

from __future__ import annotations

import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes
from slonik.data import fetch as fetching
from slonik.data.fetch import Source, fetch, locate, sources
from slonik.evaluation.russian_superglue.tasks import TASKS

CONTENT = "text,label\nпример,1\n".encode()


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Base URL of a local server, and the files that it serves."""
    files: dict[str, bytes] = {"a.csv": CONTENT}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.strip("/"))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    server.server_close()


def _table(monkeypatch: pytest.MonkeyPatch, *rows: Source) -> None:
    monkeypatch.setattr(fetching, "sources", lambda: {"toy": rows})


def _source(url: str, file: str = "a.csv", sha256: str | None = None) -> Source:
    return Source("toy", file, f"{url}/{file.strip('()')}", "0", sha256, "MIT")


def _zip(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _visible(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pinned_file_is_downloaded_checked_and_then_left_alone(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    _table(monkeypatch, _source(url, sha256=sha256_bytes(CONTENT)))
    assert [result.status for result in fetch("toy", tmp_path)] == ["downloaded"]
    assert (tmp_path / "toy" / "a.csv").read_bytes() == CONTENT
    files.clear()
    assert [result.status for result in fetch("toy", tmp_path)] == ["present"]
    assert locate("toy", "a.csv", tmp_path).is_original
    assert _visible(tmp_path) == {"toy/a.csv"}


def test_a_download_with_a_wrong_hash_is_not_kept(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _table(monkeypatch, _source(served[0], sha256="0" * 64))
    with pytest.raises(SlonikError, match="expected 0000"):
        fetch("toy", tmp_path)
    assert _visible(tmp_path) == set()


def test_an_unknown_hash_is_pinned_at_the_first_download(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    _table(monkeypatch, _source(url))
    assert fetch("toy", tmp_path)[0].pinned_now
    assert json.loads((tmp_path / "toy" / "pins.json").read_text())["a.csv"]["sha256"] == sha256_bytes(CONTENT)
    (tmp_path / "toy" / "a.csv").unlink()
    files["a.csv"] = b"changed behind our back"
    with pytest.raises(SlonikError, match="expected"):
        fetch("toy", tmp_path)


def test_a_local_file_with_another_hash_is_kept_and_reported(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _table(monkeypatch, _source(served[0], sha256=sha256_bytes(CONTENT)))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.csv").write_bytes(b"mine")
    assert fetch("toy", tmp_path)[0].status == "other"
    assert (tmp_path / "toy" / "a.csv").read_bytes() == b"mine"
    assert not locate("toy", "a.csv", tmp_path).is_original


def test_offline_the_sentence_names_the_file_the_url_and_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    source = _source("http://127.0.0.1:9")
    _table(monkeypatch, source)
    with pytest.raises(SlonikError) as error:
        fetch("toy", tmp_path)
    for part in ("a.csv", source.url, str(tmp_path / "toy")):
        assert part in str(error.value)
    with pytest.raises(SlonikError) as missing:
        locate("toy", "a.csv", tmp_path)
    for part in ("a.csv", source.url, str(tmp_path / "toy"), f"`slonik fetch toy --data-dir {tmp_path}`"):
        assert part in str(missing.value)
    monkeypatch.setenv("SLONIK_DATA", str(tmp_path))
    with pytest.raises(SlonikError, match="`slonik fetch toy`"):
        locate("toy", "a.csv", tmp_path)


def test_a_file_that_the_server_lacks_is_one_sentence(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _table(monkeypatch, _source(served[0], file="b.csv"))
    with pytest.raises(SlonikError, match="404"):
        fetch("toy", tmp_path)


def test_an_archive_loses_its_top_folder_and_its_litter(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    files["all"] = _zip({"top/TERRa/train.jsonl": b"{}", "top/x/.DS_Store": b"", "__MACOSX/top/._x": b""})
    _table(monkeypatch, _source(url, file="(all)"))
    assert fetch("toy", tmp_path)[0].pinned_now
    assert _visible(tmp_path / "toy") == {"TERRa/train.jsonl", "pins.json"}
    assert fetch("toy", tmp_path)[0].status == "present"


@pytest.mark.parametrize("name", ["../evil", "/evil", "top/../../evil", "c:\\evil"])
def test_an_archive_that_points_outside_is_refused_whole(
    name: str, served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    files["all"] = _zip({"top/good": b"1", name: b"2"})
    _table(monkeypatch, _source(url, file="(all)"))
    with pytest.raises(SlonikError, match="unsafe"):
        fetch("toy", tmp_path / "data")
    assert _visible(tmp_path) == set()


def test_a_link_in_an_archive_is_refused(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        link = zipfile.ZipInfo("top/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    files["all"] = stream.getvalue()
    _table(monkeypatch, _source(url, file="(all)"))
    with pytest.raises(SlonikError, match="unsafe"):
        fetch("toy", tmp_path)


def test_a_damaged_archive_is_one_sentence(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    files["all"] = _zip({"top/a": b"1" * 1000})[:-40]
    _table(monkeypatch, _source(url, file="(all)"))
    with pytest.raises(SlonikError, match="not a sound zip"):
        fetch("toy", tmp_path)


def test_an_archive_per_task_goes_to_a_folder_of_its_own(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = served
    for name in ("TERRa", "RCB"):
        files[name] = _zip({f"{name}/train.jsonl": b"{}", f"__MACOSX/{name}/._train.jsonl": b"x"})
    rows = [_source(url, file=f"({name}/)", sha256=sha256_bytes(files[name])) for name in ("TERRa", "RCB")]
    _table(monkeypatch, *rows)
    assert [result.status for result in fetch("toy", tmp_path)] == ["downloaded", "downloaded"]
    assert _visible(tmp_path) == {"toy/TERRa/train.jsonl", "toy/RCB/train.jsonl", "toy/pins.json"}
    files.clear()
    assert [result.status for result in fetch("toy", tmp_path)] == ["present", "present"]
    (tmp_path / "toy" / "RCB" / "train.jsonl").unlink()
    with pytest.raises(SlonikError, match=r"put its content into .*toy.RCB"):
        fetch("toy", tmp_path)


def test_russian_superglue_has_nine_pinned_archives() -> None:
    rows = sources()["russian_superglue"]
    assert {row.subfolder for row in rows} == {task.name for task in TASKS.values()}
    pinned = {row.subfolder: row.sha256 for row in rows}
    assert pinned == {task.name: task.sha256 for task in TASKS.values()}
    assert all(row.commit in row.url and row.licence == "MIT" for row in rows)


def test_the_table_names_every_suite_and_pins_encodechka() -> None:
    assert set(sources()) == {"encodechka", "rusenteval", "ud", "seccoll", "nerel", "morocco", "russian_superglue"}
    assert len(sources()["encodechka"]) == 14
    assert all(len(row.sha256 or "") == 64 for row in sources()["encodechka"])
    assert all(row.url.startswith("https://") for rows in sources().values() for row in rows)


def test_an_unknown_suite_is_named_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="did you mean 'encodechka'"):
        fetch("encodeckha", tmp_path)


@pytest.mark.shared_data
def test_the_development_files_have_the_published_hashes(shared_data: Path) -> None:
    for source in sources()["encodechka"]:
        if (shared_data / "encodechka" / source.file).exists():
            assert locate("encodechka", source.file, shared_data).is_original, source.file
