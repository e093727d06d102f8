"""Lines, policies and writers: order kept, bad lines by number, files whole or absent, memory constant."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.runtime.stream import MAX_LINE_BYTES, encode_files, encode_stream, in_chunks, read_lines
from slonik.runtime.writers import JsonlWriter, NpyWriter, vector_file


class LengthEncoder:
    """Vectors that say which text they came from."""

    name = "length"
    dimension = 2

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {}

    def identity(self) -> str:
        return self.name


BAD = "раз\r\n\nдва\n".encode() + b"\xff\n" + b"a" * MAX_LINE_BYTES + b"\n   \n" + "три".encode()


def test_bad_lines_are_marked_with_their_number() -> None:
    lines = list(read_lines([io.BytesIO(BAD)]))
    assert [line.number for line in lines] == list(range(1, 8))
    assert [line.text for line in lines if line.error is None] == ["раз", "два", "три"]
    assert [line.error.split(" (")[0] for line in lines if line.error][:2] == ["empty", "not UTF-8"]
    assert f"{MAX_LINE_BYTES + 1:,} bytes long" in str(lines[4].error)
    assert sum(line.size for line in lines) == len(BAD)


def test_a_line_just_under_the_limit_is_good_and_numbers_go_on_over_files() -> None:
    lines = list(read_lines([io.BytesIO(b"a" * (MAX_LINE_BYTES - 1)), io.BytesIO(b"b\n")]))
    assert [(line.number, line.error) for line in lines] == [(1, None), (2, None)]


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    assert next(iter(read_lines([io.BytesIO(b"\xef\xbb\xbfslon\n")]))).text == "slon"

    lines = read_lines([io.BytesIO("один\n".encode()), io.BytesIO(b"\xef\xbb\xbfslon\n")])
    assert [line.text for line in lines] == ["один", "slon"]


@pytest.mark.parametrize("damage", ["cut", "noise", "not gzip"])
def test_a_damaged_file_is_one_sentence_and_leaves_no_output(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress("слон идёт домой\n".encode() * 20_000)
    noise = packed[:60] + bytes(byte ^ 255 for byte in packed[60:160]) + packed[160:]
    path = tmp_path / "texts.gz"
    path.write_bytes({"cut": packed[:-40], "noise": noise, "not gzip": b"plain text\n"}[damage])
    with (
        gzip.open(path, "rb") as stream,
        pytest.raises(SlonikError, match=r"cannot read .*texts\.gz"),
        vector_file(tmp_path / "v.npy", 2) as writer,
    ):
        encode_stream(LengthEncoder(), read_lines([stream]), writer)  # type: ignore[list-item]
    assert [found.name for found in tmp_path.iterdir()] == ["texts.gz"]


def test_chunks_are_limited_by_lines_and_by_bytes() -> None:
    lines = list(read_lines([io.BytesIO(b"ab\n" * 10)]))
    assert [len(chunk) for chunk in in_chunks(lines, most_lines=4)] == [4, 4, 2]
    assert [len(chunk) for chunk in in_chunks(lines, most_lines=100, most_bytes=6)] == [2] * 5


@pytest.mark.parametrize(("policy", "rows"), [("zero", 7), ("skip", 3)])
def test_policies_keep_the_order(tmp_path: Path, policy: str, rows: int) -> None:
    met = []
    with vector_file(tmp_path / "v.npy", 2) as writer:
        summary = encode_stream(
            LengthEncoder(), read_lines([io.BytesIO(BAD)]), writer, bad_lines=policy, on_bad=met.append  # type: ignore[arg-type]
        )  # fmt: skip
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (rows, 2)
    good = vectors[[0, 2, 6]] if policy == "zero" else vectors
    assert [chr(int(code)) for code in good[:, 1]] == ["р", "д", "т"]
    assert [line.number for line in met] == [2, 4, 5, 6]
    assert summary.bad == {"empty": 2, "not UTF-8": 1, "too long": 1}
    assert (summary.lines, summary.rows) == (7, rows)


def test_stop_names_the_line_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="line 2 is empty"), vector_file(tmp_path / "v.npy", 2) as writer:
        encode_stream(LengthEncoder(), read_lines([io.BytesIO(BAD)]), writer, bad_lines="stop")
    assert list(tmp_path.iterdir()) == []


def test_npy_of_many_chunks_opens_with_numpy(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
    with vector_file(tmp_path / "v.npy", 5) as writer:
        for start in range(0, 3000, 700):
            part = expected[start : start + 700]
            writer.write(part, range(len(part)), [None] * len(part))
    assert np.array_equal(np.load(tmp_path / "v.npy", mmap_mode="r"), expected)


def test_no_lines_give_an_empty_array() -> None:
    stream = io.BytesIO()
    NpyWriter(stream, 7).close()
    stream.seek(0)
    assert np.load(stream).shape == (0, 7)


def test_jsonl_gives_the_same_floats_back_and_names_errors() -> None:
    stream = io.StringIO()
    values = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    JsonlWriter(stream).write(values, [4, 5], [None, "empty"])
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert np.array_equal(np.array([row["embedding"] for row in rows], dtype=np.float32), values)
    assert [row["line"] for row in rows] == [4, 5]
    assert "error" not in rows[0]
    assert rows[1]["error"] == "empty"


def test_parquet_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with vector_file(tmp_path / "v.parquet", 2) as writer:
        encode_stream(LengthEncoder(), read_lines([io.BytesIO(BAD)]), writer)
    table = parquet.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["line", "embedding", "error"]
    assert table["line"].to_pylist() == list(range(1, 8))
    assert table["embedding"].to_pylist()[1] == [0.0, 0.0]
    assert table["error"].to_pylist()[1] == "empty"


def test_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"\.npy, \.parquet, \.jsonl"):
        vector_file(tmp_path / "v.csv", 2)


class Endless(io.RawIOBase):
    """`count` lines that never lie in memory together."""

    def __init__(self, count: int) -> None:
        self._left = count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            return 0
        self._left -= 1
        line = b"0123456789" * 10 + b"\n"
        buffer[: len(line)] = line
        return len(line)


def test_memory_does_not_grow_with_the_stream(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        stream = io.BufferedReader(Endless(count), buffer_size=1024)
        with vector_file(tmp_path / f"{count}.npy", 2) as writer:
            encode_stream(LengthEncoder(), read_lines([stream]), writer)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40_000) < peak(4_000) * 1.5


def test_files_plain_and_packed_become_one_file_of_vectors(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("раз\n\n".encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("четыре\n".encode()))
    met: list[int] = []
    files = [tmp_path / "a.txt", tmp_path / "b.txt.gz"]
    summary = encode_files(
        LengthEncoder(), files, tmp_path / "v.npy", bad_lines="skip", on_bad=lambda line: met.append(line.number)
    )
    assert (summary.lines, summary.rows, met) == (3, 2, [2])
    assert np.load(tmp_path / "v.npy")[:, 0].tolist() == [3, 6]
    for wrong in ({"bad_lines": "drop"}, {"kind": "npy"}):
        with pytest.raises(SlonikError, match=r"use zero, skip, stop|needs --out FILE"):
            encode_files(LengthEncoder(), files, None, **wrong)
    with pytest.raises(SlonikError, match=r"cannot read .*absent.txt"):
        encode_files(LengthEncoder(), [tmp_path / "absent.txt"], tmp_path / "w.npy")
    assert not (tmp_path / "w.npy").exists()
