"""Readers: every format gives the same texts, and every broken file gives one sentence that names the place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from slonik.core import identity
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.data import readers
from slonik.data.documents import read_documents
from slonik.data.readers import check_files, corpus_files, read_texts
from slonik.text.lines import guess_encoding, numbered_lines

TEXTS = ["Маленький слон идёт по лесу.", 'Кавычки "внутри", запятая', "Tab-free line", "Да."]


def _write(folder: Path, name: str) -> Path:
    path = folder / name
    lines = {
        "jsonl": [json.dumps({"text": text, "id": 1}, ensure_ascii=False) for text in TEXTS],
        "tsv": ["id\ttext", *(f"1\t{text}" for text in TEXTS)],
        "csv": ["id,text", *('1,"{}"'.format(text.replace('"', '""')) for text in TEXTS)],
        "txt": TEXTS,
    }[name.removesuffix(".gz").rpartition(".")[2]]
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz", "a.tsv", "a.csv", "a.csv.gz"])
def test_every_format_gives_the_same_texts(tmp_path: Path, name: str) -> None:
    assert list(read_texts(_write(tmp_path, name))) == TEXTS


def test_parquet_gives_the_same_texts(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"id": [1, 2, 3, 4, 5], "text": [*TEXTS, None]}), tmp_path / "a.parquet")
    assert list(read_texts(tmp_path / "a.parquet")) == TEXTS
    with pytest.raises(SlonikError, match="no column 'body'"):
        list(read_texts(tmp_path / "a.parquet", column="body"))
    with pytest.raises(SlonikError, match="holds int values"):
        list(read_texts(tmp_path / "a.parquet", column="id"))
    (tmp_path / "b.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(SlonikError, match="not a readable Parquet file"):
        list(read_texts(tmp_path / "b.parquet"))


def test_a_column_of_plain_text_alone_is_refused(tmp_path: Path) -> None:
    plain, records = _write(tmp_path, "a.txt"), _write(tmp_path, "b.jsonl.gz")
    for read in (read_texts, read_documents):
        with pytest.raises(SlonikError, match=r"--column is 'text', and .*a\.txt, plain text, has no columns"):
            read(plain, column="text")
        assert len(list(read([plain, records], column="text"))) == 2 * len(TEXTS), "one of them has columns"


def test_folders_and_several_files_are_read_in_order(tmp_path: Path) -> None:
    _write(tmp_path, "b.txt"), _write(tmp_path, "a.jsonl")
    (tmp_path / "notes.md").write_text("not a corpus")
    assert [path.name for path in corpus_files(tmp_path)] == ["a.jsonl", "b.txt"]
    assert list(read_texts([tmp_path / "b.txt", tmp_path])) == TEXTS * 3


def test_blank_lines_bom_and_crlf_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffпервая\r\n\r\n  \r\nвторая\u2028не строка\r\n".encode())
    assert list(read_texts(tmp_path / "a.txt")) == ["первая", "вторая\u2028не строка"]


def test_a_column_is_found_by_number_and_the_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\tодин\ntwo\tдва\n")
    assert list(read_texts(tmp_path / "a.tsv", column=1)) == ["один", "два"]
    with pytest.raises(SlonikError, match=r"no column 'text' in the header \(one, один\)"):
        read_texts(tmp_path / "a.tsv")
    with pytest.raises(SlonikError, match="line 1: no column 7"):
        read_texts(tmp_path / "a.tsv", column="7")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "хорошо\n".encode() + "привет, слон".encode("cp1251"), r"line 2: not UTF-8 .*cp1251: .*iconv"),
        ("a.txt", "Как вы поживаете".encode("koi8-r"), "line 1: .*koi8-r"),
        ("a.txt", "Как вы поживаете".encode("cp866"), "line 1: .*cp866"),
        ("a.txt", "Привет".encode("utf-16"), "line 1: .*utf-16"),
        ("a.txt", b"\xff\x00\xd8 jpeg?", "line 1: .*NUL byte"),
        ("a.txt", "да\n\nнет\x00да".encode(), "line 3: .*NUL byte"),
        ("a.txt", b"ok\n\xfa\xfb\xfc\xfd", r"line 2: not UTF-8 \(byte 0xFA\)"),
        ("a.txt", b"", "the corpus is empty"),
        ("a.txt", b"\n  \n\n", "the corpus is empty"),
        ("a.txt.gz", b"plain text", "not a whole gzip file"),
        ("a.txt.gz", gzip.compress(bytes(range(1, 128)) * 999)[:-40], "not a whole gzip file"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "line 2: not JSON"),
        ("a.jsonl", b'{"body": "a", "id": 2}', r"no text in the field 'text' \(.*fields: body, id"),
        ("a.jsonl", b"[1]", "the line has a list"),
    ],
)
def test_a_broken_corpus_gives_one_sentence_with_the_place(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlonikError, match=words) as caught:
        list(read_texts(tmp_path / name))
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_missing_and_unknown_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"corpus not found: .*absent\.txt"):
        read_texts(tmp_path / "absent.txt")
    with pytest.raises(SlonikError, match="no text file in"):
        read_texts(tmp_path)
    with pytest.raises(SlonikError, match="no corpus file given"):
        read_texts([])


def test_one_endless_line_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"first\n" + b"a" * 5_000_000)
    lines = numbered_lines(path, max_line_bytes=1_000_000)
    assert next(lines) == (1, "first")
    with pytest.raises(SlonikError, match="line 2: longer than 1,000,000 bytes"):
        next(lines)


def test_the_encoding_guess_knows_russian() -> None:
    text = "Съешь же ещё этих мягких французских булок, да выпей чаю"
    for encoding in ("cp1251", "koi8_r", "cp866", "iso8859_5"):
        assert guess_encoding(text.encode(encoding)) == encoding
    for encoding in ("utf-16", "utf-32"):
        assert guess_encoding(text.encode(encoding)) == encoding
    assert guess_encoding(text.encode("utf-16-le")) == "utf-16le"
    assert guess_encoding(text.encode("utf-16-be")) == "utf-16be"
    assert guess_encoding(bytes(range(128, 256))) is None


@pytest.mark.shared_data
def test_the_real_corpus_is_read_whole(shared_data: Path) -> None:
    texts = read_texts(shared_data / "corpora" / "infosec_ru.txt.gz")
    assert sum(1 for _ in texts) == 20_480


def test_every_line_is_looked_at_before_work_begins(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.jsonl"
    good.write_text("Слон.\n" * 600, encoding="utf-8")
    bad.write_bytes(b'{"text": "a"}\n' * 600 + b'{"text": "\x00"}\n')
    check_files([good])
    with pytest.raises(SlonikError, match=r"bad\.jsonl, line 601: holds a NUL byte"):
        check_files(tmp_path)


def test_a_large_file_that_was_right_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def lines(path: Path) -> Iterator[tuple[int, str]]:
        read.append(path.name)
        return numbered_lines(path)

    monkeypatch.setattr(readers, "numbered_lines", lines)
    monkeypatch.setattr(identity, "RACY_NS", 0)
    monkeypatch.setattr(identity, "LARGE_BYTES", 100)
    for name in ("large", "small"):
        (tmp_path / f"{name}.txt").write_text("Слон.\n" * (50 if name == "large" else 2), encoding="utf-8")
    check_files(tmp_path)
    check_files(tmp_path)
    assert read == ["large.txt", "small.txt", "small.txt"]
    with open(tmp_path / "large.txt", "ab") as stream:
        stream.write(b"\x00\n")
    for _ in range(2):  # what is wrong is not remembered as right
        with pytest.raises(SlonikError, match="holds a NUL byte"):
            check_files(tmp_path)
    kept = identity.file_identity(tmp_path / "large.txt")
    assert kept == sha256_file(tmp_path / "large.txt")
