"""Speeds in turns: who does which text when, and when the clock is not believed. Nothing here waits for a clock."""

from __future__ import annotations

from itertools import groupby

import pytest

from slonik.evaluation.resources import in_turns
from slonik.evaluation.resources.in_turns import about, distrust, take_turns
from slonik.evaluation.resources.speed_records import Subject, latency_records, rate_record, ratio_records


class Clock:
    """Time that passes as it is told: the processor's, and a waiting that only the clock on the wall sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr(in_turns.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(in_turns.time, "process_time", lambda: self.cpu)

    def work(self, seconds: float, waiting: float = 0.0) -> None:
        self.cpu += seconds
        self.wall += seconds + waiting


def test_encoders_take_turns_by_groups_and_begin_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, done = Clock(monkeypatch), []

    def call(name: str, seconds: float) -> object:
        return lambda text: (done.append((name, text)), clock.work(seconds))

    texts = [str(number) for number in range(5)]
    turns = take_turns([call("slow", 0.004), call("fast", 0.001)], texts, 2, group=2)  # type: ignore[list-item]
    assert turns.wall.shape == turns.cpu.shape == (2, 2, 5)
    assert turns.ratio(1, 0) == pytest.approx([4.0, 4.0]) and turns.ratio(0, 1, cpu=True) == pytest.approx([0.25] * 2)
    assert [name for name, _ in groupby(done, key=lambda one: one[0])][:4] == ["slow", "fast", "slow", "fast"]
    counted = [text for name, text in done if name == "fast"]
    assert counted[:3] == ["0", "0", "1"]  # the first of a group does not count, and is done again
    assert len(counted) == 2 * (5 + 3)


def test_a_busy_spell_meets_both(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(monkeypatch), iter(range(10_000))

    def call(seconds: float) -> object:  # the machine is busy all through the second half
        return lambda text: clock.work(seconds, waiting=4 * seconds if next(calls) > 500 else 0.0)

    turns = take_turns([call(0.018), call(0.010)], [str(n) for n in range(50)], 8)  # type: ignore[list-item]
    assert about(turns.ratio(1, 0)).value == pytest.approx(1.8)
    assert "busy" in distrust(turns.wall.sum(axis=2).ravel().tolist(), turns.cpu.sum(axis=2).ravel().tolist())


def test_a_clock_is_doubted_where_it_waits_or_rounds_disagree() -> None:
    assert distrust([1.0, 1.1], [1.0, 1.05], [1.8, 1.82]) == ""
    assert "busy" in distrust([5.0, 5.0], [1.0, 1.0])
    assert "from 1.80 to 7.02" in distrust([1.0], [1.0], [1.8, 7.02, 2.0])
    assert distrust([1.0], [4.0]) == ""  # four threads


def test_equal_weights_have_no_sure_difference_of_speed() -> None:
    found = about([1.02, 1.021, 1.019, 1.02, 1.022])  # for good, by where their pages lie
    assert found.low < 1 < found.high
    assert about([1.2, 1.21, 1.19]).low > 1


def test_untrusted_ratios_say_so_and_leave_the_processors() -> None:
    slow, fast = Subject("slow", "torch"), Subject("fast", "torch")
    reference = [*latency_records(slow, [[18.0], [126.0]], [18.0, 18.0]), rate_record(slow, [10, 10], 8, {}, 9)]
    own = [*latency_records(fast, [[10.0], [18.0]], [10.0, 10.0]), rate_record(fast, [18, 18], 8, {}, 9)]
    found = {(r.task, r.metric): r for r in ratio_records(fast, own, reference, "slow")}
    assert found["batch_1", "ratio"].detail["trusted"] is False
    assert found["best_batch", "ratio"].detail["trusted"] is False
    assert found["batch_1", "cpu_ratio"].value == pytest.approx(1.8)
    assert "trusted" not in found["batch_1", "cpu_ratio"].detail
