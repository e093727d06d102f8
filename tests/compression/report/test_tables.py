"""Stages of a compression: sizes beside the first, the benchmark's average where there is one."""

from __future__ import annotations

from slonik.compression.report.tables import Stage, stages_table
from slonik.core.records import Record


def _record(task: str, metric: str, value: float, variant: str = "") -> Record:
    return Record(suite="s", task=task, variant=variant, model="m", metric=metric, value=value, n=10, seed=0)


def test_a_row_per_stage_with_bytes_against_the_first() -> None:
    stages = [
        Stage("the original", 118_000_000, 470_000_000, [_record("mean_s5", "mean", 0.785, "compatible")]),
        Stage("vocabulary trimmed", 35_000_000, 140_000_000, [
            _record("held_out", "agreement", 0.999), _record("mean_s5", "mean", 0.7, "fixed"),
            _record("mean_s5", "mean", 0.784, "compatible"),
        ]),
        Stage("the result, int8", None, 23_500_000),
    ]  # fmt: skip
    table = stages_table(stages)
    assert table.columns[-1] == "mean_s5"
    texts = [[cell.text.replace("\u2009", " ") for cell in line.cells[1:]] for line in table.rows]
    assert texts[1][:3] == ["35.0 M", "140 MB", "3.36× less"] and texts[1][4].startswith("0.784")
    assert texts[2][2] == "20.0× less" and texts[0][2] == texts[2][0]


def test_one_model_alone_makes_no_table() -> None:
    assert not stages_table([Stage("the original", 1, 4)]).rows
