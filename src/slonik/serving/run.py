"""Runs the application under uvicorn until it is told to stop, with a limit on a request's head, which httptools lacks.

SIGTERM and SIGINT stop listening, finish every request that has been taken, and end the process with code 0.
"""

from __future__ import annotations

import contextlib
import gc
import http
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slonik.core.errors import SlonikError
from slonik.serving.app import create_app
from slonik.serving.errors import ApiError
from slonik.serving.served import ServedModel
from slonik.serving.settings import ServeSettings

_BACKLOG = 2048  # connections that may wait to be accepted
_KEEP_ALIVE_SECONDS = 75  # longer than a usual client pool keeps an idle connection

MOST_HEAD_BYTES = 65_536  # request line and headers, trailers of a chunked body included


_LINGER_SECONDS = 2.0  # what is left to a client to read its refusal


class HeadTooLong(Exception):
    """The request line and headers are longer than MOST_HEAD_BYTES."""


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too long, in however many pieces it comes, and 400 to what is no HTTP.

    An upgrade to another protocol (Java's client asks for h2c) is passed over, as HTTP allows: the request is answered.
    """

    _head_bytes = 0  # of this request's head, as far as the parser has read it
    _unread_bytes = 0  # received since a head began that is not complete
    _in_head = False
    _refused = False

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head_bytes, self._unread_bytes = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of its request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or trailer."""
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless the head has grown too long."""
        if self._refused:
            return  # it may not have read the answer yet: what it still sends is thrown away
        self._unset_keepalive_if_required()
        begun = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._pass_over_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._refuse(error)
            return
        if begun and self._in_head:
            self._unread_bytes += len(data)
            if self._unread_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(HeadTooLong())

    def _pass_over_upgrade(self, rest: bytes) -> None:
        """Go on after the head of a request that asks for an upgrade, whose body the parser takes for something else:
        another parser reads it, told of its length alone."""
        framing = [
            name + b": " + value + b"\r\n"
            for name, value in self.headers
            if name in (b"content-length", b"transfer-encoding")
        ]
        self.parser = httptools.HttpRequestParser(_AfterUpgrade(self))
        if framing:
            self.cycle.more_body = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        if rest:
            self.data_received(rest)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            raise HeadTooLong

    def _refuse(self, error: Exception) -> None:
        """Answer what cannot be read and disconnect; an answer that is being sent is broken off."""
        if isinstance(error, HeadTooLong) or isinstance(error.__context__, HeadTooLong):
            message = f"the request line and headers are longer than {MOST_HEAD_BYTES} bytes: put texts into the body"
            refusal = ApiError(431, message, code="headers_too_large", headers={"Connection": "close"})
        else:
            refusal = ApiError(400, "this is no HTTP/1.1 request", code="invalid_http", headers={"Connection": "close"})
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_as_http(refusal))
        # A connection that is closed with bytes unread is reset, and the answer with it.
        self._refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class _AfterUpgrade:
    """What a parser tells the protocol after an upgrade was passed over: of the first message its body alone."""

    def __init__(self, protocol: LimitedProtocol) -> None:
        self._protocol = protocol
        self._later = False

    def on_message_begin(self) -> None:
        if self._later:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._later:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._later:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._later:
            self._protocol.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        self._later = True
        self._protocol.on_message_complete()


def _as_http(refusal: ApiError) -> bytes:
    answer = refusal.response()
    reason = http.HTTPStatus(answer.status_code).phrase
    head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    return f"HTTP/1.1 {answer.status_code} {reason}\r\n".encode() + head + b"\r\n" + bytes(answer.body)


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
