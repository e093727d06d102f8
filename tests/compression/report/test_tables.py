"""Stages of a compression: sizes beside the first, the benchmark's average where there is one."""

from __future__ import annotations

from slonik.compression.report.page import CompressionFacts, compression_page
from slonik.compression.report.tables import Names, Stage, cost_table, stages_table, verdict
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


def _speeds(model: str, ms: float, cpu: float, /, **ratios: Record) -> list[Record]:
    def record(metric: str, value: float) -> Record:
        return Record(suite="resources", task="batch_1", variant="torch", model=model, metric=metric, value=value)

    return [record("ms_per_text", ms), record("cpu_ms_per_text", cpu), *ratios.values()]


def _ratio(metric: str, value: float, low: float, high: float, doubt: str = "") -> Record:
    return Record(
        suite="resources", task="batch_1", variant="torch", model="s", metric=metric, value=value, low=low, high=high,
        detail={"against": "t"} | ({"trusted": False, "warnings": [doubt]} if doubt else {}),
    )  # fmt: skip


def test_on_a_loaded_machine_the_processors_time_is_told_and_never_the_clock() -> None:
    before = _speeds("t", 126.4, 18.0)
    after = _speeds(
        "s", 18.0, 10.0, clock=_ratio("ratio", 7.02, 1.7, 7.1, "the rounds disagree"),
        cpu=_ratio("cpu_ratio", 1.8, 1.7, 1.9),
    )  # fmt: skip
    told = verdict(before, after, [])
    assert "1.80 times less processor time at batch 1 (not by the clock: the rounds disagree)" in told
    table = cost_table(before, after, Names("t", "s"))
    changes = {line.cells[0].text: line.cells[3].text for line in table.rows}
    assert changes["ms per text, batch 1"] == "not to be trusted"
    assert changes["– of the processor's time"] == "1.80× less"
    assert any("not to be trusted" in note for note in table.notes)
    assert "7.0" not in told + compression_page(before, after, CompressionFacts("t", "s")).split("</style>")[-1]


def test_paired_ratios_and_their_intervals_make_the_change() -> None:
    before = _speeds("t", 20.0, 20.0)
    after = _speeds("s", 12.0, 10.0, clock=_ratio("ratio", 1.9, 1.8, 2.0), cpu=_ratio("cpu_ratio", 1.0, 0.9, 1.1))
    [clock, processor] = cost_table(before, after, Names("t", "s")).rows
    assert (clock.cells[3].text, clock.cells[3].spread) == ("1.90× less", "[1.80×, 2.00×]")
    assert processor.cells[3].text == "no sure difference" and processor.cells[3].mark == ""
    assert "1.90 times faster at batch 1" in verdict(before, after, [])
    same = _speeds("s", 21.0, 21.0, clock=_ratio("ratio", 0.98, 0.95, 1.01), cpu=_ratio("cpu_ratio", 1.0, 0.9, 1.1))
    assert "faster" not in verdict(before, same, [])
    unknown = _ratio("cpu_ratio", 3.0, 1, 9, "the rounds disagree")
    neither = _speeds("s", 9.0, 9.0, clock=_ratio("ratio", 3.0, 1.0, 9.0, "busy"), cpu=unknown)
    assert "the speed could not be told: busy" in verdict(before, neither, [])
