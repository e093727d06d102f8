"""Processor time that the HTTP side of `slonik serve` takes per request: a server whose encoder costs nothing.

    python benchmarks/serve_overhead.py [--requests 1500] [--clients 32] [--rounds 5]

The server's own processor time over the requests of a round, the clients' left out: other work on the machine hardly
changes it. One text per request; median with the least and most of the rounds, after one that warms up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import serve_clients as web  # noqa: E402


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    texts = web.read_texts(None, limit=options.requests)
    bodies = [web.embed_body("toy", texts[number % len(texts)]) for number in range(options.requests)]
    port = web.free_port()
    command = [sys.executable, "-m", "tests.serving.toy_server", "0", str(port)]
    root = str(Path(__file__).resolve().parents[1])
    with web.server_process(command, port, {**os.environ, "PYTHONPATH": root}) as pid:
        found = []
        for _ in range(options.rounds + 1):
            before = _processor_seconds(pid)
            answers = asyncio.run(web.closed_loop(port, "/v1/embeddings", bodies, options.clients))
            assert all(answer.status == 200 for answer in answers)
            found.append(1000 * (_processor_seconds(pid) - before) / len(bodies))
    counted = found[1:]
    print(f"{statistics.median(counted):.2f} ms per request [{min(counted):.2f}, {max(counted):.2f}]")


def _processor_seconds(pid: int) -> float:
    """User and system time of a process so far, by Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
