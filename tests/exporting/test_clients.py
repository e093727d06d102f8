"""Exported folders read by other people's programs: transformers.js under Node, fastembed.

The Node test needs @huggingface/transformers, which no test installs. To run it:

    mkdir ~/js && cd ~/js && npm install @huggingface/transformers   (ONNXRUNTIME_NODE_INSTALL=skip without a network)
    SLONIK_NODE_MODULES=~/js/node_modules pytest tests/exporting/test_clients.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import slonik
from tests import tiny
from tests.exporting.exported import exported

PACKAGE = "@huggingface/transformers"
FILES = {"fp32": "model.onnx", "q8": "model_quantized.onnx"}
TEXTS = [text for text in tiny.TEXTS if len(text) < 60][:12]

_SCRIPT = """
import { pipeline, env } from '@huggingface/transformers';
import fs from 'fs';
const [root, name, dtype, texts, out] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = root;
const extract = await pipeline('feature-extraction', name, { dtype });
const vectors = [];
for (const text of JSON.parse(fs.readFileSync(texts))) {
  const found = await extract(text, { pooling: 'mean', normalize: true });
  vectors.push(Array.from(found.data));
}
fs.writeFileSync(out, JSON.stringify(vectors));
"""


def _node_modules() -> Path:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    places = [os.environ.get("SLONIK_NODE_MODULES", ""), *os.environ.get("NODE_PATH", "").split(os.pathsep)]
    if shutil.which("npm"):
        found = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        places.append(found.stdout.strip())
    for place in places:
        if place and (Path(place) / PACKAGE / "package.json").is_file():
            return Path(place)
    pytest.skip(f"{PACKAGE} is not installed (see the top of {Path(__file__).name})")


def _ours(folder: Path, file: str) -> np.ndarray:
    vectors = np.concatenate([slonik.load(folder, file=file, threads=1).encode([text], prefix="") for text in TEXTS])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.node
@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert"])
def test_transformers_js_gives_our_vectors(family: str, tmp_path: Path) -> None:
    modules = _node_modules()
    folder, _ = exported(family)
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "run.mjs").write_text(_SCRIPT)
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    for dtype, file in FILES.items():
        out = tmp_path / f"{dtype}.json"
        command = ["node", "run.mjs", f"{folder.parent}/", folder.name, dtype, "texts.json", str(out)]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
        theirs = np.array(json.loads(out.read_text()))
        assert np.abs(theirs - _ours(folder, file)).max() < 1e-3


@pytest.mark.parametrize("file", FILES.values())
def test_fastembed_gives_our_vectors(file: str) -> None:
    fastembed = pytest.importorskip("fastembed")
    description = pytest.importorskip("fastembed.common.model_description")
    folder, _ = exported("bert")
    name = f"slonik/{file}"
    fastembed.TextEmbedding.add_custom_model(
        model=name, pooling=description.PoolingType.MEAN, normalization=True,
        sources=description.ModelSource(hf=name), dim=32, model_file=f"onnx/{file}",
    )  # fmt: skip
    model = fastembed.TextEmbedding(model_name=name, specific_model_path=str(folder), threads=1)
    theirs = np.concatenate([np.array(list(model.embed([text]))) for text in TEXTS])
    assert np.abs(theirs - _ours(folder, file)).max() < 1e-3
