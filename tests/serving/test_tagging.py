"""POST /tag: spans as the tagger gives them, texts of several clients in turn, mistakes answered one by one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx2

from slonik.data.annotations.document import Span
from tests.serving.conftest import Serve
from tests.serving.models import CapitalTagger, EchoDecoder, ToyEncoder
from tests.serving.test_queue import metric, until


def ask(client: httpx2.Client, **fields: object) -> httpx2.Response:
    return client.post("/tag", json=fields)


def test_one_text_and_several_give_spans_in_order(serve: Serve) -> None:
    client = serve(CapitalTagger())
    answer = ask(client, model="capitals", input="Иван приехал в «Тулу» 🙂 и Омск").json()
    spans = answer["data"][0]["spans"]
    assert [(span["text"], span["label"]) for span in spans] == [("Иван", "NAME"), ("Тулу", "NAME"), ("Омск", "NAME")]
    assert spans[2]["start"] == 26 and spans[2]["end"] == 30 and spans[0]["confidence"] == 0.75
    several = ask(client, input=["нет", "", "Пермь"]).json()
    assert [len(one["spans"]) for one in several["data"]] == [0, 0, 1]
    assert [one["index"] for one in several["data"]] == [0, 1, 2] and several["model"] == "capitals"


def test_the_tagger_is_listed_with_its_labels(serve: Serve) -> None:
    client = serve(CapitalTagger(), ToyEncoder())
    card = client.get("/v1/models/capitals").json()
    assert card["kind"] == "tagger" and card["labels"] == ["NAME"]
    assert client.get("/metrics").text.count('model="capitals"') > 0


def test_wrong_models_are_sent_to_their_own_route(serve: Serve) -> None:
    client = serve(ToyEncoder(), EchoDecoder())
    assert "no tagger is served" in ask(client, input="а").json()["error"]["message"]
    assert "/v1/embeddings" in ask(client, model="toy", input="а").json()["error"]["message"]
    tagging = serve(CapitalTagger())
    answer = tagging.post("/v1/embeddings", json={"model": "capitals", "input": "а"})
    assert answer.status_code == 404 and "/tag" in answer.json()["error"]["message"]
    assert "did you mean 'capitals'" in ask(tagging, model="capital", input="а").json()["error"]["message"]
    assert ask(tagging, input=[]).status_code == 400
    assert ask(tagging, input="а", long_texts="average").status_code == 200  # as taggers read
    assert "long_texts" in ask(tagging, input="а", long_texts="truncate").json()["error"]["message"]


def test_a_text_at_fault_fails_alone(serve: Serve) -> None:
    client = serve(CapitalTagger())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: ask(client, input=["Иван", text]), ["Тула", "яд"] * 8))
    assert [answer.status_code for answer in answers] == [200, 500] * 8
    assert answers[0].json()["data"][1]["spans"][0]["text"] == "Тула"


class _Forgetful(CapitalTagger):
    """Leaves out the last text of every call."""

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        return super().tag(texts)[:-1]


def test_a_tagger_that_loses_a_text_is_a_failure_and_not_the_end(serve: Serve) -> None:
    client = serve(_Forgetful())
    assert [ask(client, input=["Тула", "Орёл"]).status_code for _ in range(2)] == [500, 500]


def test_a_full_queue_answers_429_and_a_long_request_does_not_hold_up_a_short_one(serve: Serve) -> None:
    tagger = CapitalTagger()
    tagger.open.clear()
    client = serve(tagger, max_queue=400)
    order: list[str] = []

    def send(name: str, texts: Sequence[str]) -> int:
        status = ask(client, input=list(texts)).status_code
        order.append(name)
        return status

    with ThreadPoolExecutor(3) as pool:
        long = pool.submit(send, "long", ["Иван " * 50 + str(number) for number in range(390)])
        assert tagger.entered.wait(10)
        short = pool.submit(send, "short", ["Тула"])
        until(lambda: metric(client, 'slonik_queue_depth{model="capitals"}') == 359)
        refused = ask(client, input=[f"Омск {number}" for number in range(100)])
        assert refused.status_code == 429 and "Retry-After" in refused.headers
        tagger.open.set()
        assert long.result() == short.result() == 200
    assert order == ["short", "long"]


def test_spans_of_an_unsure_tagger_have_no_confidence(serve: Serve) -> None:
    tagger = CapitalTagger()
    tagger.spans = lambda text: [Span(0, 1, "NAME")]
    assert ask(serve(tagger), input="Я").json()["data"][0]["spans"][0]["confidence"] is None
