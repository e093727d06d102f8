"""Documents of corpora: borders, sources, errors before any work."""

from __future__ import annotations

import gzip
import json
import sys
import types
from pathlib import Path

import pytest

from slonik.core.errors import MissingExtra, SlonikError
from slonik.data import documents
from slonik.data.documents import CorpusDocument, parse_hub_name, read_documents


def _write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_lines_blank_lines_and_numbers_of_lines_end_documents(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt.gz", "раз\nдва\n\n\nтри\nчетыре\nпять\n")
    assert [d.text for d in read_documents(path)] == ["раз", "два", "три", "четыре", "пять"]
    assert [d.text for d in read_documents(path, border="blank")] == ["раз\nдва", "три\nчетыре\nпять"]
    assert [d.text for d in read_documents(path, border=2)] == ["раз\nдва", "три\nчетыре", "пять"]
    assert {d.source for d in read_documents(path)} == {"a.txt.gz"}


def test_verse_in_a_plain_file_keeps_its_indentation_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "verse.txt"
    path.write_text("\n\nраз\n    два \n\n  три\nчетыре\n\n", encoding="utf-8")

    def read(border: int | str) -> list[str]:
        return [document.text for document in read_documents(path, border=border, keep_whitespace=True)]

    assert read("blank") == ["раз\n    два", "  три\nчетыре"]
    assert read(4) == ["раз\n    два\n\n  три", "четыре\n"]
    assert read("line") == ["раз", "    два", "  три", "четыре"]
    assert [d.text for d in read_documents(path, border=4)] == ["раз\nдва\nтри\nчетыре"]


def test_ranges_beside_a_file_name_sources_and_end_documents(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.txt", "a1\na2\nb1\nb2\nrest\n")
    (tmp_path / "c.ranges.tsv").write_text("source\tfirst_line\tlast_line\nfirst\t1\t2\nsecond\t3\t4\n")
    found = list(read_documents(path, border=3))
    assert found == [
        CorpusDocument("a1\na2", "first"), CorpusDocument("b1\nb2", "second"), CorpusDocument("rest", "c.txt")
    ]  # fmt: skip
    (tmp_path / "c.ranges.tsv").write_text("name\tfrom\n")
    (tmp_path / "c.ranges.tsv").write_text("source\tfirst_line\tlast_line\nx\tone\t2\n")
    with pytest.raises(SlonikError, match="not a table of ranges"):
        list(read_documents(path))


def test_records_are_documents_whatever_the_border(tmp_path: Path) -> None:
    rows = [{"text": "первый\nабзац"}, {"text": "второй"}]
    path = _write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    empty = _write(tmp_path / "b.jsonl", "")
    found = list(read_documents([path, empty], border="blank"))
    assert [d.text for d in found] == ["первый\nабзац", "второй"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the corpus is empty"),
        (b"\n \n", "the corpus is empty"),
        ("привет".encode("cp1251"), "not UTF-8"),
        (b"a\x00b\n", "NUL byte"),
    ],
)
def test_bad_files_are_refused_at_the_call(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(SlonikError, match=sentence):
        read_documents(path)


def test_a_document_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_CHARACTERS", 100)
    fits, long = "слон " * 19, "мышь " * 30
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": fits}) + "\n" + json.dumps({"text": long}) + "\n")
    (tmp_path / "line.txt").write_text(f"{fits}\n{long}\n", encoding="utf-8")
    (tmp_path / "lines.txt").write_text("слон\n" * 40, encoding="utf-8")
    for name, border in (("long.jsonl", "line"), ("line.txt", "line"), ("lines.txt", "blank")):
        with pytest.raises(SlonikError, match=rf"a document of {name} .* has more than 100 characters.*border"):
            list(read_documents(tmp_path / name, border=border))
    assert len(list(read_documents(tmp_path / "lines.txt", border=20))) == 2


def test_unknown_border_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="documents end at 'page'"):
        read_documents(tmp_path, border="page")
    with pytest.raises(SlonikError, match="corpus not found"):
        read_documents(tmp_path / "none.txt")


def test_hub_names() -> None:
    assert parse_hub_name("hub:a/b") == ("a/b", None, "train")
    assert parse_hub_name("hub:a/b:test") == ("a/b", None, "test")
    assert parse_hub_name("hub:a/b:ru:test") == ("a/b", "ru", "test")
    with pytest.raises(SlonikError, match="is not of the form"):
        parse_hub_name("hub:a/b:")


def test_hub_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"slonik\[hub\]"):
        read_documents("hub:a/b")


def test_hub_rows_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    stand_in = types.ModuleType("datasets")

    def load_dataset(*names: object, **options: object) -> list[dict[str, str]]:
        asked.append((names, options))
        return [{"text": " один "}, {"text": ""}, {"text": "два"}]

    stand_in.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    assert [d.text for d in read_documents("hub:a/b:dev")] == ["один", "два"]
    assert asked == [(("a/b", None), {"split": "dev", "streaming": True})]
    with pytest.raises(SlonikError, match="no field 'body'"):
        read_documents("hub:a/b", column="body")
