"""Order of models over seeds, from records."""

from __future__ import annotations

from slonik.core.records import Record
from slonik.evaluation.seed_order import seed_orders
from slonik.reporting.scores import difference_tables, order_tables, score_tables


def _record(model: str, seeds: dict[str, float], data: str = "d") -> Record:
    value = sum(seeds.values()) / len(seeds)
    return Record(
        suite="russian_superglue", task="terra", model=model, metric="accuracy", value=value, low=value, high=value,
        detail={"seeds": seeds}, hashes={"data": data},
    )  # fmt: skip


GOOD = _record("good", {"0": 0.70, "1": 0.71, "2": 0.72})
POOR = _record("poor", {"0": 0.60, "1": 0.61, "2": 0.62})


def test_every_ordered_pair_has_a_record_and_the_better_model_dominates() -> None:
    found = {record.model: record for record in seed_orders([GOOD, POOR])}
    assert set(found) == {"good over poor", "poor over good"}
    assert found["good over poor"].value == 0 and found["poor over good"].value == 1
    assert found["good over poor"].detail["dominant"] and not found["poor over good"].detail["dominant"]


def test_other_data_and_too_few_seeds_are_left_out() -> None:
    assert seed_orders([GOOD, _record("other", {"0": 0.5, "1": 0.5, "2": 0.5}, data="e")]) == []
    assert seed_orders([GOOD, _record("two", {"0": 0.5, "1": 0.6})]) == []


def test_the_table_marks_the_better_and_other_tables_leave_orders_out() -> None:
    records = [GOOD, POOR, *seed_orders([GOOD, POOR])]
    (table,) = order_tables(records)
    assert [(row.cells[0].text, row.cells[1].text, row.cells[1].mark) for row in table.rows] == [
        ("good over poor", "0.00", "better"),
        ("poor over good", "1.00", ""),
    ]
    assert difference_tables(records) == []
    assert [row.cells[0].text for row in score_tables(records)[0].rows] == ["good", "poor"]
