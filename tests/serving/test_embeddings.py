"""POST /v1/embeddings: the answer is the encoder's, whatever the form of the request."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx2
import numpy as np
import pytest
from openai import OpenAI

from tests.serving.conftest import Serve
from tests.serving.models import DIMENSION, EchoDecoder, ToyEncoder, WordEncoder
from tests.tiny.texts import TEXTS


def ask(client: httpx2.Client, **fields: object) -> httpx2.Response:
    return client.post("/v1/embeddings", json={"model": "toy", **fields})


def vectors(answer: httpx2.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.array([item["embedding"] for item in data], dtype=np.float32)


def test_one_string_and_a_list_give_the_vectors_of_the_encoder_alone(client: httpx2.Client, toy: ToyEncoder) -> None:
    assert np.allclose(vectors(ask(client, input=TEXTS[0])), toy.encode(TEXTS[:1]), atol=1e-5)
    assert np.allclose(vectors(ask(client, input=TEXTS)), toy.encode(TEXTS), atol=1e-5)


def test_base64_holds_the_same_float32(client: httpx2.Client) -> None:
    plain = vectors(ask(client, input=TEXTS[:3]))
    data = ask(client, input=TEXTS[:3], encoding_format="base64").json()["data"]
    packed = np.stack([np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data])
    assert np.array_equal(plain, packed)


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        ({}, "query: "),
        ({"input_type": "passage"}, "passage: "),
        ({"prefix": ""}, ""),
        ({"prefix": "о чём: ", "input_type": "query"}, "о чём: "),
    ],
)
def test_prefixes(client: httpx2.Client, toy: ToyEncoder, fields: dict[str, str], prefix: str) -> None:
    assert np.allclose(vectors(ask(client, input=TEXTS[3], **fields)), toy.encode(TEXTS[3:4], prefix=prefix), atol=1e-5)


def test_token_ids_are_read_with_prefix_and_specials(client: httpx2.Client, toy: ToyEncoder) -> None:
    ids = [toy.tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS[:2]]
    assert np.allclose(vectors(ask(client, input=ids)), toy.encode(TEXTS[:2]), atol=1e-5)
    assert np.allclose(vectors(ask(client, input=ids[0])), toy.encode(TEXTS[:1]), atol=1e-5)
    assert np.allclose(vectors(ask(client, input=ids, prefix="")), toy.encode(TEXTS[:2], prefix=""), atol=1e-5)


def test_usage_counts_what_the_model_reads(client: httpx2.Client, toy: ToyEncoder) -> None:
    expected = sum(len(toy.tokenizer.encode("query: " + text).ids) for text in TEXTS[:5])
    answer = ask(client, input=TEXTS[:5]).json()
    assert answer["usage"] == {"prompt_tokens": expected, "total_tokens": expected}
    assert answer["model"] == "toy" and answer["object"] == "list"


def test_texts_that_repeat_are_encoded_once_and_counted_each_time(serve: Serve) -> None:
    encoder = ToyEncoder()
    client = serve(encoder)
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]] * 500
    answer = ask(client, input=texts)
    one, other = encoder.encode(TEXTS[:2])
    assert np.allclose(vectors(answer), np.stack([one, other, one, one] * 500), atol=1e-5)
    assert sum(map(len, encoder.batches)) == 2
    counts = [len(encoder.tokenizer.encode("query: " + text).ids) for text in TEXTS[:2]]
    assert answer.json()["usage"]["total_tokens"] == 1500 * counts[0] + 500 * counts[1]


def test_long_texts_are_refused_cut_or_averaged_as_asked(client: httpx2.Client, toy: ToyEncoder) -> None:
    long = " ".join(TEXTS[:8])
    assert np.allclose(vectors(ask(client, input=long)), vectors(ask(client, input=long, long_texts="truncate")))
    refused = ask(client, input=["Да.", long], long_texts="refuse")
    assert refused.status_code == 400
    assert refused.json() == ask(client, input=["Да.", long], long_text="refuse").json()  # its earlier name
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert "input[1]" in refused.json()["error"]["message"] and "64 tokens" in refused.json()["error"]["message"]

    cut = ask(client, input=long, long_texts="truncate")
    assert cut.json()["usage"]["prompt_tokens"] == 64 and cut.headers["x-cut-texts"] == "1"
    assert ask(client, input=[long, "Да.", long], long_texts="truncate").headers["x-cut-texts"] == "2"
    ids = toy.tokenizer.encode("query: " + long).ids
    assert np.allclose(vectors(cut), toy._vector(ids[:63] + ids[-1:]), atol=1e-5)

    whole = ask(client, input=long, long_texts="average")  # windows are the encoder's business
    assert whole.json()["usage"]["prompt_tokens"] == len(ids) and "x-cut-texts" not in whole.headers
    assert "x-cut-texts" not in ask(client, input="Да.").headers


def test_far_too_long_texts_are_refused_by_name_or_cut(client: httpx2.Client) -> None:
    for policy, words in (("refuse", "more than the 64 tokens"), ("average", "more than 32 times the 64 tokens")):
        answer = ask(client, input=["да", "слон " * 100_000], long_texts=policy)
        assert answer.status_code == 400 and f"input[1] has {words}" in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"] == "input[1]"
    assert ask(client, input="слон " * 100_000).json()["usage"]["total_tokens"] == 64


def test_dimensions_only_the_models_own(client: httpx2.Client) -> None:
    for dimensions in (DIMENSION, None, 0):
        assert vectors(ask(client, input="Да.", dimensions=dimensions)).shape == (1, DIMENSION)
    for dimensions in (8, 99):
        refused = ask(client, input="Да.", dimensions=dimensions)
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "dimensions"


@pytest.mark.parametrize(
    ("config", "good", "bad"),
    [({"matryoshka_dimensions": [4, 8]}, (4, 8), (5, 17)), ({"is_matryoshka": True}, (1, 5, 15), (17,))],
)
def test_vectors_are_cut_where_the_model_was_trained_for_it(
    serve: Serve, tmp_path: Path, config: dict[str, object], good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    encoder = ToyEncoder()
    encoder.source = tmp_path  # type: ignore[attr-defined]
    client = serve(encoder)
    whole = encoder.encode(["Да."])
    for size in good:
        part = whole[:, :size] / np.linalg.norm(whole[:, :size])
        assert np.allclose(vectors(ask(client, input="Да.", dimensions=size)), part, atol=1e-5)
    for size in bad:
        assert ask(client, input="Да.", dimensions=size).status_code == 400


def test_the_first_encoder_is_taken_where_none_is_named(serve: Serve) -> None:
    client = serve(EchoDecoder(), ToyEncoder("first"), ToyEncoder("second"))
    for body in ({"input": "Да."}, {"input": "Да.", "model": None}):
        assert client.post("/v1/embeddings", json=body).json()["model"] == "first"


def test_token_ids_are_spoken_of_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = serve(ToyEncoder())
    for _ in range(3):
        assert ask(client, input=[5, 6]).status_code == 200
    assert [record.message.count("check_embedding_ctx_length") for record in caplog.records] == [1]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"input": ""}, 400, "input is empty: send at least one character"),
        ({"input": []}, 400, "input is an empty list"),
        ({"input": ["да", ""]}, 400, "input[1] is empty"),
        ({"input": [[]]}, 400, "input[0] is empty: leave it out, or send at least one id"),
        ({"input": None}, 400, "input is null: send a string"),
        ({"input": 5}, 400, "send a string"),
        ({"input": {"text": "да"}}, 400, "send a string"),
        ({"input": ["да", 5]}, 400, "input[1] is a number"),
        ({"input": [None]}, 400, "input[0] is null"),
        ({"input": [1, "да"]}, 400, "token ids"),
        ({"input": [1, -1]}, 400, "input[1] is -1: token ids"),
        ({"input": [[1], [1, 0.5]]}, 400, "input[1][1] is 0.5: token ids"),
        ({"input": [[1], [10**9]]}, 400, "input[1] has the token id"),
        ({"input": [10**9]}, 400, "not in the vocabulary"),
        ({"input": ["да"] * 2049}, 400, "at most 2048"),
        ({}, 400, "'input' is missing"),
        ({"input": "да", "model": "toi"}, 404, "did you mean 'toy'"),
        ({"input": "да", "model": "nothing like it"}, 404, "served: toy"),
        ({"input": "да", "model": "echo"}, 404, "/v1/completions"),
        ({"input": "да", "model": 5}, 400, "'model' is 5"),
        ({"input": "да", "encoding_format": "hex"}, 400, "base64"),
        ({"input": "да", "dimensions": "16"}, 400, "dimensions"),
        ({"input": "да", "dimensions": -1}, 400, "dimensions"),
        ({"input": "да", "input_type": "querry"}, 400, "did you mean 'query'"),
        ({"input": "да", "prefix": "о" * 33}, 400, "takes at most 32"),
        ({"inputs": "да", "input": "да"}, 400, "did you mean 'input'"),
    ],
)
def test_wrong_requests_get_one_sentence(
    client: httpx2.Client, fields: dict[str, object], status: int, words: str
) -> None:
    answer = ask(client, **fields)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert words in error["message"] and "\n" not in error["message"] and len(error["message"]) < 400
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"model": "toy", "input": "\xff"}', b'{"model": "toy"} x', b"[" * 100_000]
)
def test_broken_json(client: httpx2.Client, body: bytes) -> None:
    answer = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "not valid JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"5"])
def test_json_that_is_no_object(client: httpx2.Client, body: bytes) -> None:
    answer = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "JSON object" in answer.json()["error"]["message"]


def test_a_lone_surrogate_is_refused_or_encoded_but_never_breaks_the_server(client: httpx2.Client) -> None:
    body = b'{"model": "toy", "input": "\\ud800"}'
    answer = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_a_body_that_is_not_declared_as_json(client: httpx2.Client) -> None:
    answer = client.post("/v1/embeddings", content=b'{"model": "toy", "input": "da"}')
    assert answer.status_code == 415 and "Content-Type: application/json" in answer.json()["error"]["message"]


def test_the_official_client(server: str, toy: ToyEncoder) -> None:
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        assert "toy" in [model.id for model in client.models.list()]
        packed = client.embeddings.create(model="toy", input=TEXTS[:4])  # asks for base64 and unpacks it
        plain = client.embeddings.create(model="toy", input=TEXTS[:4], encoding_format="float")
        extended = client.embeddings.create(model="toy", input="Да.", extra_body={"input_type": "passage"})
    assert np.allclose([item.embedding for item in packed.data], toy.encode(TEXTS[:4]), atol=1e-5)
    assert np.allclose([item.embedding for item in plain.data], toy.encode(TEXTS[:4]), atol=1e-5)
    assert np.allclose(extended.data[0].embedding, toy.encode(["Да."], prefix="passage: ")[0], atol=1e-5)


def test_an_encoder_without_a_tokenizer(serve: Serve) -> None:
    client = serve(WordEncoder())
    answer = client.post("/v1/embeddings", json={"model": "words", "input": ["раз два", "слон"]})
    assert np.array_equal(vectors(answer), WordEncoder().encode(["раз два", "слон"]))
    assert answer.json()["usage"]["total_tokens"] == 3
    refused = client.post("/v1/embeddings", json={"model": "words", "input": [1, 2]})
    assert refused.status_code == 400 and "no tokenizer" in refused.json()["error"]["message"]
