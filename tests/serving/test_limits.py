"""What a client may not do: come without the key, send too much, too slowly, or to the wrong place."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from slonik.core.errors import SlonikError
from slonik.serving import ServedModel, ServeSettings, create_app
from slonik.serving.metrics import Metrics
from slonik.serving.served import catalogue
from tests.serving.conftest import Serve
from tests.serving.models import EchoDecoder, ToyEncoder

BODY = {"model": "toy", "input": "Да."}


def test_the_key_guards_everything_but_health_and_docs(serve: Serve) -> None:
    client = serve(ToyEncoder(), api_key="тайна-1")
    good = {"Authorization": "Bearer тайна-1".encode()}
    assert client.post("/v1/embeddings", json=BODY, headers=good).status_code == 200
    assert client.get("/metrics", headers=good).status_code == 200
    wrong = [
        {},
        {"Authorization": "Bearer no"},
        {"Authorization": "Basic тайна-1".encode()},
        {"Authorization": "Bearer"},
    ]
    for headers in wrong:
        answer = client.post("/v1/embeddings", json=BODY, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/models", headers=headers).status_code == 401
        assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/nothing", headers=headers).status_code == 401
    for path in ("/health", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200
    page = client.get("/openapi.json").json()
    assert page["paths"]["/v1/embeddings"]["post"]["security"] == [{"key": []}]
    assert "security" not in page["paths"]["/health"]["get"]


def test_the_key_does_not_show_in_the_settings() -> None:
    assert "secret" not in repr(ServeSettings(api_key="secret"))


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_while_it_arrives(serve: Serve, declared: bool) -> None:
    client = serve(ToyEncoder(), max_body_bytes=100_000)

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    content = b"x" * 1_000_000 if declared else chunks()
    answer = client.post("/v1/embeddings", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "larger than 100000 bytes" in answer.json()["error"]["message"]
    assert client.post("/v1/embeddings", json=BODY).status_code == 200


def test_a_body_that_comes_too_slowly(serve: Serve) -> None:
    client = serve(ToyEncoder(), body_seconds=0.2)
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as slow:
        slow.sendall(head + b'{"model": ')
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_unknown_routes_and_methods(client: httpx2.Client) -> None:
    missing = client.post("/v1/embedding", json=BODY)
    assert missing.status_code == 404
    assert "did you mean '/v1/embeddings'" in missing.json()["error"]["message"]
    wrong = client.get("/v1/embeddings")
    assert wrong.status_code == 405 and "POST" in wrong.headers["Allow"]
    assert "use POST" in wrong.json()["error"]["message"]


def test_models_and_health(client: httpx2.Client) -> None:
    cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert set(cards) == {"toy", "echo"}
    assert cards["toy"]["kind"] == "encoder" and cards["toy"]["input_types"] == ["passage", "query"]
    assert cards["toy"]["dimension"] == 16 and cards["toy"]["max_tokens"] == 64
    assert cards["echo"]["kind"] == "decoder" and cards["echo"]["dimension"] is None
    assert client.get("/v1/models/toy").json() == cards["toy"]
    assert client.get("/v1/models/toys").status_code == 404
    assert client.get("/health").json() == {"status": "ok"}


def test_metrics_are_what_prometheus_reads(serve: Serve) -> None:
    client = serve(ToyEncoder())
    for text in ("Да.", "Нет.", ""):
        client.post("/v1/embeddings", json={"model": "toy", "input": text})
    client.get("/" + "x" * 50)
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    counts = {(one.labels["route"], one.labels["status"]): one.value for one in families["slonik_requests"].samples}
    assert counts[("/v1/embeddings", "200")] == 2 and counts[("/v1/embeddings", "400")] == 1
    assert counts[("other", "404")] == 1
    for name in ("slonik_request_seconds", "slonik_queue_depth", "slonik_batch_texts", "slonik_batch_tokens"):
        assert families[name].samples, name
    texts = {one.name: one.value for one in families["slonik_batch_texts"].samples if "le" not in one.labels}
    assert texts["slonik_batch_texts_sum"] == 2


def test_docs_work_without_the_network(client: httpx2.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "openapi.json" in page.text and "<textarea" not in page.text and "plainForm" in page.text


def test_models_that_cannot_be_served_together() -> None:
    with pytest.raises(SlonikError, match="no model to serve"):
        create_app([])
    with pytest.raises(SlonikError, match="two models are called 'toy'"):
        create_app([ServedModel("toy", ToyEncoder()), ServedModel("toy", EchoDecoder())])


def test_a_model_answers_to_its_aliases_under_its_own_name() -> None:
    models = [ServedModel("small", ToyEncoder(), aliases=("out/small", "small"))]
    served = catalogue(models, ServeSettings(), Metrics())
    assert served.encoder("out/small") is served.encoder("small")
    assert [card.id for card in served.cards] == ["small"] and len(served.queues()) == 1
