"""Make checkpoints of what `train.py` wrote: the encoder, and the static table.

    python recipes/mini_ru/unpack.py CUT OUT --pack PACK --encoder mini-ru --table table.npy

CUT is the student as it began (see `pack.py`), whose shape, tokenizer and lineage the encoder keeps; it is an ordinary
folder that `slonik show`, `evaluate`, `export` and sentence-transformers take. The table (V, 256) is an array of numpy.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slonik.core.passport import Step
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import load, save
from slonik.text.pipeline import Dense, split

TEACHERS = {"embedded:multilingual-e5-small": "MIT", "embedded:use-multilingual-3": "Apache-2.0"}
IDENTITY = "torch.nn.modules.linear.Identity"
LAYER = {
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}


def main() -> None:
    """Write the folders that were asked for."""
    arguments = _arguments()
    if arguments.encoder:
        encoder = load(arguments.cut)
        _fill(encoder, streamed(arguments.out, "student"))
        save(encoder, arguments.encoder, encoder.passport.with_step(_step(arguments), name=arguments.encoder.name))
    if arguments.table:
        np.save(arguments.table, streamed(arguments.out, "table")["rows.weight"])


def streamed(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Tensors of a stream, float32."""
    parts = sorted(folder.glob(f"{name}.*.bin"), key=lambda path: int(path.name.split(".")[-2]))
    values = np.frombuffer(b"".join(path.read_bytes() for path in parts), np.float16)
    found, start = {}, 0
    for key, shape in json.loads((folder / "layout.json").read_text())[name]:
        size = int(np.prod(shape))
        found[key] = values[start : start + size].reshape(shape).astype(np.float32)
        start += size
    if start != len(values):
        raise SystemExit(f"{folder}: {name} has {len(values)} numbers and its layout {start}: a part is missing")
    return found


def _fill(encoder: TorchEncoder, tensors: dict[str, np.ndarray]) -> None:
    """Put the weights into the stock model, and the output map behind its pooling."""
    model: Any = encoder.model
    state = model.state_dict()
    own = {key.removeprefix("student."): value for key, value in tensors.items() if key.startswith("student.")}
    made = {
        "embeddings.word_embeddings.weight": own.pop("word.weight"),
        "embeddings.position_embeddings.weight": own.pop("place.weight"),
        "embeddings.LayerNorm.weight": own.pop("norm.weight"),
        "embeddings.LayerNorm.bias": own.pop("norm.bias"),
    }
    kinds = state["embeddings.token_type_embeddings.weight"].numpy().copy()
    kinds[0] = own.pop("kind")
    made["embeddings.token_type_embeddings.weight"] = kinds
    for key, value in own.items():
        _, number, module, ending = key.split(".")
        prefix = f"encoder.layer.{number}"
        if module == "qkv":
            for name, part in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                made[f"{prefix}.attention.self.{name}.{ending}"] = part
        else:
            made[f"{prefix}.{LAYER[module]}.{ending}"] = value
    for key, value in made.items():
        state[key].copy_(torch.from_numpy(np.ascontiguousarray(value)))
    before, pooling, _ = split(encoder.sentence.modules)
    output = Dense(tensors["output.weight"], tensors["output.bias"], IDENTITY)
    encoder.sentence = replace(
        encoder.sentence, modules=(*before, pooling, output), prefixes={}, default_prefix=None, truncate_dim=None
    )


def _step(arguments: argparse.Namespace) -> Step:
    log = json.loads((arguments.out / "log.json").read_text())
    inputs = {}
    if arguments.pack:
        facts = json.loads((arguments.pack / "pack.json").read_text())
        inputs = {name: fact["sha256"] for name, fact in facts.items()}
    return Step(
        command="distill",
        config={"recipe": "recipes/mini_ru", "teachers": list(TEACHERS), "settings": json.loads(arguments.settings)},
        inputs=inputs,
        seed=0,
        license=", ".join(TEACHERS.values()),
        summary={
            "steps": log[-1]["step"], "tokens_seen": log[-1]["tokens"], "seconds": round(log[-1]["seconds"]),
            "held_out": {name: log[-1][name] for name in ("agreement", "near", "translations")},
        },
    )  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cut", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", type=Path, help="to note what it was made of")
    parser.add_argument("--settings", default="{}", help="JSON: what train.py was given")
    parser.add_argument("--encoder", type=Path, help="folder for the encoder")
    parser.add_argument("--table", type=Path, help="file for the table, .npy")
    return parser.parse_args()


if __name__ == "__main__":
    main()
