"""The queue: bounded, fair, and free of work that nobody waits for."""

from __future__ import annotations

import concurrent.futures
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest

from slonik.serving.encoder_engine import EncoderEngine
from slonik.serving.jobs import Tokens
from tests.serving.conftest import Serve
from tests.serving.models import ToyEncoder
from tests.tiny.texts import TEXTS


def post(client: httpx2.Client, texts: object) -> httpx2.Response:
    return client.post("/v1/embeddings", json={"model": "toy", "input": texts})


def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`, at most ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited ten seconds in vain"
        time.sleep(0.005)


def metric(client: httpx2.Client, line: str) -> float:
    """The value of one line of /metrics; 0 when it is not there."""
    for found in client.get("/metrics").text.splitlines():
        if found.startswith(line + " "):
            return float(found.rsplit(" ", 1)[1])
    return 0.0


@pytest.fixture
def held() -> ToyEncoder:
    """An encoder whose first batch waits until `open` is set."""
    encoder = ToyEncoder()
    encoder.open.clear()
    return encoder


def test_a_full_queue_answers_429_at_once_and_the_others_are_answered(serve: Serve, held: ToyEncoder) -> None:
    client = serve(held, max_queue=3)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, client, "Да.")
        held.entered.wait(10)
        waiting = [pool.submit(post, client, text) for text in TEXTS[:3]]
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 3)
        refused = post(client, "Нет.")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        error = refused.json()["error"]
        assert error["code"] == "queue_full" and "3 texts are waiting and at most 3 may" in error["message"]
        held.open.set()
        assert [answer.result().status_code for answer in (first, *waiting)] == [200] * 4
    assert post(client, "Нет.").status_code == 200
    assert metric(client, 'slonik_requests_total{route="/v1/embeddings",status="429"}') == 1


def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits(serve: Serve) -> None:
    client = serve(ToyEncoder(), max_queue=3)
    assert len(post(client, TEXTS).json()["data"]) == len(TEXTS)


def test_a_client_that_hangs_up_does_not_cost_a_batch(serve: Serve, held: ToyEncoder) -> None:
    client = serve(held, max_batch_tokens=64)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client, "Да.")
        held.entered.wait(10)
        body = '{"model": "toy", "input": "Это уже никому не нужно."}'.encode()
        head = (
            f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        with socket.create_connection((client.base_url.host, client.base_url.port)) as gone:
            gone.sendall(head.encode() + b"\r\n\r\n" + body)
            until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 1)
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 0)
        last = pool.submit(post, client, "Нет.")
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 1)
        held.open.set()
        assert first.result().status_code == last.result().status_code == 200
    texts = [text for batch in held.batches for text in batch]
    assert len(texts) == 2, "the text of the client that disconnected was encoded"
    assert metric(client, 'slonik_dropped_total{model="toy"}') == 1
    assert metric(client, 'slonik_requests_total{route="/v1/embeddings",status="499"}') == 1


def test_a_large_request_does_not_hold_up_a_small_one(serve: Serve, held: ToyEncoder) -> None:
    client = serve(held, max_batch_tokens=64)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        large = pool.submit(post, client, [f"{text[:40]} {number}" for text in TEXTS for number in range(20)])
        held.entered.wait(10)
        small = pool.submit(post, client, "Слон, слон.")
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') > len(TEXTS) * 19)
        time.sleep(0.05)
        held.open.set()
        assert small.result().status_code == large.result().status_code == 200
    ids = held.tokenizer.encode("query: Слон, слон.").ids
    [place] = [number for number, batch in enumerate(held.batches) if ids in batch]
    assert place < len(held.batches) / 5


def test_texts_of_many_requests_share_batches_and_come_back_to_their_own(serve: Serve, held: ToyEncoder) -> None:
    client = serve(held)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        first = pool.submit(post, client, "Да.")
        held.entered.wait(10)
        answers = [pool.submit(post, client, text) for text in TEXTS[:30]]
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 30)
        held.open.set()
        got = np.array([answer.result().json()["data"][0]["embedding"] for answer in answers])
        first.result()
    assert np.allclose(got, held.encode(TEXTS[:30]), atol=1e-5)
    assert len(held.batches) < 10
    for batch in held.batches:
        longest = max(len(text) for text in batch)
        assert longest * len(batch) <= 2048


def test_only_the_text_at_fault_fails(serve: Serve, held: ToyEncoder) -> None:
    held.poison = held.tokenizer.token_to_id("<mask>")
    client = serve(held)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, client, "Да.")
        held.entered.wait(10)
        good = [pool.submit(post, client, "Тише едешь.") for _ in range(3)]
        bad = pool.submit(post, client, ["Тише едешь.", "Тише <mask>."])
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 5)
        held.open.set()
        assert [answer.result().status_code for answer in (first, *good)] == [200] * 4
        assert bad.result().status_code == 500
        assert bad.result().json()["error"]["type"] == "server_error"
    assert post(client, "Да.").status_code == 200
    assert metric(client, 'slonik_queue_depth{model="toy"}') == 0


def test_a_text_that_breaks_the_tokenizer_breaks_nothing_else(
    serve: Serve, held: ToyEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(held)
    tokenize = EncoderEngine._tokenize

    def fragile(engine: EncoderEngine, texts: list[str], *options: Any) -> list[Tokens]:
        if any("яд" in text for text in texts):
            raise ValueError("poison")
        return tokenize(engine, texts, *options)

    monkeypatch.setattr(EncoderEngine, "_tokenize", fragile)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, client, "Да.")
        held.entered.wait(10)
        good, bad = pool.submit(post, client, "Нет."), pool.submit(post, client, ["Да.", "яд"])
        until(lambda: metric(client, 'slonik_queue_depth{model="toy"}') == 3)
        held.open.set()
        assert [first.result().status_code, good.result().status_code, bad.result().status_code] == [200, 200, 500]
    assert metric(client, 'slonik_queue_depth{model="toy"}') == 0
