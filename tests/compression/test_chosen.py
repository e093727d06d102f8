"""What chose a checkpoint is read from the log; a student that training left as it was is called so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slonik.compression.chosen import Choice


def _log(folder: Path, values: list[float], **about: object) -> Path:
    lines = [{"step": 0, "precision": "fp32", **about}]
    lines += [{"step": 10 * n, "evaluation": {"choice": value, "other": 0.5}} for n, value in enumerate(values)]
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_best_evaluation_and_where_it_began(tmp_path: Path) -> None:
    choice = Choice.of(_log(tmp_path, [0.5, 0.8, 0.9, 0.9], best_metric="choice"))
    assert choice == Choice("choice", 0.5, 0.9, 20, 30) and not choice.unchanged
    assert "choice chose the checkpoint: 0.9000 at step 20 of 30, 0.5000 at the start" in choice.sentence()
    fallen = Choice.of(_log(tmp_path, [2.0, 1.5, 1.7], best_metric="choice", higher_is_better=False))
    assert fallen is not None and (fallen.best, fallen.step) == (1.5, 10)


@pytest.mark.parametrize("values", [[0.9, 0.8, 0.7], [0.9, 0.9]])
def test_a_student_that_never_was_better_is_unchanged(values: list[float], tmp_path: Path) -> None:
    choice = Choice.of(_log(tmp_path, values))
    assert choice is not None and choice.unchanged and choice.summary()["unchanged"]
    assert choice.sentence().startswith("Distillation changed nothing")


def test_without_evaluations_nothing_chose(tmp_path: Path) -> None:
    assert Choice.of(None) is None and Choice.of(_log(tmp_path, [])) is None
