"""Runs one client over exported folders; started by client_matrix.py with the Python of that client's environment.

    python worker.py CLIENT JOBS.json OUT.jsonl

A job names a folder, an ONNX file and texts (also as token ids, for clients that take those). Each answer is a line:
vectors of the texts one by one, and of all of them in one padded batch; or the error. Nothing of slonik is imported but
by the client "slonik".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Vectors = np.ndarray
Encode = Callable[[list[str], list[list[int]]], Vectors]


def _padded(rows: list[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    longest = max(map(len, rows))
    ids = np.array([row + [pad] * (longest - len(row)) for row in rows], dtype=np.int64)
    return ids, np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=np.int64)


def slonik_client(job: dict[str, Any]) -> Encode:
    import slonik

    encoder = slonik.load(job["folder"], file=job["file"], threads=1)
    return lambda texts, rows: encoder.encode(texts, prefix="")


def onnxruntime_client(job: dict[str, Any]) -> Encode:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    path = str(Path(job["folder"]) / "onnx" / job["file"])
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(texts: list[str], rows: list[list[int]]) -> Vectors:
        ids, mask = _padded(rows, job["pad"])
        return session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0]

    return encode


def openvino_client(job: dict[str, Any]) -> Encode:
    import openvino

    path = str(Path(job["folder"]) / "onnx" / job["file"])
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def encode(texts: list[str], rows: list[list[int]]) -> Vectors:
        ids, mask = _padded(rows, job["pad"])
        return compiled({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]

    return encode


def fastembed_client(job: dict[str, Any]) -> Encode:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = job["key"]  # each name may be added once
    TextEmbedding.add_custom_model(
        model=name, pooling=PoolingType.DISABLED, normalization=False, output_name="sentence_embedding",
        sources=ModelSource(hf=name), dim=job["dimension"], model_file=f"onnx/{job['file']}",
    )  # fmt: skip
    model = TextEmbedding(model_name=name, specific_model_path=job["folder"], threads=1)
    return lambda texts, rows: np.array(list(model.embed(texts, batch_size=len(texts))))


def fastembed_mean_client(job: dict[str, Any]) -> Encode:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = f"{job['key']}, mean"
    TextEmbedding.add_custom_model(
        model=name, pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf=name),
        dim=job["dimension"], model_file=f"onnx/{job['file']}",
    )  # fmt: skip
    model = TextEmbedding(model_name=name, specific_model_path=job["folder"], threads=1)
    return lambda texts, rows: np.array(list(model.embed(texts, batch_size=len(texts))))


def sentence_transformers_client(job: dict[str, Any]) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(job["checkpoint"], device="cpu")
    return lambda texts, rows: model.encode(texts, batch_size=len(texts), prompt="")


def sentence_transformers_onnx_client(job: dict[str, Any]) -> Encode:
    from sentence_transformers import SentenceTransformer

    chosen = {"file_name": f"onnx/{job['file']}", "provider": "CPUExecutionProvider"}
    model = SentenceTransformer(job["folder"], backend="onnx", model_kwargs=chosen, device="cpu")
    return lambda texts, rows: model.encode(texts, batch_size=len(texts), prompt="")


CLIENTS: dict[str, Callable[[dict[str, Any]], Encode]] = {
    "slonik": slonik_client,
    "onnxruntime": onnxruntime_client,
    "openvino": openvino_client,
    "fastembed": fastembed_client,
    "fastembed-mean": fastembed_mean_client,
    "sentence-transformers": sentence_transformers_client,
    "sentence-transformers-onnx": sentence_transformers_onnx_client,
}


def answer(client: str, job: dict[str, Any]) -> dict[str, Any]:
    """Vectors of one job, or the error in its own words."""
    try:
        encode = CLIENTS[client](job)
        texts, rows = job["texts"], job["rows"]
        alone = [np.asarray(encode([text], [row]))[0].tolist() for text, row in zip(texts, rows, strict=True)]
        return {"job": job["key"], "alone": alone, "batched": np.asarray(encode(texts, rows)).tolist()}
    except Exception as error:
        return {"job": job["key"], "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer every job that has no answer yet, one line at a time, so that a crash loses only its own job."""
    client, jobs, out = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), Path(sys.argv[3])
    with out.open("a", encoding="utf-8") as file:
        for job in jobs:
            file.write(json.dumps({"begun": job["key"]}) + "\n")
            file.flush()
            file.write(json.dumps(answer(client, job)) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
