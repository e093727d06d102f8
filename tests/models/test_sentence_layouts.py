"""A folder means the same to us as to the installed sentence-transformers, in every layout: loaded, saved again, on
onnxruntime with numpy behind the graph, and with all modules inside the graph.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik import models
from slonik.core.protocols import FloatArray
from slonik.exporting.run import export
from slonik.models.pipeline import Pipeline
from slonik.runtime.encoder import load as load_exported
from slonik.text.sentence_config import SentenceConfig
from tests import tiny
from tests.exporting.exported import exported
from tests.tiny.layouts import LAYOUTS, family_of

sentence_transformers = pytest.importorskip("sentence_transformers")

LONG = " ".join(tiny.TEXTS[20:30])
TEXTS = [*tiny.TEXTS[:6], "ЁЖ И ЁЛКА. ПОЕЗД НА МОСКВУ!", "", " Слон ", LONG]
WHOLE_GRAPHS = ("labse", "t5 encoder")
IN_GRAPHS = (
    "six poolings", "gelu layernorm", "truncated after normalize", "dense on tokens", "dropout prelu", "residual",
)  # fmt: skip


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plain checkpoint of each family."""
    root = tmp_path_factory.mktemp("transformers")
    families = sorted({family_of(layout) for layout in LAYOUTS})
    layers = {"t5": 1}  # which is traced; of the others there are graphs that other tests made
    return {
        family: tiny.checkpoint(root / family, family, sentence=False, layers=layers.get(family, 2))
        for family in families
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, transformers: dict[str, Path]) -> dict[str, Path]:
    """Every layout."""
    root = tmp_path_factory.mktemp("layouts")
    for layout, write in LAYOUTS.items():
        (root / layout).mkdir()
        write(root / layout, transformers[family_of(layout)])
    return {layout: root / layout for layout in LAYOUTS}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that give token states alone, as other exporters write them, of two families."""
    root = tmp_path_factory.mktemp("graphs")
    found = {}
    for family in ("bert", "roberta"):
        model = onnx.load(exported(family)[0] / "onnx" / "model.onnx")  # of the same weights
        del model.graph.output[1:]
        found[family] = root / f"{family}.onnx"
        onnx.save(model, found[family])
    return found


def theirs(folder: Path, texts: list[str] = TEXTS, **options: Any) -> NDArray[np.float32]:
    """Vectors by sentence-transformers, one text at a time: padding must not matter."""
    encoder = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return np.concatenate([encoder.encode([text], **options) for text in texts])


def assert_same(found: FloatArray, expected: NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5 * max(1.0, float(np.abs(expected).max())))


def test_there_are_layouts_enough() -> None:
    assert len(LAYOUTS) >= 20


@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_gives_the_same_vectors_and_writes_the_same_folder(
    layout: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    encoder, expected = models.load(folders[layout], device="cpu"), theirs(folders[layout])
    assert encoder.dimension == expected.shape[1]
    assert_same(encoder.encode(TEXTS), expected)
    saved = models.save(encoder, tmp_path / "saved")
    assert_same(theirs(saved), expected)
    again = models.load(saved, device="cpu")
    assert again.sentence == encoder.sentence
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "autocast"])
def test_a_pooler_that_the_model_shares_works_in_every_precision(dtype: str, folders: dict[str, Path]) -> None:
    encoder = models.load(folders["labse"], device="cpu", dtype=dtype)
    assert encoder.has_own_pooler
    assert (encoder.encode(TEXTS) * theirs(folders["labse"])).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if family_of(name) in ("bert", "roberta")])
def test_onnxruntime_with_numpy_behind_it_gives_the_same_vectors(
    layout: str, folders: dict[str, Path], graphs: dict[str, Path], tmp_path: Path
) -> None:
    encoder = models.load(folders[layout], device="cpu")
    saved = models.save(encoder, tmp_path / "saved")
    (saved / "model.safetensors").unlink()
    (saved / "onnx").mkdir()
    shutil.copy(graphs[family_of(layout)], saved / "onnx" / "model.onnx")
    other = load_exported(saved, threads=1)
    assert other.dimension == encoder.dimension
    assert_same(other.encode(TEXTS), encoder.encode(TEXTS))
    assert_same(other.encode(TEXTS, prefix=""), encoder.encode(TEXTS, prefix=""))
    assert_same(other.encode(TEXTS, long_texts="average"), encoder.encode(TEXTS, long_texts="average"))


def test_modules_are_the_same_as_operators_of_a_graph(folders: dict[str, Path]) -> None:
    layouts = IN_GRAPHS
    configs = [SentenceConfig.read(folders[layout]) for layout in layouts]

    class Tails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tails = nn.ModuleList(Pipeline(config.modules, config.truncate_dim) for config in configs)

        def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
            return tuple(tail(hidden, mask) for tail in self.tails)

    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    example = (torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.int64))
    shapes = {"hidden": {0: batch, 1: length}, "mask": {0: batch, 1: length}}
    tails = Tails().eval()
    program = torch.onnx.export(tails, example, dynamo=True, verbose=False, dynamic_shapes=shapes)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    hidden, mask = torch.randn(3, 7, 32), torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [0] * 2 + [1] * 5])
    names = [item.name for item in session.get_inputs()]
    got = session.run(None, dict(zip(names, (hidden.numpy(), mask.numpy()), strict=True)))
    with torch.inference_mode():
        for layout, found, expected in zip(layouts, got, tails(hidden, mask), strict=True):
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-5, err_msg=layout)


@pytest.mark.parametrize("layout", WHOLE_GRAPHS)
def test_the_graph_holds_every_module(layout: str, folders: dict[str, Path], tmp_path: Path) -> None:
    export(folders[layout], tmp_path / "out", int8="none", measure_speed=False)
    encoder, expected = load_exported(tmp_path / "out", threads=1), theirs(folders[layout])
    for ids, vector in zip(encoder.tokenize(TEXTS), expected, strict=True):
        feed = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        assert_same(encoder.session.run(["sentence_embedding"], feed)[0], vector[None])
    assert_same(encoder.encode(TEXTS), expected)
    config = json.loads((tmp_path / "out" / "config_sentence_transformers.json").read_text())
    assert config["similarity_fn_name"] == "cosine"
    assert SentenceConfig.read(tmp_path / "out").modules == SentenceConfig.read(folders[layout]).modules
