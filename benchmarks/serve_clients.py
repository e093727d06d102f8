"""Clients for the server benchmarks: a process to serve, keep-alive connections, closed-loop load.

The client is plain asyncio streams and hand-written HTTP/1.1, so that it takes little of the machine it shares with
the server. Nothing here knows which server it talks to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 180  # a model may take its time to load on a busy machine


@dataclass(frozen=True)
class Answer:
    """One answered request: when it began and ended (seconds), and what came."""

    start: float
    end: float
    status: int
    body: bytes

    @property
    def seconds(self) -> float:
        """Latency."""
        return self.end - self.start


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def server_process(command: Sequence[str], port: int, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run `command` until it answers GET /health on `port`; gives its process id, and ends it."""
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + START_SECONDS
            while not _healthy(port):
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with code {process.returncode}")
                if time.monotonic() > end:
                    raise RuntimeError(f"{command[0]} did not answer within {START_SECONDS} s")
                time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to `port` on loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes) -> Answer:
        """Send JSON and read the whole answer."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        content = await self._reader.readexactly(int(fields["content-length"]))
        return Answer(start, time.perf_counter(), int(lines[0].split()[1]), content)

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def closed_loop(port: int, path: str, bodies: Sequence[bytes], clients: int) -> list[Answer]:
    """Send every body once, `clients` at a time, each client waiting for its answer before it sends again.

    Connections are opened one after another before the clock starts. Answers are in the order of `bodies`.
    """
    connections = [await Connection.open(port) for _ in range(clients)]
    answers: list[Answer | None] = [None] * len(bodies)
    numbers = iter(range(len(bodies)))

    async def client(connection: Connection) -> None:
        for number in numbers:
            answers[number] = await connection.post(path, bodies[number])

    await asyncio.gather(*(client(connection) for connection in connections))
    for connection in connections:
        await connection.close()
    return [answer for answer in answers if answer is not None]


def summary(answers: Sequence[Answer]) -> dict[str, float]:
    """Requests per second, latency percentiles in milliseconds, and answers that are not 200."""
    latencies = sorted(answer.seconds * 1000 for answer in answers)
    seconds = max(answer.end for answer in answers) - min(answer.start for answer in answers)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "requests_per_second": len(answers) / seconds,
        "p50_ms": cuts[49],
        "p95_ms": cuts[94],
        "p99_ms": cuts[98],
        "p99_over_p50": cuts[98] / cuts[49],
        "errors": float(sum(answer.status != 200 for answer in answers)),
    }


def machine() -> dict[str, Any]:
    """The processor, for the record."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {"cpu": names[0] if names else "unknown", "cores": len(names) or None}


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def read_texts(path: Path | None, limit: int) -> list[str]:
    """The first `limit` lines of a file; without one, 40 short Russian sentences of the test suite."""
    if path is None:
        from tests.tiny.texts import TEXTS

        return TEXTS[:limit]
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()][:limit]


def embed_body(model: str, texts: str | Sequence[str], encoding: str = "base64", **extra: Any) -> bytes:
    """The body of one embeddings request."""
    fields = {"model": model, "input": texts, "encoding_format": encoding, **extra}
    return json.dumps(fields, ensure_ascii=False).encode()
