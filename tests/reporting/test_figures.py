"""How figures are written."""

from __future__ import annotations

import pytest

from slonik.reporting import figures
from tests.reporting.records import record


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.score(0.82264), "0.8226"),
        (figures.score(-0.1), "−0.1000"),
        (figures.signed(0.00123), "+0.0012"),
        (figures.signed(-0.00001), "0.0000"),
        (figures.significant(28.84), "28.8"),
        (figures.significant(0.012345), "0.0123"),
        (figures.significant(12345), "12,300"),
        (figures.significant(9.999), "10.0"),
        (figures.significant(0), "0"),
        (figures.size(26_700_000).replace("\u2009", " "), "26.7 MB"),
        (figures.size(999).replace("\u2009", " "), "999 B"),
        (figures.count(117_653_760).replace("\u2009", " "), "118 M"),
        (figures.count(12), "12"),
        (figures.times(3.4159), "3.42×"),
        (figures.share(10, 2), "5.00× less"),
        (figures.share(2, 10), "5.00× more"),
        (figures.share(10, 10.01), "same"),
        (figures.share(0, 5), ""),
        (figures.duration(31.4), "31.4 s"),
        (figures.duration(750), "12.5 min"),
        (figures.duration(12700), "3.53 h"),
    ],
)
def test_figures_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_cells_carry_interval_doubt_and_absence() -> None:
    cell = figures.cell(record("sts", 0.8226, low=0.811, high=0.835))
    assert (cell.text, cell.spread, cell.mark) == ("0.8226", "[0.811, 0.835]", "")
    assert figures.cell(record("t", 5.0, metric="rps", detail={"warnings": ["short"]})).mark == "doubt"
    assert figures.cell(record("t", None)).mark == "absent"
    assert figures.cell(None).text == "–"
