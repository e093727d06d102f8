"""After erasure no linear probe is better than chance, no more is taken than must be, and what is measured moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import slonik
from slonik.core.errors import SlonikError
from slonik.evaluation.logistic import fit_logistic
from slonik.inspection.erasure import erasing, layer_means, leace
from slonik.inspection.probing.tasks import TaskData, task_of_rows
from slonik.inspection.usage import erasure
from slonik.models.encoder import TorchEncoder
from slonik.models.language_model import load_language_model, save_language_model
from tests import tiny


def _drawn(classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, classes, 600)
    vectors = rng.normal(size=(600, 12)) @ rng.normal(size=(12, 12))
    vectors[:, :classes] += 3 * np.eye(classes)[targets]
    return vectors, targets.astype(str)


@pytest.mark.parametrize("classes", (2, 3))
def test_a_linear_probe_is_at_chance_afterwards(classes: int) -> None:
    vectors, labels = _drawn(classes)
    eraser = leace(vectors, labels)
    assert eraser.rank == classes - 1
    erased = eraser(vectors)
    indicators = (labels[:, None] == np.unique(labels)).astype(float)
    shared = (erased - erased.mean(0)).T @ (indicators - indicators.mean(0)) / len(labels)
    assert np.abs(shared).max() < 1e-8
    counts = np.unique(labels, return_counts=True)[1]
    before = fit_logistic(vectors.astype(np.float32), labels, c=100.0)
    after = fit_logistic(erased.astype(np.float32), labels, c=100.0)
    assert (before.predict(vectors.astype(np.float32)) == labels).mean() > counts.max() / len(labels) + 0.15
    assert (after.predict(erased.astype(np.float32)) == labels).mean() <= counts.max() / len(labels) + 0.01
    np.testing.assert_allclose(eraser.on_tensor(torch.from_numpy(vectors)).numpy(), erased, atol=1e-3)


def test_it_is_the_least_change_that_erases() -> None:
    """Against orthogonal projection and against any further map that keeps what was erased out."""
    vectors, labels = _drawn(2)
    eraser = leace(vectors, labels)
    moved = float(((eraser(vectors) - vectors) ** 2).sum())
    direction = vectors[labels == "1"].mean(0) - vectors[labels == "0"].mean(0)
    direction /= np.linalg.norm(direction)
    centred = vectors - vectors.mean(0)
    assert moved < float((np.outer(centred @ direction, direction) ** 2).sum())
    # theorem 4.3: P is W^+ P W with the projection on W cov(X, Z), so that erasing twice is erasing once
    np.testing.assert_allclose(eraser(eraser(vectors)), eraser(vectors), atol=1e-8)
    covariance = centred.T @ centred / len(centred)
    np.testing.assert_allclose(covariance @ eraser.left @ eraser.right, (covariance @ eraser.left @ eraser.right).T,
                               atol=1e-8)  # fmt: skip


def _task() -> TaskData:
    rows = []
    for n in range(160):
        label = n // 4 % 2
        text = tiny.TEXTS[n % 40][:20] + (" !" if label else " .") * 8
        rows.append((("tr", "tr", "va", "te")[n % 4], str(label), text))
    return task_of_rows("gapping", rows)


@pytest.mark.parametrize("family", ("bert", "gpt2", "t5", "modernbert"))
def test_the_running_layer_is_erased(tmp_path: Path, family: str) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, family))
    assert isinstance(encoder, TorchEncoder)
    texts = tiny.TEXTS[:24]
    labels = np.array(["0", "1"] * 12)
    before = encoder.encode(texts)
    for layer in (0, 1, 2):
        eraser = leace(layer_means(encoder, texts, [layer])[layer], labels)
        with erasing(encoder, layer, eraser):
            after = layer_means(encoder, texts, [1, 2])
            changed = encoder.encode(texts)
        if layer:
            difference = after[layer][labels == "1"].mean(0) - after[layer][labels == "0"].mean(0)
            assert np.abs(difference).max() < 1e-3
        assert np.abs(changed - before).max() > 1e-4
    np.testing.assert_array_equal(encoder.encode(texts), before)  # the hooks are gone
    with (
        pytest.raises(SlonikError, match=r"the layers 0 \(embeddings\) to 2: there is no layer 3"),
        erasing(encoder, 3, leace(before, labels)),
    ):
        pass


def test_one_call_measures_probes_similarity_and_hidden_tokens(tmp_path: Path) -> None:
    words = load_language_model(tiny.checkpoint(tmp_path / "model", "bert"), "mlm")
    model = save_language_model(words, tmp_path / "words")
    found = erasure(model, _task(), tiny.TEXTS[:12], data_dir=tmp_path, layers=[1, 2])
    metrics = {r.metric for r in found.records}
    assert metrics == {"probe", "probe_of_last_layer", "similarity_kept", "hidden_token_loss",
                       "difference_similarity_kept", "difference_hidden_token_loss"}  # fmt: skip
    values = {(r.layer, r.variant, r.metric): r for r in found.records}
    for layer in (1, 2):
        assert values[layer, "whole", "probe"].value > 0.8  # type: ignore[operator]
        assert values[layer, "erased", "probe"].value < 0.7  # type: ignore[operator]
        assert values[layer, "shuffled", "probe"].value > 0.8  # type: ignore[operator]
        kept = values[layer, "erased", "similarity_kept"]
        assert kept.low <= kept.value <= kept.high <= 1  # type: ignore[operator]
        difference = values[layer, "erased", "difference_hidden_token_loss"]
        losses = [values[layer, name, "hidden_token_loss"].value for name in ("erased", "shuffled")]
        assert difference.value == pytest.approx(losses[0] - losses[1])  # type: ignore[operator]
    assert set(found.records[0].hashes) == {"weights", "texts", "data"}
    assert len({record.key() for record in found.records}) == len(found.records)
    assert any("encodechka" in reason for reason in found.left_out)
    with pytest.raises(SlonikError, match="there is no layer 9"):
        erasure(model, _task(), tiny.TEXTS[:12], data_dir=tmp_path, layers=[9])


def test_one_label_is_refused() -> None:
    with pytest.raises(SlonikError, match="nothing to erase"):
        leace(np.ones((4, 2)), np.array(["а"] * 4))
