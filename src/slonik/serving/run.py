"""Runs the application under uvicorn until it is told to stop, with a limit on a request's head, which httptools lacks.

SIGTERM and SIGINT stop listening, finish every request that has been taken, and end the process with code 0.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slonik.core.errors import SlonikError
from slonik.serving.app import create_app
from slonik.serving.errors import ApiError
from slonik.serving.served import ServedModel
from slonik.serving.settings import ServeSettings

_BACKLOG = 2048  # connections that may wait to be accepted
_KEEP_ALIVE_SECONDS = 75  # longer than a usual client pool keeps an idle connection

MOST_HEAD_BYTES = 65_536  # request line and headers


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 and disconnects when the request line and headers are longer than MOST_HEAD_BYTES."""

    _head_bytes: int | None = None  # of a head that is not complete; None outside one

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless the head has grown too long."""
        super().data_received(data)
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.transport.write(_refusal())
            self.transport.close()


def _refusal() -> bytes:
    message = f"the request line and headers are longer than {MOST_HEAD_BYTES} bytes: put texts into the body"
    answer = ApiError(431, message, code="headers_too_large", headers={"Connection": "close"}).response()
    head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    return b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + head + b"\r\n" + bytes(answer.body)


def run(models: Sequence[ServedModel], settings: ServeSettings, ready: Callable[[str], None]) -> None:
    """Serve `models` until SIGTERM or SIGINT.

    Args:
        ready: called with the server's URL when it is bound.

    Raises:
        SlonikError: the address cannot be bound, or the models cannot be served together.
    """
    app = create_app(models, settings)
    listening = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    with listening, _quiet_end():
        host, port = listening.getsockname()[:2]
        ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        gc.collect()
        gc.freeze()  # the models stay: collections during requests need not look at them
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SlonikError(f"cannot listen on {host} port {port}: {reason}; choose another --host or --port") from None


@contextlib.contextmanager
def _quiet_end() -> Iterator[None]:
    """uvicorn raises the signal that stopped it again when it is done; here that is a success, not a death."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
