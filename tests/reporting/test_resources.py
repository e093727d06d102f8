"""Headlines and notes of a side-by-side measurement claim what the intervals bear, and no more."""

from __future__ import annotations

import pytest

from slonik.core.records import Record
from slonik.reporting.resources import headlines, level, resources_tables
from slonik.reporting.table import to_markdown


def _record(metric: str, value: float, low: float | None, high: float | None, runs: int = 3) -> Record:
    detail = {"against": "peer", "runs": [value] * runs, "threads": 1}
    return Record(
        suite="resources", task="batch_1", variant="torch", model="m", metric=metric, value=value, low=low, high=high,
        n=6, detail=detail,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        ((2.0, 1.9, 2.2), "2.00× [1.90×, 2.20×] faster at batch 1"),
        ((0.5, 0.4, 0.8), "2.00× [1.25×, 2.50×] slower at batch 1"),
        ((1.1, 0.9, 1.2), "1.10× [0.900×, 1.20×] the speed at batch 1, no sure difference"),
        ((0.85, 0.74, 1.01), "0.850× [0.740×, 1.01×] the speed at batch 1, no sure difference"),
        ((3.0, None, None), "3.00× faster at batch 1"),
    ],
)
def test_nothing_is_called_faster_where_the_interval_holds_one(
    ratio: tuple[float, float | None, float | None], expected: str
) -> None:
    assert headlines([_record("ratio", *ratio)]) == [f"m [torch] against peer: {expected}"]


def test_the_note_says_how_sure_an_interval_over_few_rounds_is() -> None:
    assert [level(runs) for runs in (2, 3, 5, 6, 20)] == ["50 %", "75 %", "94 %", "95 %", "95 %"]
    [table] = resources_tables([_record("ms_per_text", 5.0, 4.0, 6.0)])
    assert any("median of 3 rounds with its 75 % interval" in note for note in table.notes)
    [table] = resources_tables([_record("ms_per_text", 5.0, None, None, runs=1)])
    assert any("one round, no interval" in note for note in table.notes)


def test_a_clock_that_is_not_trusted_makes_no_headline() -> None:
    doubt = {"trusted": False, "warnings": ["the machine was busy"]}
    clock, processor = _record("ratio", 7.0, 1.8, 7.1), _record("cpu_ratio", 1.8, 1.7, 1.9)
    [line] = headlines([clock.model_copy(update={"detail": clock.detail | doubt}), processor])
    assert "7.0" not in line and "the speed at batch 1 is not to be trusted: the machine was busy" in line
    assert "1.80× [1.70×, 1.90×] less processor time" in line


def test_a_table_shows_no_ratio_that_is_not_trusted_but_says_why_and_what_the_processor_says() -> None:
    doubt = {"trusted": False, "warnings": ["the machine was busy"]}
    clock, processor = _record("ratio", 7.0, 1.8, 7.1), _record("cpu_ratio", 1.8, 1.7, 1.9)
    told = [clock.model_copy(update={"detail": clock.detail | doubt}), processor]
    [table] = resources_tables(told)
    assert "7.0" not in to_markdown(table) and "not to be trusted" in to_markdown(table)
    [note] = [note for note in table.notes if "the machine was busy" in note]
    assert "1.80× [1.70×, 1.90×] less processor time" in note
    [table] = resources_tables([clock, processor])
    assert "7.0" in to_markdown(table) and not any("trusted" in note for note in table.notes)
