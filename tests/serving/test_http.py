"""What is HTTP about the server: paths as clients write them, HEAD, packed bodies, heads too long, extremes."""

from __future__ import annotations

import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterator

import httpx2
import pytest

from slonik.serving.run import MOST_HEAD_BYTES
from tests.serving.conftest import Serve, serving
from tests.serving.models import CapitalTagger, EchoDecoder, LengthClassifier, ToyEncoder
from tests.serving.test_process import process


def packed(content: bytes) -> bytes:
    """gzip without the time, so that the tests' names are the same in every process."""
    return gzip.compress(content, mtime=0)


BODY = json.dumps({"model": "toy", "input": "Да."}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """A client of a server of one model of each kind."""
    models = (ToyEncoder(), EchoDecoder(), CapitalTagger(), LengthClassifier(), LengthClassifier("ranks", "number"))
    with serving(*models) as url, httpx2.Client(base_url=url, timeout=20, trust_env=False) as web:
        yield web


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/models/toy", "/metrics", "/docs", "/openapi.json"])
def test_head_is_get_without_its_body(client: httpx2.Client, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert head.status_code == 200 and head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == got.headers["content-length"]
    assert client.head("/v1/embeddings").status_code == 405 and client.head("/nothing").status_code == 404


@pytest.mark.parametrize(
    "path", ["/v1/embeddings/", "//v1/embeddings", "/v1//embeddings//", "/embeddings", "/embeddings/"]
)
def test_carelessly_joined_paths_are_understood(client: httpx2.Client, path: str) -> None:
    assert client.post(f"{client.base_url}{path}", content=BODY, headers=JSON).status_code == 200


@pytest.mark.parametrize("path", ["/health/", "//health", "/models", "/v1/models/"])
def test_carelessly_joined_paths_to_read_are_understood(client: httpx2.Client, path: str) -> None:
    assert client.get(f"{client.base_url}{path}").status_code == 200


def test_a_path_that_only_looks_open_needs_the_key(serve: Serve) -> None:
    client = serve(ToyEncoder(), api_key="ключ")
    assert client.get(f"{client.base_url}//health/").status_code == 200
    for path in ("/health/../metrics", "/docs/../v1/models", "//v1/models/"):
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert raw.recv(100).split()[1] in (b"401", b"404")


@pytest.mark.parametrize("name", ["openai/toy", "text-completion-openai/toy", "org/toy"])
def test_a_name_before_the_models_is_the_clients(client: httpx2.Client, name: str) -> None:
    answer = client.post("/v1/embeddings", json={"model": name, "input": "Да."})
    assert answer.status_code == 200 and answer.json()["model"] == "toy"
    assert client.get(f"/v1/models/{name}").json()["id"] == "toy"
    assert client.post("/v1/embeddings", json={"model": "toy/other", "input": "Да."}).status_code == 404


def test_an_id_with_an_organisation_is_called_by_that_one_alone(serve: Serve) -> None:
    client = serve(ToyEncoder("intfloat/e5"))
    assert client.get("/v1/models/intfloat/e5").json()["id"] == "intfloat/e5"
    assert client.post("/v1/embeddings", json={"model": "intfloat/e5", "input": "а"}).status_code == 200
    assert client.post("/v1/embeddings", json={"model": "other/e5", "input": "а"}).status_code == 404


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", packed(BODY)),
        ("x-gzip", packed(BODY)),
        ("GZIP", packed(BODY[:10]) + packed(BODY[10:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("identity", BODY),
    ],
)
@pytest.mark.parametrize("piece", [7, 10_000])
def test_packed_bodies_are_read(client: httpx2.Client, coding: str, body: bytes, piece: int) -> None:
    pieces = (body[start : start + piece] for start in range(0, len(body), piece))
    answer = client.post("/v1/embeddings", content=pieces, headers={**JSON, "Content-Encoding": coding})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("coding", "body", "status", "words"),
    [
        ("br", BODY, 415, "the content encoding is 'br'"),
        ("zstd", BODY, 415, "as gzip or deflate"),
        ("gzip, gzip", packed(packed(BODY)), 415, "gzip, gzip"),
        ("gzip", BODY, 400, "the body is not gzip"),
        ("gzip", packed(BODY)[:-12], 400, "cut short"),
        ("gzip", packed(BODY) + b"rest", 400, "the body is not gzip"),
        ("deflate", b"\xff" * 50, 400, "the body is not deflate"),
        ("gzip", b"", 400, "not valid JSON"),
    ],
)
def test_what_is_not_read_is_refused_by_name(
    client: httpx2.Client, coding: str, body: bytes, status: int, words: str
) -> None:
    answer = client.post("/v1/embeddings", content=body, headers={**JSON, "Content-Encoding": coding})
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert status != 415 or "gzip" in answer.headers["accept-encoding"]


@pytest.mark.parametrize(
    ("bomb", "status", "words"),
    [
        (packed(b" " * 50_000_000), 413, "larger than 200000 bytes"),
        (packed(b"") * 9_000, 400, "more than 100 gzip members"),
    ],
)
def test_what_unpacks_to_too_much_is_refused_on_the_way(serve: Serve, bomb: bytes, status: int, words: str) -> None:
    client = serve(ToyEncoder(), max_body_bytes=200_000)
    answer = client.post("/v1/embeddings", content=bomb, headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert client.post("/v1/embeddings", content=BODY, headers=JSON).status_code == 200


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "us-ascii"])
def test_json_is_utf_8(client: httpx2.Client, charset: str) -> None:
    kind = {"Content-Type": f"application/json; charset={charset}"}
    assert client.post("/v1/embeddings", content=BODY, headers=kind).status_code == 200
    refused = client.post("/v1/embeddings", content=BODY, headers={"Content-Type": "application/json;charset=cp1251"})
    assert refused.status_code == 415 and "cp1251" in refused.json()["error"]["message"]


def test_docs_need_nothing_from_outside(client: httpx2.Client) -> None:
    page = client.get("/docs")
    assert not re.search(r"https?:|//[a-z]|src=|@import|<link", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


_EXTREMES = [
    b'{"model": "toy", "input": "\\u0000"}',
    b'{"model": "toy", "input": ["a"], "dimensions": 99999999999999999999999999}',
    b'{"model": "toy", "input": ["a"], "dimensions": 1e308}',
    b'{"model": "toy", "input": [[1e400]]}',
    b'{"model": "toy", "input": [[NaN]]}',
    b'{"model": "toy", "input": [[9223372036854775807, 1]]}',
    b'{"model": "toy", "input": [[18446744073709551616]]}',
    b'{"model": "toy", "input": [' + b"[" * 900 + b"]" * 900 + b"]}",
    b'{"model": "toy", "model": "toy", "input": "a"}',
    b'{"model": "\\udfff", "input": "a"}',
    b'{"model": "' + b"a" * 100_000 + b'", "input": "a"}',
    b'{"' + b"a" * 100_000 + b'": 1}',
    b'{"model": "toy", "input": "' + "\u200d\u202e\ufeff".encode() + b'"}',
    b'{"model": "echo", "prompt": "a", "temperature": 1e-320, "top_p": 5e-324, "max_tokens": 3}',
    b'{"model": "echo", "prompt": "a", "temperature": 1e-40, "top_p": 1, "max_tokens": 3}',
    b'{"model": "echo", "prompt": "a", "temperature": -0.0, "max_tokens": 3}',
    b'{"model": "echo", "prompt": "a", "seed": 123456789012345678901234567890, "max_tokens": 3}',
    b'{"model": "echo", "prompt": "a", "max_tokens": 1e400}',
    b'{"model": "echo", "prompt": "", "max_tokens": 2}',
    b'{"model": "echo", "prompt": [], "max_tokens": 2}',
    b'{"input": "a", "query": "a", "documents": [{"text": "a", "x": {"y": [1e300]}}]}',
    b'{"query": "a", "documents": [{"text": "a", "x": {"y": [1e300]}}], "return_documents": true}',
    b'{"query": "", "documents": [""], "top_n": 1e15}',
    b'{"inputs": [[""]], "raw_scores": true}',
    b'{"inputs": [[]]}',
    b'{"text": "a", "predictions": null}',
]


@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/v1/completions", "/tag", "/classify", "/predict", "/rerank", "/gpt3/predict"]
)
def test_no_extreme_breaks_the_server(client: httpx2.Client, path: str) -> None:
    for body in (*_EXTREMES, b"\xef\xbb\xbf{}", b'"\xff"', b"[" * 5000):
        answer = client.post(path, content=body, headers=JSON)
        assert answer.status_code < 500, (body[:80], answer.text)
        if answer.status_code >= 400:
            assert len(answer.json()["error"]["message"]) < 700


def _answer(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    pieces = [connection.recv(65536)]
    while pieces[-1]:
        pieces.append(connection.recv(65536))
    return b"".join(pieces)


def test_heads_have_a_limit_in_one_read_and_in_many_and_upgrades_are_passed_over() -> None:
    with process() as (_, client):
        where = (client.base_url.host, client.base_url.port)
        start, end = b"GET /health HTTP/1.1\r\nHost: a\r\n", b"Connection: close\r\n\r\n"
        small = b"X-A: " + b"a" * 60_000 + b"\r\n"
        for head, status in (
            (start + small + end, b"200"),
            (start + b"X-A: " + b"a" * MOST_HEAD_BYTES + b"\r\n" + end, b"431"),
            (start + b"X-A: b\r\n" * 20_000 + end, b"431"),
            (b"GET /health?" + b"a" * MOST_HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n" + end, b"431"),
            (b"\x16\x03\x01nonsense\r\n\r\n", b"400"),
        ):
            for slow in (False, True):
                with socket.create_connection(where, timeout=20) as connection:
                    try:
                        if slow:
                            for place in range(0, len(head), 9000):
                                connection.sendall(head[place : place + 9000])
                        else:
                            connection.sendall(head)
                    except ConnectionError:
                        pass  # it was told to stop before it had sent everything
                    answer = _answer(connection)
                assert answer.split()[1] == status, answer[:200]
                assert status == b"200" or b'"error"' in answer
        body = b'{"model": "toy", "input": "a"}'
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: %d\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" % len(body)
        with socket.create_connection(where, timeout=20) as connection:
            connection.sendall(head + body)  # as Java's client begins
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.sendall(start + end)
            assert b'{"status":"ok"}' in _answer(connection)
