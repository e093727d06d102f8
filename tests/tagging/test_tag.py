"""Streams of texts: order and ids kept, bad lines keep their place, memory does not grow with the input."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Document, Span
from slonik.tagging.tag import MAX_LINE_BYTES, Item, read_items, tag, tag_files, tag_items
from tests.data.annotations.samples import AWKWARD, write_pair


class FirstWord:
    """Marks the first word of each text; remembers how many texts a call had."""

    name = "first"
    labels = ("WORD",)

    def __init__(self) -> None:
        self.calls: list[int] = []

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        self.calls.append(len(texts))
        return [[Span(0, len(text.split()[0]), "WORD", 0.5)] if text.split() else [] for text in texts]

    def describe(self) -> dict[str, Any]:
        return {}


def items(content: bytes, kind: str | None = None) -> list[Item]:
    return list(read_items([], io.BytesIO(content), kind))


def test_lines_are_texts_and_empty_ones_keep_their_place() -> None:
    found = items("раз\r\n\nтри\u00a0слова тут".encode())
    assert [item.document.text for item in found] == ["раз", "", "три\u00a0слова тут"]
    assert [item.document.id for item in found] == ["1", "2", "3"]


def test_jsonl_is_recognised_and_its_fields_go_through() -> None:
    rows = [{"id": "a7", "text": AWKWARD, "url": "x"}, {"text": "два", "spans": [{"start": 0}]}]
    found = items("".join(json.dumps(row) + "\n" for row in rows).encode())
    assert [item.document.id for item in found] == ["a7", "2"]
    assert found[0].document.text == AWKWARD and found[0].extra == {"url": "x"} and found[1].extra == {}


def test_bad_lines_are_named_and_kept_as_empty_texts() -> None:
    found = items(b'{"text": "\xd1\x82"}\n{"text": 5}\nnonsense\n\xff\n{"text": "ok"}\n', "jsonl")
    assert [item.document.text for item in found] == ["т", "", "", "", "ok"]
    errors = [item.error for item in found]
    assert errors[0] is None and errors[4] is None
    assert "line 2: no text" in str(errors[1]) and "line 3: not JSON" in str(errors[2])
    assert "line 4: not UTF-8 (byte 1)" in str(errors[3])


def test_each_of_several_files_may_begin_with_a_byte_order_mark_and_names_its_own_lines(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "\xd1\x82"}\nnonsense\n')
        (tmp_path / f"{name}.txt").write_bytes("\ufeffТула\n".encode())
    found = list(read_items(sorted(tmp_path.iterdir()), io.BytesIO(), None))
    assert [item.document.text for item in found] == ["т", "", "Тула", "т", "", "Тула"]
    assert [item.document.id for item in found] == ["1", "2", "3", "4", "5", "6"]
    assert str(found[4].error).endswith("b.jsonl, line 2: not JSON")


def test_a_line_without_end_is_refused_and_what_follows_is_read() -> None:
    class Endless(io.RawIOBase):
        """A long line, then a short one, made as they are read."""

        def __init__(self) -> None:
            self.left = 3 * MAX_LINE_BYTES

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if self.left == 0:
                return 0
            size = min(len(buffer), self.left)
            buffer[:size] = b"a" * size
            self.left -= size
            if self.left == 0:
                buffer[size - 5 : size] = b"\nlast"
            return size

    found = list(read_items([], io.BufferedReader(Endless(), 1 << 20)))  # type: ignore[arg-type]
    assert "longer than" in str(found[0].error) and found[1].document.text == "last" and len(found) == 2


def test_files_folders_and_packed_files_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("один\nдва\n", encoding="utf-8")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write('{"text": "три"}\n')
    write_pair(tmp_path / "brat", "x", AWKWARD, "")
    (tmp_path / "brat" / "y.txt").write_text("без разметки", encoding="utf-8")
    paths = [tmp_path / "a.txt", tmp_path / "b.jsonl.gz", tmp_path / "brat"]
    found = [(item.document.id, item.document.text) for item in read_items(paths, io.BytesIO())]
    assert found == [("1", "один"), ("2", "два"), ("3", "три"), ("x", AWKWARD), ("y", "без разметки")]


def test_missing_and_damaged_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="cannot read"):
        list(read_items([tmp_path / "none.txt"], io.BytesIO()))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:30])
    with pytest.raises(SlonikError, match=r"cannot read .*a\.jsonl\.gz"):
        list(read_items([tmp_path / "a.jsonl.gz"], io.BytesIO()))
    with pytest.raises(SlonikError, match="--from is 'xml'"):
        list(read_items([], io.BytesIO(b"a"), "xml"))


def test_a_file_in_utf_16_is_refused_whole(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        (tmp_path / "a.txt").write_bytes("\ufeffВирус\nТула\n".encode(encoding))
        with pytest.raises(SlonikError, match=r"a.txt is UTF-16, not UTF-8: convert it with iconv -f utf-16"):
            list(read_items([tmp_path / "a.txt"], io.BytesIO()))
        with pytest.raises(SlonikError, match="standard input is UTF-16"):
            list(read_items([], io.BytesIO((tmp_path / "a.txt").read_bytes())))


def test_tagging_keeps_order_and_reads_no_further_than_it_writes() -> None:
    tagger = FirstWord()
    read = 0

    def source() -> Iterator[Item]:
        nonlocal read
        for item in read_items([], io.BytesIO("слово и ещё\n".encode() * 1000)):
            read += 1
            yield item

    most = 0
    for written, item in enumerate(tag_items(tagger, source()), start=1):
        assert item.document.id == str(written) and item.document.spans == (Span(0, 5, "WORD"),)
        most = max(most, read - written)
    assert written == 1000 and most <= 32 and max(tagger.calls) <= 32


def test_long_texts_go_in_small_batches() -> None:
    tagger = FirstWord()
    source = read_items([], io.BytesIO(("а" * 50_000 + "\n").encode() * 6))
    assert len(list(tag_items(tagger, source))) == 6 and max(tagger.calls) == 2


def test_texts_documents_and_files_are_tagged_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("третий текст\n\n", encoding="utf-8")
    found = tag(FirstWord(), ["один два", Document("b7", "второй"), tmp_path / "a.txt"])
    assert [(one.id, one.text) for one in found] == [
        ("1", "один два"), ("b7", "второй"), ("1", "третий текст"), ("2", ""),
    ]  # fmt: skip
    assert [one.spans for one in found][:3] == [(Span(0, length, "WORD"),) for length in (4, 6, 6)]
    assert found[0].spans[0].confidence == 0.5 and found[3].spans == ()
    assert tag(FirstWord(), "один") == tag(FirstWord(), iter(["один"]))
    (tmp_path / "b.jsonl").write_text("не JSON\n", encoding="utf-8")
    with pytest.raises(SlonikError, match=r"b\.jsonl, line 1: not JSON"):
        tag(FirstWord(), tmp_path / "b.jsonl")


def test_files_are_tagged_into_a_file_that_is_whole_or_absent(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("раз два\n\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "\xd1\x82", "n": 1}\nbad\n')
    bad: list[str] = []
    out = tmp_path / "out.jsonl"
    found = tag_files(FirstWord(), [tmp_path / "a.txt", tmp_path / "b.jsonl"], out, on_bad=bad.append)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["раз два", "", "т", ""] and rows[2]["n"] == 1
    assert (found.texts, found.labels["WORD"], found.empty, found.bad) == (4, 2, 1, 1)
    assert bad == [f"{tmp_path / 'b.jsonl'}, line 2: not JSON"] == [rows[3]["error"]]
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:30])
    with pytest.raises(SlonikError, match="cannot read"):
        tag_files(FirstWord(), [tmp_path / "c.jsonl.gz"], tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()
