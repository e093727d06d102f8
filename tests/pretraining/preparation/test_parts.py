"""Parts together are the corpus: cut at line ends and blank lines, gathered from small files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.documents import Border, read_documents
from slonik.pretraining.preparation.parts import find_parts, read_part
from tests import tiny

LINES = [f"{text} Глава {n}." for n in range(2) for text in tiny.TEXTS[:15]]
BLANK = "".join(f"{line}\n" + (" \t\n" if number % 3 == 2 else "") for number, line in enumerate(LINES))


def _read(path: Path, border: Border, part_bytes: int) -> tuple[int, list[tuple[str, str]]]:
    parts = find_parts((str(path),), border=border, part_bytes=part_bytes)
    documents = [found for part in parts for found in read_part(part, column=None, border=border)]
    return len(parts), [(found.text, found.source) for found in documents]


@pytest.mark.parametrize("part_bytes", [300, 1000, 1 << 30])
@pytest.mark.parametrize(
    ("name", "content", "border", "several"),
    [
        ("lines.txt", "\n".join(LINES), "line", True),
        ("dos.txt", "\r\n".join(LINES), "line", True),
        ("blank.txt", BLANK, "blank", True),
        ("groups.txt", BLANK, 4, False),
        ("rows.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in LINES), "line", True),
        ("packed.txt.gz", "\n".join(LINES), "line", False),
        ("table.tsv", "text\tx\n" + "".join(f"{line}\t1\n" for line in LINES), "line", False),
    ],
)
def test_parts_together_are_the_file(
    name: str, content: str, border: Border, several: bool, part_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    parts, found = _read(path, border, part_bytes)
    assert found == [(document.text, document.source) for document in read_documents(path, border=border)]
    assert (parts > 1) == (several and part_bytes < 1 << 30)


def test_small_files_share_a_part_and_a_table_of_ranges_is_kept_with_its_file(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("\n".join(LINES[:10]), encoding="utf-8")
    (tmp_path / "2.ranges.tsv").write_text("source\tfirst_line\tlast_line\nкнига\t2\t4\n", encoding="utf-8")
    size = (tmp_path / "0.txt").stat().st_size
    parts = find_parts((str(tmp_path),), part_bytes=2 * size)
    assert [len(part.pieces) for part in parts] == [2, 2, 2]
    sources = [found.source for part in parts for found in read_part(part, column=None, border="line")]
    assert sources.count("книга") == 3 and len(sources) == 60


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="corpus not found"):
        find_parts((str(tmp_path / "none.txt"),))
    with pytest.raises(SlonikError, match="no text file in memory://nothing"):
        find_parts(("memory://nothing",))
    with pytest.raises(SlonikError, match="nosuch"):
        find_parts(("nosuch://bucket/x",))
