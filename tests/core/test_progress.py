"""Progress is shown where somebody asked for it: a bar on a terminal, lines elsewhere, nothing to a library's user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from slonik.core import progress
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar, shown, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in one place, to be moved by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("SLONIK_PROGRESS_SECONDS", raising=False)
    return now


def train(clock: list[float], steps: int = 100) -> None:
    """Work of one second a step."""
    with progress_bar("train", steps) as bar:
        for step in range(steps):
            clock[0] += 1
            bar.advance(loss=f"{1 / (step + 1):.2f}", speed="410 texts/s")


def test_the_library_is_silent(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    train(clock)
    with shown(False):
        train(clock)
    with shown("auto"), shown("off"):
        train(clock)
    assert capsys.readouterr() == ("", "")


def test_lines_now_and_then_where_there_is_no_terminal(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with shown(True), shown(False):  # False leaves it as the caller has it
        train(clock)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "train: 30/100 (30 %)  loss 0.03  speed 410 texts/s  0:30 spent, 1:10 left",
        "train: 60/100 (60 %)  loss 0.02  speed 410 texts/s  1:00 spent, 0:40 left",
        "train: 90/100 (90 %)  loss 0.01  speed 410 texts/s  1:30 spent, 0:10 left",
        "train: 100/100 (100 %)  loss 0.01  speed 410 texts/s  1:40 spent",
    ]


def test_short_work_says_nothing_and_the_interval_can_be_set(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown():
        train(clock, steps=29)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("SLONIK_PROGRESS_SECONDS", "4000")
    with shown():
        with progress_bar("count", completed=5) as bar:
            clock[0] += 4000
            bar.advance(3)
        with shown(seconds=1):
            train(clock, steps=1)
    assert capsys.readouterr().err.splitlines() == [
        "count: 8  1:06:40 spent",
        "count: 8  1:06:40 spent",
        "train: 1/1 (100 %)  loss 1.00  speed 410 texts/s  0:01 spent, 0:00 left",
        "train: 1/1 (100 %)  loss 1.00  speed 410 texts/s  0:01 spent",
    ]
    for wrong in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv("SLONIK_PROGRESS_SECONDS", wrong)
        with pytest.raises(SlonikError, match=f"SLONIK_PROGRESS_SECONDS is '{wrong}'"), shown():
            pass


def test_of_several_processes_the_first_speaks(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with shown():
        train(clock)
    assert capsys.readouterr().err == ""


def test_a_resumed_run_estimates_from_what_it_did_itself(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown(), progress_bar("train", 100, completed=50) as bar:
        clock[0] += 30
        bar.advance(10)
    assert "train: 60/100 (60 %)  0:30 spent, 2:00 left" in capsys.readouterr().err


def test_track_gives_every_item() -> None:
    def items() -> Iterator[int]:
        yield from range(3)

    with shown():
        assert list(track(items(), "counting")) == [0, 1, 2]


def test_a_terminal_gets_a_bar() -> None:
    script = (
        "import pty, sys\n"
        "code = 'from slonik.core.progress import shown, track\\nwith shown(): list(track(range(3), \"counting\"))'\n"
        "pty.spawn([sys.executable, '-c', code])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm"}, check=True,
    )  # fmt: skip
    assert re.search(r"counting .*3/3", done.stdout)
