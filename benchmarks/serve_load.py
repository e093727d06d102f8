"""A minute of 64 clients on a real model: no error, no answer lost or swapped, memory that does not grow.

    python benchmarks/serve_load.py MODEL [--seconds 60] [--clients 64] [--texts FILE] [--json OUT]

Each client sends one to eight texts at a time, as float or base64, and now and then disconnects before the answer.
Every vector is compared with the one that the same server gave for that text alone, before the load.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import serve_clients as web  # noqa: E402

_PATH = "/v1/embeddings"
_HANG_UPS = 0.02  # share of requests that are given up


def main() -> None:
    """Run the load and print what was seen; exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=Path, help="one text per line")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = web.read_texts(options.texts, limit=300)
    port = web.free_port()
    command = [str(Path(sys.executable).parent / "slonik"), "serve", options.model, "--port", str(port)]
    name = Path(options.model).resolve().name if Path(options.model).is_dir() else options.model
    with web.server_process(command, port, dict(os.environ)) as pid:
        expected = asyncio.run(_alone(port, name, texts))
        before = resident_megabytes(pid)
        load = _Load(port, name, texts, expected)
        asyncio.run(load.run(options.clients, options.seconds))
        result = load.result() | {"memory_mb": [before, resident_megabytes(pid)], "queue_after": waiting_texts(port)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["wrong"] or result["errors"] or result["queue_after"] else 0)


async def _alone(port: int, model: str, texts: Sequence[str]) -> np.ndarray:
    bodies = [web.embed_body(model, text) for text in texts]
    return np.concatenate([_vectors(answer) for answer in await web.closed_loop(port, _PATH, bodies, clients=1)])


def _vectors(answer: web.Answer) -> np.ndarray:
    values = [item["embedding"] for item in json.loads(answer.body)["data"]]
    if isinstance(values[0], str):
        return np.stack([np.frombuffer(base64.b64decode(value), dtype="<f4") for value in values])
    return np.array(values, dtype=np.float32)


class _Load:
    """Closed-loop clients that check what they get."""

    def __init__(self, port: int, model: str, texts: Sequence[str], expected: np.ndarray) -> None:
        self._port = port
        self._model = model
        self._texts = texts
        self._expected = expected
        self._answers: list[web.Answer] = []
        self._wrong = 0
        self._hung_up = 0
        self._greatest_difference = 0.0

    async def run(self, clients: int, seconds: float) -> None:
        """Load the server for `seconds`."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._client(seed, end) for seed in range(clients)))

    async def _client(self, seed: int, end: float) -> None:
        rng = random.Random(seed)
        connection = await web.Connection.open(self._port)
        while time.monotonic() < end:
            chosen = rng.sample(range(len(self._texts)), min(len(self._texts), rng.choice([1, 1, 1, 1, 2, 4, 8])))
            asked = [self._texts[number] for number in chosen]
            body = web.embed_body(self._model, asked, rng.choice(["float", "base64"]))
            if rng.random() < _HANG_UPS:
                self._hung_up += 1
                await self._hang_up(connection, body)
                connection = await web.Connection.open(self._port)
                continue
            self._check(await connection.post(_PATH, body), chosen)
        await connection.close()

    async def _hang_up(self, connection: web.Connection, body: bytes) -> None:
        """Send a request and close the connection before its answer."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(connection.post(_PATH, body), timeout=0.01)
        await connection.close()

    def _check(self, answer: web.Answer, chosen: list[int]) -> None:
        vectors = _vectors(answer) if answer.status == 200 else None
        self._answers.append(web.Answer(answer.start, answer.end, answer.status, b""))
        if vectors is None:
            return
        difference = float(np.abs(vectors - self._expected[chosen]).max())
        self._greatest_difference = max(self._greatest_difference, difference)
        self._wrong += difference > 1e-5

    def result(self) -> dict[str, object]:
        """What was seen."""
        return {
            **web.summary(self._answers),
            "answers": len(self._answers),
            "hung_up": self._hung_up,
            "wrong": self._wrong,
            "greatest_difference": self._greatest_difference,
            "machine": web.machine(),
        }


def resident_megabytes(pid: int) -> float:
    """Memory that a process holds, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def waiting_texts(port: int) -> float:
    """Texts that wait in all queues of a server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("slonik_queue_depth{"))


if __name__ == "__main__":
    main()
