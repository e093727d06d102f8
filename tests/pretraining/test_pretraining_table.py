"""The table of docs/pretraining.md: each row names a line of a file, and that line says what the row says.

`python -m tests.pretraining.test_pretraining_table` writes the line numbers anew after a file has changed.
"""

from __future__ import annotations

import re
from pathlib import Path

from slonik.models.fresh import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "pretraining.md"
_ROW = re.compile(
    r"^\| (?P<family>[^|]+) \| (?P<what>[^|]+) \| `(?P<file>[^`:]+):(?P<line>\d+)` \| `(?P<code>[^`]+)` \|$"
)


def rows() -> list[re.Match[str]]:
    """The rows of the table."""
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    return [found for line in lines if (found := _ROW.match(line))]


def line_of(file: str, code: str) -> int:
    """The number of the one line of `file` that has `code` in it."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    numbers = [number for number, line in enumerate(lines, start=1) if code in line]
    assert len(numbers) == 1, f"{file}: {code!r} is on lines {numbers}"
    return numbers[0]


def test_every_row_names_the_line_that_says_so() -> None:
    assert {row["family"].strip() for row in rows()} == set(FAMILIES)
    wrong = [f"{row['file']}:{row['line']}" for row in rows() if line_of(row["file"], row["code"]) != int(row["line"])]
    assert wrong == [], "run python -m tests.pretraining.test_pretraining_table"


if __name__ == "__main__":
    text = GUIDE.read_text(encoding="utf-8")
    for row in rows():
        now = line_of(row["file"], row["code"])
        text = text.replace(row[0], row[0].replace(f":{row['line']}`", f":{now}`", 1))
    GUIDE.write_text(text, encoding="utf-8")
