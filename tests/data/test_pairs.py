"""Translation pairs: TSV and both gettext formats, what is left out, what is cleaned."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.pairs import clean_message, read_catalogue, read_pairs

PO = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3;\n"

# a comment
#: file.c:12
msgctxt "menu"
msgid "_Open file"
msgstr "_Открыть файл"

#, fuzzy
msgid "Fuzzy one"
msgstr "Неточный"

msgid "Not translated"
msgstr ""

msgid "Same"
msgstr "Same"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d файл"
msgstr[1] "%d файла"
msgstr[2] "%d файлов"

#, c-format
msgid ""
"A long <b>message</b>\n"
"with a \"quote\" & a slash \\"
msgstr ""
"Длинное <b>сообщение</b>\n"
"с \"кавычкой\" и чертой \\"

#~ msgid "Obsolete"
#~ msgstr "Устаревшее"
"""
EXPECTED = [
    ("Open file", "Открыть файл"),
    ("%d file", "%d файл"),
    ("%d files", "%d файлов"),
    ('A long message with a "quote" & a slash \\', 'Длинное сообщение с "кавычкой" и чертой \\'),
]


def compiled_catalogue(messages: dict[str, str], order: str = "<") -> bytes:
    """A compiled catalogue, written from the format's description."""
    count = len(messages)
    tables, strings, start = [], b"", 28 + 16 * count
    for column in (messages.keys(), messages.values()):
        for text in column:
            tables.append(struct.pack(f"{order}2I", len(text.encode()), start + len(strings)))
            strings += text.encode() + b"\x00"
    header = struct.pack(f"{order}7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    return header + b"".join(tables) + strings


def test_a_text_catalogue_gives_clean_pairs(tmp_path: Path) -> None:
    (tmp_path / "ru.po").write_text(PO)
    assert list(read_catalogue(tmp_path / "ru.po")) == EXPECTED


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_compiled_catalogue_gives_the_same_pairs(tmp_path: Path, order: str) -> None:
    messages = {
        "": "Content-Type: text/plain; charset=UTF-8\n",
        "menu\x04_Open file": "_Открыть файл",
        "Same": "Same",
        "%d file\x00%d files": "%d файл\x00%d файла\x00%d файлов",
    }
    (tmp_path / "ru.mo").write_bytes(compiled_catalogue(messages, order))
    assert list(read_catalogue(tmp_path / "ru.mo")) == EXPECTED[:3]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xde\x12\x04", b"plain", compiled_catalogue({"a b": "в г"})[:-9], compiled_catalogue({"a": "я"})[:30]],
)
def test_a_damaged_compiled_catalogue_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ru.mo").write_bytes(content)
    with pytest.raises(SlonikError, match=r"ru\.mo"):
        list(read_catalogue(tmp_path / "ru.mo"))


def test_a_file_that_is_no_text_catalogue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ru.po").write_text("msgid broken\n")
    with pytest.raises(SlonikError, match="line 1: not a line of a gettext catalogue"):
        list(read_catalogue(tmp_path / "ru.po"))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("_File", "File"),
        ("Save &As...", "Save As..."),
        ("Pri_nt", "Print"),
        ("my_long_name", "my_long_name"),
        ("Black &amp; white", "Black & white"),
        ("R&D", "R&D"),
        ("a < b and\n  c > d", "a < b and c > d"),
        ('<a href="x">Link</a> here', "Link here"),
    ],
)
def test_messages_read_as_a_person_reads_them(raw: str, clean: str) -> None:
    assert clean_message(raw) == clean


def test_tables_and_folders_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress("one\tодин\tsource\n\ntwo\tдва\n\tпусто\n".encode()))
    (tmp_path / "b.po").write_text(PO)
    assert list(read_pairs(tmp_path / "a.tsv.gz")) == [("one", "один"), ("two", "два")]
    assert list(read_pairs(tmp_path)) == [("one", "один"), ("two", "два"), *EXPECTED]


def test_bad_tables_of_pairs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\tодин\nno tab here\n")
    with pytest.raises(SlonikError, match="line 2: no tab"):
        list(read_pairs(tmp_path / "a.tsv"))
    (tmp_path / "a.tsv").write_text("\n")
    with pytest.raises(SlonikError, match="no translation pair"):
        read_pairs(tmp_path / "a.tsv")
    with pytest.raises(SlonikError, match="not found"):
        read_pairs(tmp_path / "absent.tsv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SlonikError, match="no translation pairs in"):
        read_pairs(tmp_path / "empty")
