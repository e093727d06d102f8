"""MOROCCO's rule: the published values from the published logs, and every way in which a log can be broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.evaluation.resources.morocco import Sample, log_name, read_log, score, write_log

GIB = 2**30


def write_run(folder: Path, size: int, batch: int, repeat: int, seconds: float, gib: float | None = 1.0) -> None:
    count = max(2, round(seconds / 0.3) + 1)
    moments = [1000 + seconds * index / (count - 1) for index in range(count)]
    memory = None if gib is None else gib * GIB
    samples = [Sample(moment, 0.5, 2 * GIB, 0.9, memory if index else 0) for index, moment in enumerate(moments)]
    write_log(folder / log_name(size, batch, repeat), samples)


def write_task(folder: Path, small: list[float], big: list[float], size: int = 2000, batch: int = 32) -> None:
    for repeat, seconds in enumerate(small, 1):
        write_run(folder, 1, 1, repeat, seconds, gib=1 + repeat / 10)
    for repeat, seconds in enumerate(big, 1):
        write_run(folder, size, batch, repeat, seconds, gib=9.0)


def by_metric(records: list[Record]) -> dict[str, Record]:
    return {record.metric: record for record in records}


@pytest.mark.shared_data
def test_published_logs_give_the_published_figures(shared_data: Path) -> None:
    records = {(r.model, r.task, r.metric): r for r in score(shared_data / "morocco_logs")}
    expected = {"danetqa": 117.7, "terra": 297.0, "rwsd": 101.8, "russe": 226.3, "rucos": 8.9}
    for task, rps in expected.items():
        assert records["rubert", task, "rps"].value == pytest.approx(rps, rel=0.005)
        assert records["rubert", task, "gpu_ram"].value == pytest.approx(2.39, rel=0.005)
        assert records["rubert", task, "rps"].n == 5
    assert {model for model, _, _ in records} == {"rubert", "rugpt3-small"}
    assert {task for _, task, _ in records} == set(expected)


def test_rule_on_made_logs_with_other_sizes_beside(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "t"
    write_task(folder, [10, 12, 11], [31, 33, 51])
    write_run(folder, 1000, 32, 1, 12.0)
    found = by_metric(score(tmp_path))
    assert found["init_time"].value == pytest.approx(11)
    assert found["gpu_ram"].value == pytest.approx(1.2)
    assert found["rps"].value == pytest.approx(2000 / (33 - 11))
    assert found["ram"].value == pytest.approx(2.0)
    assert (found["rps"].model, found["rps"].task, found["rps"].suite) == ("m", "t", "morocco")
    assert found["rps"].low <= found["rps"].value <= found["rps"].high
    assert found["rps"].detail["q25"] <= found["rps"].value <= found["rps"].detail["q75"]
    assert "1 of 3 runs took more than 1.5 times" in found["rps"].detail["warnings"][0]


@pytest.mark.parametrize("start", ["", "m", "m/t"])
def test_names_do_not_depend_on_where_the_reading_starts(tmp_path: Path, start: str) -> None:
    write_task(tmp_path / "logs" / "m" / "t", [1, 1, 1], [9, 9, 9])
    records = score(tmp_path / "logs" / start)
    assert {(record.model, record.task) for record in records} == {("m", "t")}


def test_runs_too_short_to_trust_are_flagged(tmp_path: Path) -> None:
    write_task(tmp_path / "m" / "t", [10, 10, 10], [12.5, 12.6, 12.7])
    warnings = by_metric(score(tmp_path))["rps"].detail["warnings"]
    assert "too short to trust" in warnings[0]
    write_task(tmp_path / "m" / "t", [10, 10, 10], [13.5, 13.6, 13.7, 13.6, 13.6])
    assert "warnings" not in by_metric(score(tmp_path))["rps"].detail


@pytest.mark.parametrize(("runs", "words"), [(1, "no interval"), (2, "with 50%"), (3, "with 75%"), (4, "with 88%")])
def test_an_interval_of_few_runs_says_how_sure_it_is(tmp_path: Path, runs: int, words: str) -> None:
    write_task(tmp_path / "m" / "t", [10] * 5, [100] * runs)
    assert words in by_metric(score(tmp_path))["rps"].detail["warnings"][0]


def test_big_runs_no_longer_than_small_ones_have_no_rate(tmp_path: Path) -> None:
    write_task(tmp_path / "m" / "t", [10, 10, 10], [9, 10, 10])
    record = by_metric(score(tmp_path))["rps"]
    assert record.value is None
    assert "no longer" in record.detail["reason"]


def test_without_gpu_memory_is_the_process_s(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "t"
    write_run(folder, 1, 1, 1, 1.0, gib=None)
    for path in folder.glob("*.jsonl"):
        path.write_text(path.read_text().replace('"gpu_ram": 0', '"gpu_ram": null'))
    found = by_metric(score(tmp_path))
    assert found["gpu_ram"].value is None
    assert found["ram"].value == pytest.approx(2.0)
    assert found["rps"].value is None
    assert "2000_32_NN.jsonl" in found["rps"].detail["reason"]


def test_sizes_of_our_own_runs_are_known(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "t"
    write_task(folder, [1, 1, 1], [11, 11, 11], size=500, batch=8)
    (folder / "run.json").write_text(json.dumps({"input_size": 500, "batch_size": 8}))
    assert by_metric(score(tmp_path))["rps"].value == pytest.approx(50)
    assert by_metric(score(tmp_path, big=(500, 8)))["rps"].value == pytest.approx(50)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no sample"),
        ("garbage\n", "line 1 .* not JSON"),
        ('{"cpu_usage": 1}\n', "line 1 .* not a sample"),
        ("[1, 2]\n", "line 1 .* not a sample"),
        ('{"timestamp": "yesterday"}\n', "timestamp is 'yesterday'"),
        ('{"timestamp": NaN}\n', "timestamp is nan"),
        ('{"timestamp": null}\n', "no timestamp"),
        ('{"timestamp": true}\n', "timestamp is True"),
        ('{"timestamp": 2, "gpu_ram": -5}\n', "gpu_ram is -5"),
        ('{"timestamp": 2}\n{"timestamp": 1}\n', "line 2 .* clock goes back"),
        ('{"timestamp": 2}\n{"timestamp": 3, "ra', "line 2 .* not JSON"),
    ],
)
def test_broken_logs_end_in_a_sentence_that_names_the_line(tmp_path: Path, content: str, words: str) -> None:
    folder = tmp_path / "m" / "t"
    write_task(folder, [1, 1], [9, 9])
    (folder / "1_1_03.jsonl").write_text(content)
    with pytest.raises(SlonikError, match=words):
        score(tmp_path)


def test_bytes_that_are_no_text_end_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "t"
    folder.mkdir(parents=True)
    (folder / "1_1_01.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SlonikError, match="line 1: not UTF-8"):
        score(tmp_path)


def test_folders_without_logs_end_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="there is no folder"):
        score(tmp_path / "nowhere")
    write_run(tmp_path / "m" / "t", 1000, 8, 1, 5.0)
    with pytest.raises(SlonikError, match="1 logs of other sizes"):
        score(tmp_path)


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        write_task(tmp_path / parent / "m" / "t", [1, 1], [9, 9])
    with pytest.raises(SlonikError, match="both called m/t"):
        score(tmp_path)


def test_a_log_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "m" / "t" / log_name(2000, 32, 7)
    samples = [Sample(1.5, 0.25, 100, None, None), Sample(2.0, 1.0, 200, 0.5, 300)]
    write_log(path, samples)
    log = read_log(path)
    assert list(log.samples) == samples
    assert (log.model, log.task, log.input_size, log.batch_size, log.repeat) == ("m", "t", 2000, 32, 7)
    assert (log.total_time, log.period, log.peak("ram"), log.peak("gpu_ram")) == (0.5, 0.5, 200, 300)
