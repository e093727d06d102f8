"""A real server on a free port, in a thread of the test process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
import uvicorn
from starlette.types import ASGIApp

from slonik.serving import ServedModel, ServeSettings, create_app
from slonik.serving.served import Model
from tests.serving.models import EchoDecoder, ToyEncoder

Serve = Callable[..., httpx2.Client]


@contextlib.contextmanager
def serving(*models: Model, settings: ServeSettings | None = None) -> Iterator[str]:
    """The URL of a running server of `models`."""
    with serving_app(create_app([ServedModel(model.name, model) for model in models], settings)) as url:
        yield url


@contextlib.contextmanager
def serving_app(app: ASGIApp) -> Iterator[str]:
    """The URL of a server that runs `app`."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(*models, **settings)` starts a server and gives a client of it."""
    with contextlib.ExitStack() as stack:

        def start(*models: Model, **settings: object) -> httpx2.Client:
            url = stack.enter_context(serving(*models, settings=ServeSettings.model_validate(settings)))
            return stack.enter_context(httpx2.Client(base_url=url, timeout=20, trust_env=False))

        yield start


@pytest.fixture(scope="module")
def toy() -> ToyEncoder:
    return ToyEncoder()


@pytest.fixture(scope="module")
def server(toy: ToyEncoder) -> Iterator[str]:
    """The URL of a server of one toy encoder and one toy decoder, for tests that change nothing."""
    with serving(toy, EchoDecoder()) as url:
        yield url


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server, timeout=20, trust_env=False) as client:
        yield client
