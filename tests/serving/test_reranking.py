"""POST /rerank: the order and the scores are the model's, in the shapes of Cohere, Jina, vLLM and of TEI."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import numpy as np
import pytest

from slonik.text.answers import sigmoid
from tests.serving.conftest import serving
from tests.serving.models import LengthClassifier
from tests.serving.test_classification import LONG

MODEL = LengthClassifier("ranks", "number")
QUERY = "где живут слоны"
DOCUMENTS = ["Слоны живут в Африке", "zzz", "где живут слоны", "ы", "Мыши", ""]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """A client of a server of a classifier with labels, first, and a reranker."""
    with (
        serving(LengthClassifier(), MODEL) as url,
        httpx2.Client(base_url=url, timeout=20, trust_env=False) as web,
    ):
        yield web


def wanted() -> tuple[list[int], np.ndarray]:
    logits = MODEL.logits([(QUERY, text) for text in DOCUMENTS])[:, 0]
    return np.argsort(-logits, kind="stable").tolist(), logits


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_are_answered_as_cohere_and_jina_do(client: httpx2.Client, path: str) -> None:
    order, logits = wanted()
    answer = client.post(path, json={"model": "ranks", "query": QUERY, "documents": DOCUMENTS}).json()
    assert [item["index"] for item in answer["results"]] == order
    assert [item["relevance_score"] for item in answer["results"]] == pytest.approx(sigmoid(logits)[order], abs=1e-6)
    assert all(set(item) == {"index", "relevance_score"} for item in answer["results"])
    assert answer["object"] == "rerank" and answer["model"] == "ranks" and answer["id"]
    tokens = sum(len(MODEL.tokenizer.encode(QUERY, text).ids) for text in DOCUMENTS)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_the_best_few_with_their_documents_and_raw_scores(client: httpx2.Client) -> None:
    order, logits = wanted()
    body = {"query": QUERY, "documents": DOCUMENTS, "top_n": 2, "return_documents": True, "raw_scores": True}
    results = client.post("/rerank", json=body).json()["results"]  # the first reranker, no model named
    assert [item["document"] for item in results] == [{"text": DOCUMENTS[index]} for index in order[:2]]
    assert [item["relevance_score"] for item in results] == pytest.approx(logits[order[:2]])
    objects = [{"text": text, "id": number} for number, text in enumerate(DOCUMENTS)]
    again = client.post("/rerank", json={**body, "documents": objects, "rank_fields": ["text"], "top_n": 99}).json()
    assert [item["document"]["id"] for item in again["results"]] == order


def test_texts_are_answered_as_text_embeddings_inference_does(client: httpx2.Client) -> None:
    order, logits = wanted()
    body = {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False, "truncation_direction": "Right", "truncate": True}
    answer = client.post("/rerank", json=body)
    assert [item["index"] for item in answer.json()] == order and int(answer.headers["x-compute-tokens"]) > 0
    assert [item["score"] for item in answer.json()] == pytest.approx(sigmoid(logits)[order], abs=1e-6)
    shown = client.post("/rerank", json={**body, "return_text": True, "top_n": 1}).json()
    assert shown == [{"index": order[0], "text": DOCUMENTS[order[0]], "score": pytest.approx(sigmoid(logits).max())}]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "'documents' is missing"),
        ({"documents": []}, "documents is an empty list"),
        ({"texts": []}, "texts is an empty list"),
        ({"documents": "одно"}, "documents is a string: send a list"),
        ({"documents": ["да", 5]}, "documents[1] is a number"),
        ({"documents": ["да", {"title": "нет"}]}, "documents[1] is an object"),
        ({"documents": ["да"], "texts": ["да"]}, "not both"),
        ({"documents": ["да"], "top_n": 0}, "top_n"),
        ({"documents": ["да"], "rank_fields": ["title"]}, "rank_fields"),
        ({"documents": ["да"], "max_tokens_per_doc": 8}, "max_tokens_per_doc is 8"),
        ({"documents": ["да"], "model": "moods"}, "ranks nothing"),
        ({"documents": ["да", LONG], "truncate": False}, "documents[1] has more than the 32 tokens"),
        ({"texts": ["да", LONG], "long_texts": "refuse"}, "texts[1] has more than the 32 tokens"),
        ({"document": ["да"]}, "did you mean 'documents'"),
        ({"documents": ["да"], "query": 5}, "'query' is 5"),
    ],
)
def test_wrong_requests_name_the_clients_own_field(
    client: httpx2.Client, fields: dict[str, object], words: str
) -> None:
    answer = client.post("/rerank", json={"query": QUERY, **fields})
    assert answer.status_code == 400 and words in answer.json()["error"]["message"], answer.text


def test_a_limit_per_document_above_the_models_own_asks_for_nothing(client: httpx2.Client) -> None:
    body = {"query": QUERY, "documents": ["да"], "max_tokens_per_doc": 4096, "max_chunks_per_doc": 1, "top_n": None}
    assert client.post("/rerank", json=body).status_code == 200


def test_no_reranker_is_served(client: httpx2.Client) -> None:
    with serving(LengthClassifier()) as url:
        answer = httpx2.post(f"{url}/rerank", json={"query": "а", "documents": ["б"]}, trust_env=False)
    assert answer.status_code == 404 and "no reranker is served" in answer.json()["error"]["message"]
