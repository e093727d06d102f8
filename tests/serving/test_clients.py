"""What the clients of other libraries send is answered as they expect: their requests as recorded, and they themselves.

Recorded from langchain-openai 1.7.4, litellm 1.110.2, openai 3.57 and cohere 5.21 (benchmarks/serve_api_clients.py runs
them); langchain-openai and litellm take 450 MB, so they are run here only where they are installed.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from openai import OpenAI

from tests.serving.conftest import serving
from tests.serving.models import EchoDecoder, LengthClassifier, ToyEncoder

_ROOT = Path(__file__).resolve().parents[2]
_NEUTRAL: dict[str, Any] = {"frequency_penalty": 0, "logprobs": None, "n": 1, "presence_penalty": 0}
_TEXTS = ["раз", "два"]
_RERANK: dict[str, Any] = {"model": "ranks", "query": "раз", "documents": _TEXTS, "top_n": 2}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a server of an encoder, a decoder and a reranker."""
    with serving(ToyEncoder(), EchoDecoder(), LengthClassifier("ranks", "number")) as url:
        yield url


def post(url: str, path: str, body: dict[str, Any]) -> httpx2.Response:
    answer = httpx2.post(url + path, json=body, timeout=20, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "toy", "input": _TEXTS, "encoding_format": "base64"}),  # LangChain
        ("/v1/embeddings", {"model": "toy", "input": _TEXTS, "encoding_format": "float"}),
        ("/v1/embeddings", {"model": "toy", "input": _TEXTS}),  # LiteLLM
        ("/embeddings", {"model": "toy", "input": _TEXTS}),  # LiteLLM for infinity
        ("/v1/embeddings", {"model": "openai/toy", "input": _TEXTS, "user": "u", "dimensions": None}),
        ("/embeddings", {  # infinity's own client
            "input": _TEXTS, "model": "default/not-specified", "encoding_format": "float", "user": None,
            "dimensions": 0, "modality": "text"}),
    ],
)  # fmt: skip
def test_vectors(url: str, path: str, body: dict[str, Any]) -> None:
    data = post(url, path, body).json()["data"]
    packed = body.get("encoding_format") == "base64"
    vectors = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") if packed else one["embedding"] for one in data]
    assert np.allclose(vectors, ToyEncoder().encode(_TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ["раз два"], "seed": None, "temperature": 0.7, "top_p": 1, **_NEUTRAL},  # LangChain
        {"prompt": ["раз два"], "logit_bias": {}, "seed": 1, "stop": ["."], "temperature": 0.0, **_NEUTRAL},
        {  # openai
            "prompt": "раз два", "stream": False, "best_of": 1, "echo": False, "logit_bias": {}, "seed": 5, "stop": [],
            "suffix": None, "temperature": 1, "top_p": 1, "user": "u", **_NEUTRAL,
        },
        {  # LiteLLM
            "prompt": "раз два", "frequency_penalty": 0, "logit_bias": {}, "n": 1, "presence_penalty": 0, "stop": [],
            "temperature": 0.5, "top_p": 1, "user": "u", "best_of": 1, "echo": False,
        },
    ],
)  # fmt: skip
def test_continuations(url: str, body: dict[str, Any]) -> None:
    answer = post(url, "/v1/completions", {"model": "echo", "max_tokens": 3, **body}).json()
    assert answer["choices"][0]["text"] == " раз два раз"
    stream = post(url, "/v1/completions", {"model": "echo", "max_tokens": 3, **body, "stream": True})
    assert stream.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frequency_penalty", 0.5), ("presence_penalty", -1), ("n", 2), ("best_of", 3), ("suffix", "конец"),
        ("logit_bias", {"5": 1}), ("logprobs", 3),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(url: str, field: str, value: object) -> None:
    body = {"model": "echo", "prompt": "раз", field: value}
    answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=20, trust_env=False)
    assert answer.status_code == 400 and field in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == field


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rerank", {**_RERANK, "return_documents": True}),  # LiteLLM for vLLM
        ("/v1/rerank", {**_RERANK, "return_documents": True}),  # LiteLLM for Jina
        ("/v1/rerank", {**_RERANK, "documents": ["раз", {"text": "два"}], "rank_fields": ["text"],
                        "return_documents": True, "max_chunks_per_doc": 1}),  # cohere, version 1
        ("/v2/rerank", {**_RERANK, "max_tokens_per_doc": 4096}),  # cohere, version 2
        ("/v2/rerank", {**_RERANK, "max_tokens_per_doc": None}),  # LangChain for Cohere
    ],
)  # fmt: skip
def test_ranks(url: str, path: str, body: dict[str, Any]) -> None:
    answer = post(url, path, body).json()
    assert {item["index"] for item in answer["results"]} == {0, 1}
    assert not body.get("return_documents") or answer["results"][0]["document"] == {"text": "раз"}


def test_ranks_for_text_embeddings_inference(url: str) -> None:
    body = {"query": "раз", "texts": _TEXTS, "top_n": 2, "raw_scores": False, "return_text": True}
    answer = post(url, "/rerank", {**body, "truncation_direction": "Right"}).json()  # LiteLLM
    assert [set(item) for item in answer] == [{"index", "score", "text"}] * 2


def test_the_openai_client_reads_errors(url: str) -> None:
    from openai import BadRequestError, NotFoundError

    with OpenAI(base_url=f"{url}/v1/", api_key="none", max_retries=0) as client:
        with pytest.raises(BadRequestError, match="best_of"):
            client.completions.create(model="echo", prompt="а", best_of=2)
        with pytest.raises(NotFoundError, match="did you mean 'toy'"):
            client.embeddings.create(model="toi", input="а")


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("langchain_openai", "litellm", "cohere")),
    reason="langchain-openai, litellm and cohere are not installed",
)
def test_the_clients_themselves(url: str) -> None:
    command = [sys.executable, "-m", "benchmarks.serve_api_clients", url, "toy", "echo", "ranks"]
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, env={**os.environ, "NO_PROXY": "127.0.0.1"}, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
