"""How values are written."""

from __future__ import annotations

import pytest

from slonik.reporting import formatting
from tests.reporting.records import record


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.score(0.82264), "0.8226"),
        (formatting.score(-0.1), "−0.1000"),
        (formatting.signed(0.00123), "+0.0012"),
        (formatting.signed(-0.00001), "0.0000"),
        (formatting.significant(28.84), "28.8"),
        (formatting.significant(0.012345), "0.0123"),
        (formatting.significant(12345), "12,300"),
        (formatting.significant(9.999), "10.0"),
        (formatting.significant(0), "0"),
        (formatting.size(26_700_000).replace("\u2009", " "), "26.7 MB"),
        (formatting.size(999).replace("\u2009", " "), "999 B"),
        (formatting.count(117_653_760).replace("\u2009", " "), "118 M"),
        (formatting.count(12), "12"),
        (formatting.times(3.4159), "3.42×"),
        (formatting.share(10, 2), "5.00× less"),
        (formatting.share(2, 10), "5.00× more"),
        (formatting.share(10, 10.01), "same"),
        (formatting.share(0, 5), ""),
        (formatting.duration(31.4), "31.4 s"),
        (formatting.duration(750), "12.5 min"),
        (formatting.duration(12700), "3.53 h"),
    ],
)
def test_values_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_cells_carry_interval_warning_and_absence() -> None:
    cell = formatting.cell(record("sts", 0.8226, low=0.811, high=0.835))
    assert (cell.text, cell.spread, cell.mark) == ("0.8226", "[0.811, 0.835]", "")
    assert formatting.cell(record("t", 5.0, metric="rps", detail={"warnings": ["short"]})).mark == "warning"
    assert formatting.cell(record("t", None)).mark == "absent"
    assert formatting.cell(None).text == "–"


def test_differences_and_ratios_are_marked_where_the_interval_leaves_out_no_change() -> None:
    worse = formatting.difference_cell(record("sts", -0.01, metric="f1_difference", low=-0.02, high=-0.001))
    assert (worse.text, worse.spread, worse.mark) == ("−0.0100", "[−0.0200, −0.0010]", "worse")
    assert formatting.difference_cell(record("sts", 0.01, metric="difference", low=-0.02, high=0.04)).mark == ""
    faster = formatting.difference_cell(record("batch_1", 2.0, metric="ratio", low=1.5, high=2.5), zero=1)
    assert (faster.text, faster.mark) == ("2.00×", "better")
