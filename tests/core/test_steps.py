"""A step runs once; an interrupted one leaves nothing; another input is another step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slonik.core.steps import Steps


def test_a_finished_step_is_not_run_again(tmp_path: Path) -> None:
    runs: list[int] = []
    lines: list[str] = []

    def work(folder: Path) -> dict[str, Any]:
        runs.append(1)
        (folder / "made.txt").write_text("x")
        return {"value": 7}

    first = Steps(tmp_path, lines.append).run("trim", {"a": 1}, "trimming", work)
    again = Steps(tmp_path, lines.append).run("trim", {"a": 1}, "trimming", work)
    assert (first.fresh, again.fresh, len(runs)) == (True, False, 1)
    assert again.summary == {"value": 7}
    assert (again.folder / "made.txt").read_text() == "x"
    assert lines == ["trimming ...", "trimming: done before"]
    assert Steps(tmp_path).run("trim", {"a": 2}, "trimming", work).fresh


def test_an_interrupted_step_leaves_nothing(tmp_path: Path) -> None:
    def work(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(tmp_path).run("trim", {}, "trimming", work)
    assert list(tmp_path.iterdir()) == []


def test_what_a_step_kept_to_go_on_from_is_removed_when_it_has_ended(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    scratch = steps.scratch("distill", {"a": 1})
    (scratch / "optimizer.bin").write_bytes(b"x" * 100)

    def interrupted(folder: Path) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps.run("distill", {"a": 1}, "distilling", interrupted)
    assert (scratch / "optimizer.bin").exists()
    other = steps.scratch("distill", {"a": 2})
    steps.run("distill", {"a": 1}, "distilling", lambda folder: {})
    assert not scratch.exists() and other.exists()
    # Asked for again by the same command: nothing stays of it either.
    steps.scratch("distill", {"a": 1})
    assert not steps.run("distill", {"a": 1}, "distilling", lambda folder: {}).fresh
    assert not scratch.exists()
