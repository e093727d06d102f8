"""POST /classify and /predict: scores of texts and pairs are the classifier's own, in the shapes of two servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.serving import ServedModel, create_app
from slonik.text.answers import probabilities
from tests.serving.conftest import Serve, serving
from tests.serving.models import CapitalTagger, EchoDecoder, LengthClassifier, ToyEncoder
from tests.serving.test_queue import metric, until
from tests.tiny.texts import TEXTS

MOODS = LengthClassifier()
TOPICS = LengthClassifier("topics", "multi", ("спорт", "дом"))
RANKS = LengthClassifier("ranks", "number")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """A client of a server of three classifiers and an encoder."""
    with (
        serving(MOODS, TOPICS, RANKS, ToyEncoder()) as url,
        httpx2.Client(base_url=url, timeout=20, trust_env=False) as web,
    ):
        yield web


def expected(model: LengthClassifier, rows: list[object], *, raw: bool = False) -> list[dict[str, float]]:
    logits = model.logits(rows)
    values = logits if raw else probabilities(logits, model.target)  # type: ignore[arg-type]
    return [dict(zip(model.labels or ("score",), map(float, row), strict=True)) for row in values]


def check(answers: list[list[dict[str, object]]], wanted: list[dict[str, float]]) -> None:
    for answer, one in zip(answers, wanted, strict=True):
        scores = [item["score"] for item in answer]
        assert scores == sorted(scores, reverse=True)
        assert {item["label"]: item["score"] for item in answer} == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("model", [MOODS, TOPICS, RANKS], ids=lambda model: model.target)
@pytest.mark.parametrize("raw", [False, True])
def test_classify_gives_the_classifiers_own_scores(client: httpx2.Client, model: LengthClassifier, raw: bool) -> None:
    rows = [*TEXTS[:5], ["Кто там?", "Слон."], TEXTS[0]]
    answer = client.post("/classify", json={"model": model.name, "input": rows, "raw_scores": raw}).json()
    assert answer["object"] == "classify" and answer["model"] == model.name and answer["id"] and answer["created"]
    check(answer["data"], expected(model, rows, raw=raw))
    counted = [model.tokenizer.encode(*([row] if isinstance(row, str) else row)).ids for row in rows]
    tokens = sum(min(len(ids), model.max_length) for ids in counted)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_predict_answers_one_text_or_pair_with_a_list_and_a_batch_with_a_list_of_lists(client: httpx2.Client) -> None:
    for inputs, rows in (("Да.", ["Да."]), (["Да."], ["Да."]), (["Да.", "Нет."], [("Да.", "Нет.")])):
        answer = client.post("/predict", json={"inputs": inputs})
        check([answer.json()], expected(MOODS, rows))
        assert answer.headers["x-model"] == "moods" and int(answer.headers["x-compute-tokens"]) > 0
    batch = client.post("/predict", json={"inputs": [["Да."], ["Да.", "Нет."]], "truncate": True, "raw_scores": False})
    check(batch.json(), expected(MOODS, ["Да.", ("Да.", "Нет.")]))


def test_the_first_classifier_with_labels_is_taken_where_none_is_named(client: httpx2.Client) -> None:
    for model in ({}, {"model": None}, {"model": "default/not-specified"}):
        assert client.post("/classify", json={"input": "Да.", **model}).json()["model"] == "moods"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/classify", {"input": []}, "input is an empty list"),
        ("/classify", {"input": None}, "input is null"),
        ("/classify", {"input": ["да", 5]}, "input[1] is a number"),
        ("/classify", {"input": ["да", ["раз"]]}, "input[1] is a list of 1: a pair has two texts"),
        ("/classify", {"input": [["раз", None]]}, "input[0][1] is null"),
        ("/classify", {"input": ["да"] * 2049}, "input has 2049 texts: send at most 2048"),
        ("/classify", {"inputs": "да"}, "did you mean 'input'"),
        ("/classify", {"input": "да", "raw_scores": "yes"}, "raw_scores"),
        ("/classify", {"input": "да", "long_texts": "cut"}, "long_texts"),
        ("/predict", {"inputs": ["раз", "два", "три"]}, "a batch is a list of lists"),
        ("/predict", {"inputs": [["раз", "два", "три"]]}, "inputs[0] is a list of 3"),
        ("/predict", {"inputs": [["раз"], "два"]}, "inputs[1] is a string: send [text]"),
        ("/predict", {"inputs": {}}, "inputs is an object"),
        ("/predict", {"inputs": "да", "truncation_direction": "Left"}, "truncation_direction is 'Left'"),
        ("/classify", {"input": ["да", "трое"]}, "input[1]: has 1 texts: give two"),
    ],
)
def test_wrong_requests_name_the_clients_own_field(
    client: httpx2.Client, path: str, body: dict[str, object], words: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]["message"]


LONG = " ".join(TEXTS[:8])


def test_long_texts_are_cut_averaged_or_refused_as_asked(client: httpx2.Client) -> None:
    def ask(**fields: object) -> httpx2.Response:
        return client.post("/classify", json={"input": ["Да.", LONG], "raw_scores": True, **fields})

    cut, averaged = expected(MOODS, ["Да.", LONG], raw=True), MOODS.logits(["Да.", LONG], long_texts="average")
    for fields in ({}, {"long_texts": "truncate"}, {"truncate": True}, {"truncate": False, "long_texts": "truncate"}):
        answer = ask(**fields).json()
        check(answer["data"], cut)
        assert answer["usage"]["total_tokens"] == 32 + len(MOODS.tokenizer.encode("Да.").ids)
    check(
        ask(long_texts="average").json()["data"],
        [dict(zip(MOODS.labels, map(float, row), strict=True)) for row in averaged],
    )
    for fields in ({"long_texts": "refuse"}, {"truncate": False}):
        refused = ask(**fields)
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "input[1]"
        assert "input[1] has more than the 32 tokens" in refused.json()["error"]["message"]


def test_the_servers_default_goes_before_the_models_own(serve: Serve) -> None:
    client = serve(LengthClassifier(), CapitalTagger(), long_texts="refuse")
    assert client.post("/classify", json={"input": LONG}).status_code == 400
    assert client.post("/classify", json={"input": LONG, "long_texts": "truncate"}).status_code == 200
    assert client.get("/v1/models/moods").json()["long_texts"] == "refuse"
    assert client.post("/tag", json={"input": LONG}).status_code == 200  # taggers read all of a text


def test_a_text_at_fault_fails_alone_and_no_number_is_no_answer(serve: Serve) -> None:
    client = serve(LengthClassifier())
    with ThreadPoolExecutor(6) as pool:
        texts = ["Тула", "яд", "нечисло", "ничто"] * 3
        answers = list(pool.map(lambda text: client.post("/classify", json={"input": ["Иван", text]}), texts))
    assert [answer.status_code for answer in answers] == [200, 500, 500, 500] * 3
    errors = [answer.json()["error"] for answer in answers if answer.status_code == 500]
    assert all(error["code"] == "model_failed" and error["param"] is None for error in errors)
    assert errors[1]["message"] == errors[2]["message"] and errors[2]["message"].startswith("the model gives values")


def test_a_full_queue_and_a_client_that_disconnects(serve: Serve) -> None:
    model = LengthClassifier()
    model.open.clear()
    client = serve(model, max_queue=3)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.post, "/classify", json={"input": "раз"})
        assert model.entered.wait(10)
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(f"{client.base_url}/classify", json={"input": ["два", "три"]}, timeout=0.2, trust_env=False)
        until(lambda: metric(client, 'slonik_dropped_total{model="moods"}') == 2)
        waiting = pool.submit(client.post, "/classify", json={"input": ["а", "б", "в"]})
        until(lambda: metric(client, 'slonik_queue_depth{model="moods"}') == 3)
        refused = client.post("/classify", json={"input": "г"})
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        model.open.set()
        assert first.result().status_code == waiting.result().status_code == 200
    assert not any("два" in batch for batch in model.batches)


def test_models_of_another_kind_are_sent_to_their_route(client: httpx2.Client, serve: Serve) -> None:
    for name, route, path, body in (
        ("toy", "/v1/embeddings", "/classify", {"input": "да"}),
        ("moods", "/classify", "/v1/embeddings", {"input": "да"}),
        ("moods", "/classify", "/tag", {"input": "да"}),
    ):
        answer = client.post(path, json={"model": name, **body})
        assert answer.status_code == 404 and route in answer.json()["error"]["message"]
    assert "no classifier is served" in serve(EchoDecoder()).post("/classify", json={"input": "а"}).text


def test_cards_say_what_a_classifier_gives(client: httpx2.Client) -> None:
    card = client.get("/v1/models/topics").json()
    assert (card["kind"], card["target"], card["labels"]) == ("classifier", "multi", ["спорт", "дом"])
    assert (card["max_tokens"], card["long_texts"]) == (32, "truncate")


def test_answers_without_a_route_are_refused_before_the_server_starts() -> None:
    model = LengthClassifier("spans", "answer")
    with pytest.raises(SlonikError, match="spans gives answers of the kind 'answer'"):
        create_app([ServedModel("spans", model)])


def test_batches_are_of_texts_of_like_length(serve: Serve) -> None:
    model = LengthClassifier()
    client = serve(model, max_batch_tokens=64)
    short, long = [f"слон {number}" for number in range(8)], [f"{LONG} {number}" for number in range(3)]
    answer = client.post("/classify", json={"input": [*short, *long], "raw_scores": True})
    check(answer.json()["data"], expected(model, [*short, *long], raw=True))
    sizes = [[len(model.tokenizer.encode(row).ids) for row in batch] for batch in model.batches[:-1]]
    assert all(len(batch) * min(32, max(batch)) <= 64 for batch in sizes) and len(sizes) > 2
    assert np.isfinite(answer.json()["usage"]["total_tokens"])
