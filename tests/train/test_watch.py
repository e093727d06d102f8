"""The watch: who stands still or is gone is named, and nobody waits for ever."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from slonik.core import progress
from slonik.core.files import machine
from slonik.train import watch as module
from slonik.train.watch import Beat, Watch, forget, killed_for_memory

HERE = Beat(1, "node-b", machine(), os.getpid(), 7, "computing", 3.0, 1)


@pytest.fixture(name="gone", scope="module")
def _gone() -> int:
    """The number of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def _watch(folder: Path, world: int = 2, **options: Any) -> tuple[Watch, list[str], list[int]]:
    said: list[str] = []
    ended: list[int] = []
    made = Watch(folder, 0, world, options.pop("timeout_minutes", 30.0), say=said.append, end=ended.append)
    made.now("computing", 7)
    return made, said, ended


def _write(folder: Path, beat: Beat) -> None:
    (folder / "alive").mkdir(exist_ok=True)
    (folder / "alive" / f"rank_{beat.rank:05d}.json").write_text(json.dumps(asdict(beat)), encoding="utf-8")


def _waiting(watch: Watch, seconds: float) -> None:
    watch._since -= seconds


def test_each_process_leaves_a_file_and_takes_it_along(tmp_path: Path) -> None:
    watch, _, _ = _watch(tmp_path)
    with watch:
        left = json.loads((tmp_path / "alive" / "rank_00000.json").read_text(encoding="utf-8"))
        assert (left["rank"], left["step"], left["activity"], left["process"]) == (0, 7, "computing", os.getpid())
    assert not list((tmp_path / "alive").iterdir())
    forget(tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_process_has_a_line_and_one_process_only_where_a_step_takes_long(tmp_path: Path) -> None:
    with progress.shown(seconds=30.0):
        several, said, _ = _watch(tmp_path)
        alone, quiet, _ = _watch(tmp_path, world=1)
    several.line()
    alone.line()
    assert said == ["rank 0 of 2: step 7, computing for 0 s"] and not quiet
    _waiting(alone, 95)
    alone.line()
    assert quiet == ["still at step 7, computing for 95 s"]


@pytest.mark.parametrize(
    ("beat", "sentence"),
    [
        (replace(HERE, step=6, activity="saving", seconds=95.0), "is behind: step 6, saving for 95 s"),
        (replace(HERE, activity="reading data", seconds=95.0), "is behind: step 7, reading data for 95 s"),
        (HERE, ""),
        (replace(HERE, step=8), ""),
    ],
)
def test_who_is_behind_is_named(tmp_path: Path, beat: Beat, sentence: str) -> None:
    watch, said, _ = _watch(tmp_path)
    _write(tmp_path, beat)
    watch.look()
    assert watch.behind() == (f"rank 1 (process {os.getpid()} on node-b) {sentence}" if sentence else "")
    _waiting(watch, 70)
    watch.line()
    assert sentence in said[0]


def test_who_says_nothing_is_named(tmp_path: Path) -> None:
    watch, _, _ = _watch(tmp_path)
    _write(tmp_path, replace(HERE, machine="other"))  # its process cannot be looked up from here
    for _ in range(9):
        watch.look()
    assert not watch.behind()
    watch.look()
    assert "has said nothing for 90 s, last at step 7, computing for 3 s" in watch.behind()


@pytest.mark.parametrize(
    ("killed", "why"), [(1, r"has killed 1 process\(es\) .* for lack of memory"), (0, "137 or -9 .* is SIGKILL")]
)
def test_a_process_that_was_killed_is_named_by_those_who_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: int, killed: int, why: str
) -> None:
    watch, said, ended = _watch(tmp_path)
    monkeypatch.setattr(module, "killed_for_memory", lambda: watch._killed + killed)
    _write(tmp_path, replace(HERE, process=gone))
    lost = watch.lost(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:31"))
    who = rf"word: rank 1 \(process {gone} on node-b\) \(last at step 7, computing\)"
    sentence = rf"{who}; .*{why}.*same command goes on"
    with pytest.raises(module.Lost, match=sentence):
        raise lost or AssertionError
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.0)
    watch.judge()  # a collective call that does not find out by itself
    watch.judge()
    assert ended == [76] and said[0].startswith("error: gone without a word: rank 1")


def test_errors_of_the_model_keep_their_name(tmp_path: Path) -> None:
    watch, _, _ = _watch(tmp_path)
    assert watch.lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied (restored from peer)")) is None
    alone, _, _ = _watch(tmp_path, world=1)
    assert alone.lost(RuntimeError("NCCL error")) is None


@pytest.mark.parametrize("activity", ["computing", "exchanging", "evaluating"])
def test_a_step_that_waits_too_long_ends_and_an_evaluation_may_take_its_time(tmp_path: Path, activity: Any) -> None:
    watch, said, ended = _watch(tmp_path, timeout_minutes=10.0)
    watch.now(activity, 7)
    _write(tmp_path, replace(HERE, activity="reading data"))
    _waiting(watch, 599)
    watch.judge()
    assert not ended
    _waiting(watch, 2)
    watch.judge()
    if activity == "evaluating":
        assert not ended
    else:
        assert ended == [76]
        assert "waited 10 minutes at step 7" in said[0] and "node-b) is behind: step 7, reading data" in said[0]


def test_the_kernel_is_asked_whom_it_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n", encoding="utf-8")
    assert killed_for_memory() >= 0
    monkeypatch.setattr(module, "_control_group", lambda: tmp_path)
    assert killed_for_memory() == 2
