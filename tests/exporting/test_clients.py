"""Exported folders read by other people's programs by the lines of their own model cards; docs/clients.md has more.

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


def _from_card(folder: Path, client: str) -> str:
    """The lines for `client` in the folder's model card."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return card.split(f"## With {client}\n\n```")[1].split("\n", 1)[1].split("\n```")[0]


def _card_vectors(folder: Path) -> np.ndarray:
    """What the lines of the card should give, for their two texts, which have the default prefix."""
    encoder = slonik.load(folder, threads=1)
    return np.concatenate([encoder.encode([text]) for text in ("Привет, мир!", "Как дела?")])


@pytest.mark.parametrize(("family", "client", "package"), [
    ("bert", "fastembed", "fastembed"), ("xlm-roberta", "fastembed", "fastembed"),
    ("bert", "sentence-transformers", "optimum.onnxruntime"),
])  # fmt: skip
def test_lines_of_the_card_give_our_vectors(
    family: str, client: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package.split(".")[0])
    pytest.importorskip(package)
    folder, _ = exported(family, "static")  # its vectors do not depend on the batch
    monkeypatch.chdir(folder.parent)
    names: dict[str, object] = {}
    exec(_from_card(folder, client), names)
    assert np.abs(np.array(names["vectors"]) - _card_vectors(folder)).max() < 1e-3


@pytest.mark.node
def test_lines_of_the_card_give_our_vectors_under_node(tmp_path: Path) -> None:
    modules = _node_modules()
    folder, _ = exported("bert", "static")
    (tmp_path / "node_modules").symlink_to(modules)
    program = _from_card(folder, "transformers.js")
    place = f"env.allowRemoteModels = false; env.localModelPath = '{folder.parent}/';"
    head = f"import {{ env }} from '{PACKAGE}';\nimport fs from 'fs';\n{place}\n"
    save = "fs.writeFileSync('out.json', JSON.stringify(vectors.tolist()));"
    (tmp_path / "run.mjs").write_text(f"{head}{program}\n{save}\n", encoding="utf-8")
    subprocess.run(["node", "run.mjs"], cwd=tmp_path, check=True, timeout=120, capture_output=True)
    theirs = np.array(json.loads((tmp_path / "out.json").read_text()))
    assert np.abs(theirs - _card_vectors(folder)).max() < 1e-3
