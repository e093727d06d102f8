"""A minute of 64 clients on an encoder, a classifier and a tagger at once: every answer is the one given offline.

    python benchmarks/serve_mixed.py ENCODER CLASSIFIER TAGGER [--seconds 60] [--clients 64] [--texts FILE] [--json OUT]

Folders of `slonik export`, opened here by `slonik.load` on one thread, each text alone: these answers, and not what the
server says in quiet, are what every answer under load is held to. Each client asks one of the three routes at a time,
one to eight texts, and now and then disconnects before the answer. Ends with code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import serve_clients as web  # noqa: E402
from serve_load import resident_megabytes, waiting_texts  # noqa: E402

_HANG_UPS = 0.02  # share of requests that are given up
_SAME = 1e-5  # vectors and probabilities that differ by more are wrong


@dataclass(frozen=True)
class Route:
    """One route and what it must answer: `difference` of an answer's entry from the offline one."""

    path: str
    model: str
    expected: Sequence[Any]
    difference: Callable[[Any, Any], float]

    def body(self, texts: Sequence[str]) -> bytes:
        """The request for some texts."""
        return json.dumps({"model": self.model, "input": texts}, ensure_ascii=False).encode()


def main() -> None:
    """Run the load and print what was seen; exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("encoder", "classifier", "tagger"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=Path, help="one text per line")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = web.read_texts(options.texts, limit=300)
    routes = offline_routes(options.encoder, options.classifier, options.tagger, texts)
    port = web.free_port()
    named = [f"{kind}={getattr(options, kind)}" for kind in ("encoder", "classifier", "tagger")]
    command = [str(Path(sys.executable).parent / "slonik"), "serve", *named, "--port", str(port)]
    with web.server_process(command, port, dict(os.environ)) as pid:
        load = MixedLoad(port, routes, texts)
        before = resident_megabytes(pid)
        asyncio.run(load.run(options.clients, options.seconds))
        result = load.result() | {"memory_mb": [before, resident_megabytes(pid)], "queue_after": waiting_texts(port)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["wrong"] or result["errors"] or result["queue_after"] else 0)


def offline_routes(encoder: Path, classifier: Path, tagger: Path, texts: Sequence[str]) -> list[Route]:
    """The three routes, with the answers that the folders give without a server, each text alone."""
    from slonik import load

    vectors, labels, tags = (load(folder, threads=1) for folder in (encoder, classifier, tagger))
    return [
        Route("/v1/embeddings", "encoder", [vectors.encode([text])[0] for text in texts], _of_vectors),
        Route("/classify", "classifier", [labels.predict([text])[0] for text in texts], _of_labels),
        Route("/tag", "tagger", [tags.tag([text])[0] for text in texts], _of_spans),
    ]


def _of_vectors(entry: Any, vector: Any) -> float:
    return float(np.abs(np.array(entry["embedding"], dtype=np.float32) - vector).max())


def _of_labels(entry: Any, answer: Any) -> float:
    """The largest difference of a probability; infinite where the best label is another one."""
    if not answer.probabilities:
        return abs(entry[0]["score"] - float(answer.label))
    chosen = entry[0]["label"]
    if isinstance(answer.label, str) and chosen != answer.label:
        return float("inf")
    return max(abs(one["score"] - answer.probabilities[one["label"]]) for one in entry)


def _of_spans(entry: Any, spans: Any) -> float:
    """The largest difference of a confidence; infinite where a span is another one."""
    found = [(one["start"], one["end"], one["label"]) for one in entry["spans"]]
    if found != [(span.start, span.end, span.label) for span in spans]:
        return float("inf")
    pairs = zip(entry["spans"], spans, strict=True)
    rounding = 5.1e-5  # the server gives four digits
    return max((max(0.0, abs(one["confidence"] - span.confidence) - rounding) for one, span in pairs), default=0.0)


class MixedLoad:
    """Closed-loop clients of several routes that check what they get."""

    def __init__(self, port: int, routes: Sequence[Route], texts: Sequence[str]) -> None:
        self._port = port
        self._routes = routes
        self._texts = texts
        self._answers: list[web.Answer] = []
        self._by_route: Counter[str] = Counter()
        self._difference: dict[str, float] = {route.path: 0.0 for route in routes}
        self._wrong = 0
        self._hung_up = 0

    async def run(self, clients: int, seconds: float) -> None:
        """Load the server for `seconds`."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._client(seed, end) for seed in range(clients)))

    async def _client(self, seed: int, end: float) -> None:
        rng = random.Random(seed)
        connection = await web.Connection.open(self._port)
        while time.monotonic() < end:
            route = rng.choice(self._routes)
            chosen = rng.sample(range(len(self._texts)), min(len(self._texts), rng.choice([1, 1, 1, 1, 2, 4, 8])))
            body = route.body([self._texts[number] for number in chosen])
            if rng.random() < _HANG_UPS:
                self._hung_up += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(connection.post(route.path, body), timeout=0.01)
                await connection.close()
                connection = await web.Connection.open(self._port)
                continue
            self._check(await connection.post(route.path, body), route, chosen)
        await connection.close()

    def _check(self, answer: web.Answer, route: Route, chosen: Sequence[int]) -> None:
        self._answers.append(web.Answer(answer.start, answer.end, answer.status, b""))
        self._by_route[route.path] += 1
        if answer.status != 200:
            return
        entries = json.loads(answer.body)["data"]
        pairs = zip(entries, chosen, strict=True)
        difference = max(route.difference(entry, route.expected[number]) for entry, number in pairs)
        self._difference[route.path] = max(self._difference[route.path], difference)
        self._wrong += difference > _SAME

    def result(self) -> dict[str, Any]:
        """What was seen."""
        return {
            **web.summary(self._answers),
            "answers": dict(self._by_route),
            "hung_up": self._hung_up,
            "wrong": self._wrong,
            "greatest_difference": self._difference,
            "machine": web.machine(),
        }


if __name__ == "__main__":
    main()
