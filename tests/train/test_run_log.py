"""What a run tells: trackers, rates of the device, samples; and processes that read different corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate.tracking
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.train import run_log
from slonik.train.feed import check_disjoint
from slonik.train.loop import run
from slonik.train.processes import Processes
from slonik.train.run_log import DeviceRates, MetricsLog, Trackers, peak_flops, read_metrics
from slonik.train.run_state import StepRecord
from tests.train import toy_processes


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(SlonikError, match=r"the tracker 'wandb' is not installed: pip install wandb"):
        toy_processes.train(tmp_path, trackers=("tensorboard", "wandb"))


def test_trackers_get_numbers_by_step_and_samples_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[dict[str, Any], int]] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def start(self) -> None:
            return

        def log(self, values: dict[str, Any], step: int) -> None:
            written.append((values, step))

        def finish(self) -> None:
            written.append(({"finished": self.name}, -1))

    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: ["mlflow"])
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Recorder)
    trackers = Trackers(("mlflow",), tmp_path / "my-run", 0)
    trackers.write({"step": 3, "loss": 1.5, "evaluation": {"bits": 2.0}, "samples": ["раз", "два"]})
    trackers.close()
    assert written[0] == ({"loss": 1.5, "evaluation/bits": 2.0, "samples": "раз\n\nдва"}, 3)
    assert written[1] == ({"finished": "my-run"}, -1)


def test_the_log_has_utilisation_memory_and_samples(tmp_path: Path) -> None:
    texts, config = toy_processes.Texts(), toy_processes.config(trackers=("tensorboard",))
    run(
        toy_processes.Network(), toy_processes.NextWord(), texts, config, tmp_path,
        evaluate=lambda model: {"loss": 1.0}, sample=lambda model: ["слон"], flops_per_token=1e6,
    )  # fmt: skip
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["samples"] for line in lines if "evaluation" in line] == [["слон"]] * 4
    steps = [line for line in lines if "loss" in line]
    for line, size in zip(steps, toy_processes.SIZES, strict=False):
        assert line["tokens"] == 5 * size
        assert line["tokens_per_second"] == pytest.approx(5 * line["texts_per_second"], rel=0.05)
        assert line["flops_utilisation"] > 0 and line["memory_gib"] > 0 and line["device_utilisation"] > 0
    assert list((tmp_path / "tensorboard").glob("events.out.*"))


def test_utilisation_counts_real_tokens_whatever_the_rows_were_padded_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "peak_flops", lambda device, precision: 1e9)
    log = run_log.RunLog(Processes("cpu"), tmp_path, toy_processes.config(), 0, 1e6)
    record = StepRecord(1, 0.1, 0.0)
    record.add_data("", 64, 200)
    record.add_loss(torch.tensor(1.0), {}, 1.0)
    log.count(record)
    log.spend(2.0)
    log.step(record, {})
    log.close()
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["flops_utilisation"] == 0.1


def test_peaks_are_the_data_sheets_where_the_device_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    assert peak_flops(torch.device("cuda"), "bf16") == 312e12
    assert peak_flops(torch.device("cuda"), "fp32") == 19.5e12
    assert peak_flops(torch.device("cpu"), "fp32") > 1e8  # measured
    state = torch.get_rng_state()
    DeviceRates(torch.device("cpu")).metrics()
    assert torch.equal(torch.get_rng_state(), state)


class _Two:
    """Two processes, of which this is the first; the other one says what it is told to."""

    world, rank, main = 2, 0, True

    def __init__(self, other: str) -> None:
        self._other = other

    def gather(self, value: Any) -> list[Any]:
        return [value, self._other if isinstance(value, str) else []]


def test_processes_that_read_different_corpora_are_stopped() -> None:
    with pytest.raises(SlonikError, match="the processes read different corpora"):
        check_disjoint(_Two("another"), toy_processes.Texts(), 0, 0, 2)  # type: ignore[arg-type]
    check_disjoint(_Two("texts"), toy_processes.Texts(), 0, 0, 2)  # type: ignore[arg-type]


def test_metrics_are_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    for step in range(1, 6):
        log.write({"step": step})
    log.close()
    with open(path, "a", encoding="utf-8") as stream:
        stream.write('{"step": 6, "lo')
    MetricsLog(path, 3).close()
    assert [line["step"] for line in read_metrics(path)] == [1, 2, 3]
