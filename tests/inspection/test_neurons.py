"""The solver reaches scikit-learn's optimum; planted neurons come first and carry the accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.inspection.neurons import elastic_net, neuron_order, neurons, rank_neurons
from slonik.inspection.page import inspection_tables
from slonik.inspection.probing.tasks import task_of_rows
from slonik.inspection.twin import is_twin
from tests import tiny


def _planted(n: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Three layers of 20 neurons; neurons 3 of layer 1 and 7 of layer 2 hold the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    layers = [rng.normal(size=(n, 20)).astype(np.float32) for _ in range(3)]
    layers[1][:, 3] += 2 * (2 * labels - 1)
    layers[2][:, 7] += 2 * (2 * labels - 1)
    return layers, np.array(["да", "нет"])[labels]


def test_planted_neurons_are_found() -> None:
    train, train_labels = _planted(400, 0)
    test, test_labels = _planted(400, 1)
    found = rank_neurons(train, train_labels, test, test_labels, l1=0.001, top=(2, 10, 55))
    assert set(found.order[:2].tolist()) == {23, 47}
    assert found.accuracies["top_2"] > 0.95 > 0.7 > found.accuracies["without_top_2"]
    assert found.accuracies["bottom_2"] < 0.7
    assert found.accuracies["without_bottom_10"] == pytest.approx(found.accuracies["all"], abs=0.01)
    assert found.by_layer.sum() == found.counted == 10
    assert 10 <= found.nonzero == len(found.order) < 55
    assert found.total == 60
    assert "top_55" not in found.accuracies  # so many have no weight
    assert found.residual < 1e-5
    assert min(found.stability[2]) == 1.0
    assert len(found.stability[10]) == 10
    assert 0.1 < np.mean(found.stability[10]) < 1.0  # the other eight are noise


def test_the_optimum_is_reached_where_neurons_repeat_each_other() -> None:
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=(150, 6))
    x = (hidden @ rng.normal(size=(6, 300)) + 0.1 * rng.normal(size=(150, 300))).astype(np.float32)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    y = (hidden[:, 0] + hidden[:, 1] ** 2 + rng.normal(size=150) > 1).astype(np.intp)
    weights, bias = elastic_net(x, y, 2, l1=1e-3, l2=1e-3)
    scores = x @ weights.T + bias
    errors = np.exp(scores) / np.exp(scores).sum(1, keepdims=True) - np.eye(2)[y]
    gradient = errors.T @ x / len(x) + 1e-3 * weights
    used = weights != 0
    np.testing.assert_allclose(gradient[used], -1e-3 * np.sign(weights[used]), atol=2e-5)
    assert np.abs(gradient[~used]).max() <= 1e-3 + 2e-5
    assert np.abs(errors.mean(0)).max() < 2e-5


def test_solver_reaches_the_optimum_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    y = rng.integers(0, 3, 200)
    x[np.arange(200), y] += 1.5
    weights, _ = elastic_net(x, y, 3, l1=0.0, l2=0.05)
    model = LogisticRegression(C=1 / (0.05 * 200), tol=1e-8, max_iter=1000).fit(x, y)
    ours = weights - weights.mean(0)
    np.testing.assert_allclose(ours, model.coef_ - model.coef_.mean(0), atol=0.02)
    assert np.abs(elastic_net(x, y, 3, l1=0.2, l2=0.0)[0]).min() == 0.0


def test_order_takes_the_first_of_every_class() -> None:
    weights = np.array([[5.0, 0.1, 0.0, 4.0], [0.0, 0.1, 1.0, 0.2]])
    assert neuron_order(weights)[:2].tolist() == [0, 2]
    assert neuron_order(weights)[2] == 3
    assert neuron_order(np.array([[0.0, 1.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0]])).tolist() == [3, 1]


def test_one_class_is_refused() -> None:
    layers, labels = _planted(20, 0)
    with pytest.raises(SlonikError, match="two classes"):
        rank_neurons(layers, np.array(["да"] * 20), layers, labels)


def test_neurons_as_one_call(tmp_path: Path) -> None:
    rows = [
        (("tr", "va", "te")[n % 3], str(n % 2), f"{tiny.TEXTS[n % 40][:25]} {n}{' !' if n % 2 else ' .'}")
        for n in range(90)
    ]
    model = tiny.checkpoint(tmp_path / "model", "bert")
    found = neurons(model, task_of_rows("gapping", rows))
    assert (found.task, found.tested, found.ranking.total) == ("gapping", 30, 3 * 32)
    records = {record.metric: record for record in found.records if not is_twin(record.model)}
    assert found.twin is not None and found.twin.ranking.stability == {}
    (table,) = inspection_tables(found.records)
    assert table.columns[-1] == "random weights" and "with random weights" in table.notes[0]
    facts = records["all_neurons"].detail
    assert facts["by_layer"] == found.ranking.by_layer.tolist()
    assert facts["nonzero"] <= 96
    least, mean, most = facts["stability"]["10"]
    assert 0 <= least <= mean <= most <= 1
    assert records["top_10_neurons"].low < records["top_10_neurons"].value  # type: ignore[operator]
    assert set(records["top_10_neurons"].hashes) == {"weights", "texts", "data"}
    (tmp_path / "gapping.txt").write_text("\n".join("\t".join(row) for row in rows), encoding="utf-8")
    few = neurons(model, "gapping", data_dir=tmp_path, limit=60, prefix="слон: ", twin=False)
    assert few.twin is None and inspection_tables(few.records)[0].columns[-1] == "value"
    assert few.tested == 20
    assert few.hashes["texts"] != found.hashes["texts"]
    plain = neurons(model, "gapping", data_dir=tmp_path, limit=60, twin=False)
    assert plain.ranking.residual != few.ranking.residual  # other vectors
