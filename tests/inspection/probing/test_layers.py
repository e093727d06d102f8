"""Layer vectors are never those of another checkpoint or text; the best layer is as sure as its bootstrap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik.inspection.probing.layers import LayerVectors, best_layer, resampled_means
from slonik.inspection.probing.run import LayerScores, Options, probe
from slonik.inspection.probing.tasks import read_tasks
from tests import tiny

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one task: does the sentence end in "!"."""
    rows = [
        f"{('tr', 'tr', 'tr', 'va', 'te')[n % 5]}\t{n % 2}\t{tiny.TEXTS[n % 40][:25]} {n}{' !' if n % 2 else ' .'}"
        for n in range(60)
    ]
    path = tmp_path / "data" / "rusenteval" / "gapping.txt"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "data"


def _probed(checkpoint: Path, data: Path, **options: object) -> LayerScores:
    tasks, _ = read_tasks(data)
    return probe(slonik.load(checkpoint), tasks, Options(control=False, **options))  # type: ignore[arg-type]


def _values(found: LayerScores) -> list[float | None]:
    return [record.value for record in found.records]


def _fields(name: str, **changed: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        assert any(content[key] != value for key, value in changed.items())
        (folder / name).write_text(json.dumps(content | changed), encoding="utf-8")

    return change


def _other_spelling(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    replaced = {"type": "Replace", "pattern": {"String": "о"}, "content": "а"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [content["normalizer"], replaced]}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


def _other_weights(folder: Path) -> None:
    tiny.checkpoint(folder, "bert", seed=1)


_CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_fields("config.json", num_attention_heads=2), id="4 heads to 2"),
        pytest.param(_fields("config.json", hidden_act="relu"), id="gelu to relu"),
        pytest.param(_fields("1_Pooling/config.json", **_CLS), id="pooling"),
        pytest.param(_other_spelling, id="tokenizer"),
        pytest.param(_other_weights, id="weights"),
    ],
)
def test_a_checkpoint_with_one_file_changed_is_encoded_anew(
    change: Callable[[Path], None], data: Path, tmp_path: Path
) -> None:
    folder = tiny.checkpoint(tmp_path / "model", "bert")
    assert (_probed(folder, data).encoded, _probed(folder, data).reused) == (60, 60)
    change(folder)
    changed = _probed(folder, data)
    assert (changed.encoded, changed.reused) == (60, 0)
    assert _values(changed) == _values(_probed(folder, data, use_cache=False))


def test_a_data_file_changed_under_its_name_is_read_and_encoded_anew(data: Path, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "model", "bert")
    first = _probed(folder, data)
    path = data / "rusenteval" / "gapping.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("о", "а"), encoding="utf-8")
    changed = _probed(folder, data)
    assert changed.encoded > 0
    assert changed.records[0].hashes["data"] != first.records[0].hashes["data"]
    assert _values(changed) == _values(_probed(folder, data, use_cache=False))


def test_prefix_and_pooling_have_vectors_of_their_own(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path / "model", "bert"))
    texts, root = tiny.TEXTS[:8], tmp_path / "layers"
    stores = {
        (pooling, prefix): LayerVectors(encoder, [pooling], prefix, root)
        for pooling in ("mean", "cls")
        for prefix in ("", "запрос: ")
    }
    for (pooling, prefix), vectors in stores.items():
        vectors.prepare(texts)
        assert (vectors.encoded, vectors.count(pooling)) == (8, 3)
        expected = encoder.encode_layers(texts, [pooling], prefix=prefix)[pooling]  # type: ignore[attr-defined]
        for layer in range(3):
            np.testing.assert_array_equal(vectors.take(pooling, layer, texts), expected[layer].astype(np.float32))


def test_bootstrap_means_are_those_of_resampling() -> None:
    values = (RNG.random((3, 200)) < np.array([[0.9], [0.6], [0.5]])).astype(np.float32)
    means = resampled_means(values, seed=0, sample="x")
    assert means.shape == (3, 1000)
    np.testing.assert_allclose(means.mean(1), values.mean(1), atol=0.01)
    np.testing.assert_allclose(means.std(1), values.std(1) / 200**0.5, rtol=0.15)
    assert (means == resampled_means(values, seed=0, sample="x")).all()


def test_a_clear_best_layer_is_sure_and_a_tie_is_not() -> None:
    clear = (RNG.random((4, 300)) < np.array([[0.5], [0.5], [0.9], [0.5]])).astype(np.float32)
    found = best_layer(clear, clear, seed=0, sample="x")
    assert (found.layer, found.low, found.high, found.share) == (2, 2, 2, 1.0)
    alike = (RNG.random((4, 300)) < 0.7).astype(np.float32)
    unsure = best_layer(alike, clear, seed=0, sample="x")
    assert unsure.low < unsure.high
    assert unsure.share < 1.0
    assert unsure.accuracy.low <= unsure.accuracy.value <= unsure.accuracy.high
    assert (unsure.test_layer, unsure.test_accuracy) == (2, pytest.approx(clear[2].mean()))
