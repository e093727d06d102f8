"""Importance agrees with its definition and finds planted heads; the masking curve starts at nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

import slonik
from slonik.core.errors import SlonikError
from slonik.inspection.heads import HeadImportance, Heads, head_importance
from slonik.models.anatomy import dissect
from tests import tiny


@pytest.mark.parametrize("family", ("bert", "gpt2", "t5"))
def test_a_head_that_writes_nothing_matters_least(tmp_path: Path, family: str) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, family))
    layer = dissect(encoder.model).layers[1]
    with torch.no_grad():  # head 2 of layer 2 writes nothing
        columns = slice(2 * layer.head_size, 3 * layer.head_size)
        if family == "gpt2":
            layer.context.weight[columns] = 0.0
        else:
            layer.context.weight[:, columns] = 0.0
    heads = Heads(encoder, tiny.TEXTS[:6])
    for name in ("gate", "fisher", "left_out", "magnitude"):
        scores = heads.scores(name)
        assert scores[1].argmin() == 2
        assert scores[1][2] == pytest.approx(0.0, abs=1e-9)
    assert all(np.linalg.norm(layer) == pytest.approx(1.0) for layer in heads.scores("gate"))


def test_closing_a_head_is_cutting_it(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "xlm-roberta"))
    heads = Heads(encoder, tiny.TEXTS[:5], prefix="")
    loss = heads.loss_without({(0, 1), (1, 3)})
    whole = encoder.encode(tiny.TEXTS[:5], prefix="")
    with torch.no_grad():
        for layer, head in ((0, 1), (1, 3)):
            part = dissect(encoder.model).layers[layer]
            part.context.weight[:, head * part.head_size : (head + 1) * part.head_size] = 0.0
    cut = encoder.encode(tiny.TEXTS[:5], prefix="")

    def unit(vectors: np.ndarray) -> np.ndarray:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors - vectors.mean(0)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    np.testing.assert_allclose(loss, 1 - (unit(whole) * unit(cut)).sum(1), atol=1e-4)


def test_curve_and_correlations(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    heads = Heads(encoder, tiny.TEXTS[:6])
    scores = {name: heads.scores(name) for name in ("left_out", "random", "magnitude")}
    curve = heads.curve("left_out", scores["left_out"], steps=4)
    assert [point.detail["removed"] for point in curve] == [0, 2, 4, 6, 8]
    assert curve[0].value == pytest.approx(0.0, abs=1e-6)
    assert all(point.low <= point.value <= point.high for point in curve)
    found = HeadImportance("m", 6, scores, ()).correlations
    flat = {name: np.concatenate(layers) for name, layers in scores.items()}
    expected = scipy.stats.spearmanr(flat["left_out"], flat["magnitude"]).statistic
    assert found["left_out", "magnitude"] == pytest.approx(expected)
    assert found["random", "random"] == pytest.approx(1.0)


def test_importance_as_one_call(tmp_path: Path) -> None:
    found = head_importance(tiny.checkpoint(tmp_path, "bert"), tiny.TEXTS[:6], orders=("gate", "magnitude"), steps=2)
    records = found.records
    assert len({record.key() for record in records}) == len(records) == 2 * 8 + 4 + 2 * 3
    assert {record.model for record in records} == {str(tmp_path)}
    with pytest.raises(SlonikError, match="navec is no transformer"):
        head_importance("navec")


def test_bad_input(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    with pytest.raises(SlonikError, match="two texts"):
        Heads(encoder, ["Один текст."])
    with pytest.raises(SlonikError, match="unknown order"):
        Heads(encoder, tiny.TEXTS[:3]).scores("alphabet")
