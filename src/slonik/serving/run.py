"""Runs the application under uvicorn until it is told to stop.

SIGTERM and SIGINT stop listening, finish every request that has been taken, and end the process with code 0.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn

from slonik.core.errors import SlonikError
from slonik.serving.app import create_app
from slonik.serving.protocol import LimitedProtocol
from slonik.serving.served import ServedModel
from slonik.serving.settings import ServeSettings

_BACKLOG = 2048  # connections that may wait to be accepted
_KEEP_ALIVE_SECONDS = 75  # longer than a usual client pool keeps an idle connection


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
