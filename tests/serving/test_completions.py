"""POST /v1/completions and /gpt3/predict, on a decoder that writes its prompt's words back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import socket
import threading

import httpx2
import numpy as np
import pytest
import uvicorn
from openai import BadRequestError, OpenAI

from slonik.runtime.sampling import SamplingConfig
from slonik.serving import ServedModel, create_app
from tests.serving.conftest import Serve, serving
from tests.serving.models import EchoDecoder, ToyEncoder, ToyWriter
from tests.serving.test_queue import metric, until


def ask(client: httpx2.Client, **fields: object) -> httpx2.Response:
    return client.post("/v1/completions", json={"model": "echo", "prompt": "раз два три", **fields})


def test_a_continuation(client: httpx2.Client) -> None:
    answer = ask(client, max_tokens=4).json()
    assert answer["object"] == "text_completion" and answer["model"] == "echo"
    assert answer["choices"] == [{"index": 0, "text": " раз два три раз", "finish_reason": "length", "logprobs": None}]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    "fields",
    [
        {
            "frequency_penalty": 0,
            "presence_penalty": 0.0,
            "n": 1,
            "best_of": 1,
            "suffix": None,
            "stop": [],
            "logprobs": None,
        },
        {"logit_bias": {}, "user": "u", "seed": 7, "stream_options": None, "stop": None, "model": None},
        {"temperature": 1e-10, "top_p": 1e-10},
        {"temperature": 0, "seed": -1, "logprobs": 0},
    ],
)
def test_what_asks_for_nothing_is_accepted(client: httpx2.Client, fields: dict[str, object]) -> None:
    for stream in (False, True):
        assert ask(client, max_tokens=2, stream=stream, **fields).status_code == 200


def test_stop_texts_and_echo(client: httpx2.Client) -> None:
    [choice] = ask(client, max_tokens=9, stop="ри", echo=True).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("раз два три раз два т", "stop")
    [choice] = ask(client, max_tokens=9, stop=["нет", " два"]).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == (" раз", "stop")


def test_the_context_ends_a_continuation(client: httpx2.Client) -> None:
    answer = ask(client, max_tokens=4096).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == 100


def test_several_prompts_keep_their_order(client: httpx2.Client) -> None:
    answer = ask(client, prompt=["раз", "два три"], max_tokens=2).json()
    assert [choice["text"] for choice in answer["choices"]] == [" раз раз", " два три"]
    assert answer["usage"]["completion_tokens"] == 4


def test_a_stream_sends_the_same_text_in_pieces(client: httpx2.Client) -> None:
    fields = {"prompt": ["раз два", "три"], "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}
    answer = ask(client, **fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    pieces = [json.loads(line) for line in lines]
    assert pieces[-1]["usage"]["completion_tokens"] == 6 and pieces[-1]["choices"] == []
    texts = {0: "", 1: ""}
    for piece in pieces[:-1]:
        texts[piece["choices"][0]["index"]] += piece["choices"][0]["text"]
    assert texts == {0: " раз два раз", 1: " три три три"}
    assert len({piece["id"] for piece in pieces}) == 1


def test_the_official_client(server: str) -> None:
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        whole = client.completions.create(model="echo", prompt="а б", max_tokens=3, temperature=0)
        assert whole.choices[0].text == " а б а"
        stream = client.completions.create(model="echo", prompt="а б", max_tokens=3, stream=True)
        assert "".join(piece.choices[0].text for piece in stream) == " а б а"
        with pytest.raises(BadRequestError, match="the prompt has 101 tokens"):
            client.completions.create(model="echo", prompt="а " * 101, stream=True)


def test_gpt3_predict_returns_the_text_with_its_continuation(client: httpx2.Client) -> None:
    answer = client.post("/gpt3/predict", json={"text": "раз два"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"predictions"}
    assert answer.json()["predictions"].startswith("раз два раз два")


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "'prompt' is a list: it should have at least 1 item, not 0"),
        ({"prompt": ["да"] * 17}, 400, "'prompt' is a list: it should have at most 16 items, not 17"),
        ({"prompt": 5}, 400, "'prompt' is 5: send a string or a list"),
        ({"prompt": ["да", 5]}, 400, "'prompt[1]' is 5: send a string"),
        ({"stop": ["да"] * 17}, 400, "'stop' is a list: it should have at most 16 items, not 17"),
        ({"stream_options": []}, 400, "'stream_options' is a list: send an object"),
        ({"stream": "yes"}, 400, "'stream' is 'yes': send true or false"),
        ({"prompt": "слово " * 100}, 400, "the prompt has 100 tokens"),
        ({"model": "toy"}, 404, "/v1/embeddings"),
        ({"model": "ecco"}, 404, "did you mean 'echo'"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"temperature": 3}, 400, "temperature"),
        ({"n": 2}, 400, "n is 2: this server supports 1 alone"),
        ({"best_of": 3}, 400, "best_of is 3"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty is 0.5"),
        ({"logit_bias": {"5": 1}}, 400, "logit_bias is an object"),
        ({"logprobs": 3}, 400, "logprobs is 3"),
        ({"temperature": 1e-40}, 400, "temperature is 1e-40: use 0"),
        ({"temperature": 5e-324}, 400, "temperature is 5e-324"),
        ({"top_p": 5e-324}, 400, "top_p"),
        ({"suffix": "конец"}, 400, "suffix is 'конец'"),
        ({"seed": 1.5}, 400, "seed"),
        ({"stop": ""}, 400, "stop"),
        ({"temperature": -1e-9}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 10**30}, 400, "max_tokens"),
        ({"stream_options": {"usage": True}, "stream": True}, 400, "unknown field"),
        ({"prompt": "яд"}, 500, "failed on this input"),
        ({"prompt": "яд", "stream": True}, 500, "failed on this input"),
    ],
)
def test_wrong_requests_get_one_sentence(
    client: httpx2.Client, fields: dict[str, object], status: int, words: str
) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == status
    message = answer.json()["error"]["message"]
    assert words in message and "\n" not in message


def test_without_a_decoder_the_routes_say_so(serve: Serve) -> None:
    client = serve(ToyEncoder())
    for path, body in (
        ("/v1/completions", {"model": "gpt", "prompt": "да"}),
        ("/gpt3/predict", {"text": "да"}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 404
        assert "no decoder is served" in answer.json()["error"]["message"]


def test_a_full_queue_answers_429(serve: Serve) -> None:
    decoder = EchoDecoder()
    decoder.open.clear()
    client = serve(decoder, max_queue=1)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, client)
        until(lambda: metric(client, "slonik_requests_running") == 2)  # with this one
        until(lambda: metric(client, 'slonik_queue_depth{model="echo"}') == 0)
        second = pool.submit(ask, client)
        until(lambda: metric(client, 'slonik_queue_depth{model="echo"}') == 1)
        refused = ask(client)
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        decoder.open.set()
        assert first.result().status_code == second.result().status_code == 200


def test_writing_stops_when_the_reader_hangs_up(serve: Serve) -> None:
    decoder = EchoDecoder()
    decoder.open.clear()
    client = serve(decoder)
    for stream in ("true", "false"):
        body = f'{{"model": "echo", "prompt": "да", "max_tokens": 90, "stream": {stream}}}'.encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        with socket.create_connection((client.base_url.host, client.base_url.port)) as gone:
            gone.sendall(head.encode() + b"\r\n\r\n" + body)
            until(lambda: metric(client, "slonik_requests_running") == 2)
        until(lambda: metric(client, "slonik_requests_running") == 1)
    decoder.open.set()
    assert ask(client, max_tokens=2).status_code == 200
    assert decoder.written < 90


async def _hang_up(port: int, model: str, stream: str, after: float) -> None:
    body = f'{{"model": "{model}", "prompt": "да нет", "max_tokens": 90, "stream": {stream}}}'.encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + b"\r\n\r\n" + body)
    await writer.drain()
    await asyncio.sleep(after)
    writer.close()
    await writer.wait_closed()


async def _settled(limit: int) -> int:
    for _ in range(400):
        if len(asyncio.all_tasks()) <= limit:
            break
        await asyncio.sleep(0.01)
    return len(asyncio.all_tasks())


@pytest.mark.parametrize("model", [EchoDecoder, ToyWriter])
@pytest.mark.parametrize("begun", [False, True])
def test_sixty_clients_that_hang_up_leave_nothing_behind(model: type[EchoDecoder | ToyWriter], begun: bool) -> None:
    """No task of the server's loop waits for ever, and the decoder writes no more for those who are gone."""
    decoder = model()
    if not begun:
        decoder.open.clear()
    app = create_app([ServedModel(decoder.name, decoder)])

    async def main() -> None:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
        running = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        before = len(asyncio.all_tasks())
        streams = (("true", "false")[number % 2] for number in range(60))
        await asyncio.gather(*(_hang_up(port, decoder.name, stream, 0.0 if begun else 0.05) for stream in streams))
        assert await _settled(before) <= before
        decoder.open.set()
        assert await _settled(before) <= before
        server.should_exit = True
        await running
        if not begun and isinstance(decoder, EchoDecoder):
            assert decoder.written <= 2  # the first client's first word
        if not begun and isinstance(decoder, ToyWriter):
            assert len(decoder.widths) <= 1

    asyncio.run(main())


def _asked(client: httpx2.Client, **fields: object) -> dict[str, object]:
    answer = client.post("/v1/completions", json={"model": "writer", "prompt": "Слон", **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()["choices"][0]
    return found


def test_a_request_joins_those_that_are_being_written(serve: Serve) -> None:
    writer = ToyWriter()
    writer.open.clear()
    client = serve(writer)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(_asked, client, max_tokens=40, seed=0)
        assert writer.entered.wait(10)
        later = [
            pool.submit(
                _asked, client, prompt=f"Снег {number}", max_tokens=5 + number, seed=number, temperature=number % 2
            )
            for number in range(1, 7)
        ]
        until(lambda: metric(client, 'slonik_queue_depth{model="writer"}') == 6)
        writer.open.set()
        answers = [first.result(), *(one.result() for one in later)]
    assert max(writer.widths) == 7 and writer.widths[-1] == 1
    config = SamplingConfig(max_tokens=40, seed=0)
    assert answers[0]["text"] == "".join(writer.stream("Слон", config))
    for number, answer in enumerate(answers[1:], start=1):
        config = SamplingConfig(max_tokens=5 + number, seed=number, temperature=number % 2)
        assert answer["text"] == "".join(writer.stream(f"Снег {number}", config))
        assert answer["finish_reason"] == "length"


def test_no_more_than_so_many_texts_are_written_at_once(serve: Serve) -> None:
    writer = ToyWriter()
    writer.open.clear()
    client = serve(writer)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(_asked, client, max_tokens=3, seed=number) for number in range(24)]
        until(lambda: metric(client, "slonik_requests_running") == 25)
        writer.open.set()
        texts = [one.result()["text"] for one in asked]
    assert max(writer.widths) <= 16
    for number, text in enumerate(texts):
        config = SamplingConfig(max_tokens=3, seed=number)
        assert text == "".join(writer.stream("Слон", config))


def test_a_stop_text_and_a_failure_end_one_text_alone(serve: Serve) -> None:
    writer = ToyWriter()
    client = serve(writer)
    whole = "".join(writer.stream("Слон", SamplingConfig(max_tokens=30, temperature=0)))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
    found = _asked(client, max_tokens=30, temperature=0, stop=stop)
    assert found["text"] == whole[: whole.index(stop)] and found["finish_reason"] == "stop"
    answer = client.post("/v1/completions", json={"prompt": "слон " * 100})
    assert answer.status_code == 400 and "takes fewer than 100" in answer.json()["error"]["message"]
    writer._table[:] = np.nan
    answer = client.post("/v1/completions", json={"prompt": "слон"})
    assert answer.status_code == 500 and "no numbers" in answer.json()["error"]["message"]


def test_what_has_been_taken_is_written_to_the_end_when_the_server_stops() -> None:
    writer = ToyWriter()
    writer.open.clear()
    with httpx2.Client(timeout=20, trust_env=False) as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        with serving(writer) as url:
            body = {"prompt": "Слон", "max_tokens": 20, "seed": 1}
            asked = pool.submit(client.post, f"{url}/v1/completions", json=body)
            assert writer.entered.wait(10)
            threading.Timer(0.2, writer.open.set).start()
        text = asked.result().json()["choices"][0]["text"]
        assert text == "".join(writer.stream("Слон", SamplingConfig(max_tokens=20, seed=1)))
