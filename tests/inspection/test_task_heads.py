"""Heads that a task hangs on come first by its own loss, and taking them out costs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from slonik.compression.gates import gated, open_gates
from slonik.core.errors import SlonikError
from slonik.inspection.task_heads import BY_TASK, BY_VECTORS, task_heads
from slonik.models.anatomy import dissect
from slonik.models.task_model import TaskModel
from tests import tiny
from tests.compression.heads import task_model

COLUMNS = {"text": ["text"], "label": "label"}


def _model(**changes: Any) -> TaskModel:
    return task_model("sequence", columns=COLUMNS, **changes)


def _rows(model: TaskModel, count: int = 40) -> list[dict[str, Any]]:
    texts = [f"{tiny.TEXTS[n % 40][:30]} {n}" for n in range(count)]
    return [{"text": text, "label": answer.label} for text, answer in zip(texts, model.predict(texts), strict=True)]


def test_the_gradient_is_that_of_the_tasks_loss_and_curves_begin_with_the_whole_model() -> None:
    model = _model()
    rows = _rows(model)
    found = task_heads(model, rows, steps=4)
    assert found.examples == (20, 20)
    assert [len(layer) for layer in found.scores[BY_TASK]] == list(dissect(model.transformer).heads)
    for layer in found.scores[BY_TASK]:
        assert np.linalg.norm(layer) == pytest.approx(1.0)
    points = {(r.variant, r.detail["removed"], r.metric): r for r in found.records if "removed" in r.detail}
    total = sum(dissect(model.transformer).heads)
    for order in (BY_TASK, BY_VECTORS, "random"):
        assert points[order, 0, "task_right"].value == 1.0  # the labels are its own answers
        assert points[order, total, "task_loss"].value == pytest.approx(points["random", total, "task_loss"].value)
        point = points[order, total // 2, "task_loss"]
        assert point.low <= point.value <= point.high  # type: ignore[operator]
    gates = open_gates(dissect(model.transformer), {"heads"})
    assert gates.heads is not None
    for layer in gates.heads:
        layer.zero_()
    with torch.no_grad(), gated(model.transformer, gates):
        answers = model.predict([row["text"] for row in rows])
    share = np.mean([answer.label == row["label"] for answer, row in zip(answers, rows, strict=True)])
    assert abs(points["random", total, "task_right"].value - share) < 0.35  # type: ignore[operator]
    assert set(found.records[0].hashes) == {"weights", "texts", "data"}
    assert len({record.key() for record in found.records}) == len(found.records)


def test_other_tasks_and_too_few_rows_are_refused() -> None:
    model = _model()
    with pytest.raises(SlonikError, match="there are 4 labelled rows: give eight"):
        task_heads(model, _rows(model, 4))
    with pytest.raises(SlonikError, match="the target 'choice'"):
        task_heads(task_model("choice", columns=COLUMNS), [])
    with pytest.raises(SlonikError, match="label"):
        task_heads(model, [{"text": "слон"}] * 10)
