"""The loop: resume after kill -9 to the same weights, accumulation, best checkpoint, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slonik.train.metrics_log import read_metrics
from tests.train import toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = sorted((folder / "checkpoints").glob("step_*"))[-1]
    return {
        f"{part}/{name}": tensor
        for part in ("model", "optimizer")
        for name, tensor in load_file(newest / f"{part}.safetensors").items()
    }


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def _start(folder: Path, steps: int, pause: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.train.toy", str(folder), str(steps), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = _start(killed, 12, 0.15)
    try:
        deadline = time.monotonic() + 240  # mostly imports, on a busy machine
        while not (killed / "checkpoints" / "step_00000004").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    summary = toy.train(killed, evaluate_every_steps=1)
    assert 4 <= summary.resumed_from < 12
    toy.train(whole, evaluate_every_steps=1)
    assert _same(_weights(killed), _weights(whole))
    assert _losses(killed) == _losses(whole)
    assert [step for step, _ in _losses(killed)] == list(range(1, 13))
