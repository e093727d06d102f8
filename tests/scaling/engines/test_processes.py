"""The local engine: workers that die and tasks that fail are named, the others are done, and a second run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.scaling.engines import open_engine
from slonik.scaling.engines.needs import Needs
from slonik.scaling.engines.stage import Stage, block_seconds
from tests.scaling.engines.blocks import Odd


def test_a_worker_that_is_killed_is_named_and_the_other_tasks_are_done(tmp_path: Path) -> None:
    stage = Stage("odd", "counting", [Odd(tmp_path)], 5, "abcde".__getitem__)
    logs = str(tmp_path / "logs")
    with pytest.raises(SlonikError) as caught, open_engine("local", 2) as engine:
        engine.run(stage, logs)
    sentence = str(caught.value)
    assert sentence.startswith("counting: 2 of 5 tasks failed (b: its worker ")
    assert "was killed by SIGKILL; memory is the usual reason" in sentence
    assert "; d: c.txt, line 3: not UTF-8)" in sentence
    assert (
        f"The log of the first is {logs}/logs/task_00001.log" in sentence
        and Path(logs, "logs/task_00001.log").is_file()
    )
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["0.txt", "2.txt", "4.txt"]
    (tmp_path / "mended").touch()
    (tmp_path / "0.txt").unlink()
    with open_engine("local", 1) as engine:
        engine.run(stage, logs)
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["1.txt", "2.txt", "3.txt", "4.txt"]
    assert list(block_seconds(logs)) == ["test: odd"]


def test_an_engine_without_what_it_needs_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SlonikError, match="sbatch is not installed here"), open_engine("slurm", 1):
        pass
    with (
        pytest.raises(SlonikError, match="queue, time and memory are for --engine slurm"),
        open_engine("local", 1, Needs(queue="cpu")),
    ):
        pass
