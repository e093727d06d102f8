"""An exported folder behind `slonik serve`, as a process in which torch cannot be imported."""

from __future__ import annotations

import concurrent.futures
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from openai import OpenAI

from slonik.exporting.run import export
from slonik.runtime import OnnxEncoder, load
from tests.serving.test_embeddings import vectors
from tests.tiny import models as tiny
from tests.tiny.texts import TEXTS

_RUN = "import sys; sys.modules['torch'] = None; from slonik.cli.main import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model exported to int8 with dynamic ranges, the kind whose vectors a batch could change."""
    root = tmp_path_factory.mktemp("exported")
    export(tiny.checkpoint(root / "tiny", "xlm-roberta", layers=1), root / "tiny-onnx", measure_speed=False)
    return root / "tiny-onnx"


@pytest.fixture(scope="module")
def alone(folder: Path) -> OnnxEncoder:
    return load(folder, threads=1)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """The URL of the running command; it must end with code 0."""
    command = [sys.executable, "-c", _RUN, "serve", str(folder), "--port", "0", "--max-batch-tokens", "300"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"serving tiny-onnx at (http://\S+)/v1", line)
            assert found, line + process.stderr.read()
            yield found[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_vectors_of_many_clients_are_those_of_each_text_alone(server: str, alone: OnnxEncoder) -> None:
    with httpx2.Client(base_url=server, timeout=60, trust_env=False) as client:

        def ask(texts: list[str]) -> np.ndarray:
            return vectors(client.post("/v1/embeddings", json={"model": "tiny-onnx", "input": texts}))

        groups = [TEXTS[start : start + size] for size in (1, 3, 7) for start in range(0, len(TEXTS), size)]
        expected = [np.concatenate([alone.encode([text]) for text in group]) for group in groups]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for got, wanted in zip(pool.map(ask, groups), expected, strict=True):
                assert np.abs(got - wanted).max() < 1e-5


def test_long_texts_and_token_ids(server: str, alone: OnnxEncoder) -> None:
    long = " ".join(TEXTS[:20])
    ids = alone.tokenizer.encode(TEXTS[5], add_special_tokens=False).ids
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        extra = {"long_texts": "average"}
        averaged = client.embeddings.create(model="tiny-onnx", input=long, extra_body=extra).data[0].embedding
        by_ids = client.embeddings.create(model="tiny-onnx", input=ids)
    assert np.allclose(averaged, alone.encode([long], long_texts="average")[0], atol=1e-5)
    assert np.allclose(by_ids.data[0].embedding, alone.encode([TEXTS[5]])[0], atol=1e-5)
    assert by_ids.usage.total_tokens == len(alone.tokenize([TEXTS[5]])[0])
