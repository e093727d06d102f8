"""The server as a process: it ends well, and it stays small."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from slonik.core.errors import SlonikError
from slonik.serving import ServedModel, ServeSettings, run
from tests.serving.models import ToyEncoder
from tests.serving.test_queue import metric, post, until

ROOT = Path(__file__).resolve().parents[2]
_MEGABYTE = 2**20


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """A toy server and a client of it."""
    command = [sys.executable, "-m", "tests.serving.toy_server", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
                until(lambda: _answers(client))
                yield server, client
        finally:
            server.kill()


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_was_taken_and_ends_with_code_0(kind: signal.Signals) -> None:
    with process("0.3") as (server, client), concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(post, client, f"Да {number}.") for number in range(4)]
        until(lambda: metric(client, "slonik_requests_running") == 5)  # four, and this one
        server.send_signal(kind)
        assert [answer.result().status_code for answer in answers] == [200] * 4
        assert server.wait(timeout=20) == 0
        with pytest.raises(httpx2.TransportError):
            client.get("/health")


def test_bodies_of_50_megabytes_are_refused_in_constant_memory() -> None:
    with process() as (server, client):
        headers = {"Content-Type": "application/json"}
        assert post(client, "Да.").status_code == 200
        before = _peak_bytes(server.pid)

        def chunks() -> Iterator[bytes]:
            yield b'{"model": "toy", "input": "'
            for _ in range(50):
                yield b"x" * _MEGABYTE

        for content in (b"x" * 50 * _MEGABYTE, chunks(), chunks()):
            assert client.post("/v1/embeddings", content=content, headers=headers).status_code == 413
        assert post(client, "Да.").status_code == 200
        assert _peak_bytes(server.pid) - before < 30 * _MEGABYTE


def test_an_endless_header_is_refused_in_constant_memory() -> None:
    with process() as (server, client):
        assert post(client, "Да.").status_code == 200
        before = _peak_bytes(server.pid)
        for start in (b"GET /health HTTP/1.1\r\nX-Long: ", b"GET /"):
            with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as endless:
                with contextlib.suppress(OSError):
                    endless.sendall(start)
                    for _ in range(50):
                        endless.sendall(b"x" * _MEGABYTE)
                with contextlib.suppress(ConnectionResetError):
                    assert endless.recv(1000).startswith(b"HTTP/1.1 431")
        assert post(client, "Да.").status_code == 200
        assert client.get("/health", headers={"X-Long": "x" * 30_000}).status_code == 200
        assert _peak_bytes(server.pid) - before < 10 * _MEGABYTE


def _peak_bytes(pid: int) -> int:
    """The most memory that the process has held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM in /proc")


def test_an_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SlonikError, match=f"port {port}.*choose another"):
            run([ServedModel("toy", ToyEncoder())], ServeSettings(port=port), lambda url: None)
