"""Speed, memory and size of an encoder in this process.

For the recipe's before and after, where both are measured the same way one after the other. Peers, cold start and
memory that nothing else has touched need processes of their own: see `side_by_side`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from slonik.core.hashing import sha256_json, sha256_texts
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.evaluate.resources.machine import describe_machine, machine_line
from slonik.evaluate.resources.memory import peak_bytes, reset_peak
from slonik.evaluate.resources.speed_records import Subject, latency_records, memory_record, rate_record, size_records
from slonik.evaluate.resources.worker import time_each, time_singles

BATCHES = (8, 32, 128)
PROTOCOL = {"version": 1, "ms_per_text": "median over rounds of the mean over texts", "clock": "perf_counter"}


def measure(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    engine: str = "torch",
    rounds: int = 5,
    batches: Sequence[int] = BATCHES,
    threads: int = 1,
    on_disk: int | None = None,
) -> list[Record]:
    """Records of tasks batch_1, best_batch, memory and size (see `speed_records` for names and units).

    Args:
        engine: becomes the records' variant.
        rounds: timed passes over the texts at batch 1, after one untimed pass; and at the best batch.
        batches: batch sizes of which the fastest is taken, by one pass each.
        threads: torch's threads while measuring; restored afterwards. Other engines have theirs from loading.
        on_disk: bytes of the files; None takes the weights' bytes from `describe`.
    """
    machine = describe_machine()
    subject = Subject(
        encoder.name, engine, {"threads": threads, "machine": machine_line(machine), "in_process": True},
        speed_hashes(texts),
    )  # fmt: skip
    rows = list(texts)
    with _torch_threads(threads), progress_bar(f"measuring {encoder.name}", 2 * rounds + len(batches) + 1) as bar:
        fresh = reset_peak()
        time_singles(encoder.encode, rows)
        bar.advance()
        singles, cpu = [], []
        for _ in range(rounds):
            answer = time_singles(encoder.encode, rows)
            singles.append(answer["ms"])
            cpu.append(answer["cpu_ms"])
            bar.advance()
        tried: dict[int, float] = {}
        for size in batches:
            tried[size] = _rate(encoder, rows, size)
            bar.advance()
        best = max(tried, key=lambda size: tried[size])
        rates = []
        for _ in range(rounds):
            rates.append(_rate(encoder, rows, best))
            bar.advance()
    return [
        *latency_records(subject, singles, cpu),
        rate_record(subject, rates, best, tried, len(filled(rows, best))),
        memory_record(subject, peak_bytes(), {"whole_process": True, "since_reset": fresh}),
        *size_records(subject, encoder.describe(), on_disk),
    ]


def speed_hashes(texts: Sequence[str]) -> dict[str, str]:
    """Hashes of the texts and of the protocol: speeds with others cannot be compared."""
    return {"texts": sha256_texts(texts), "protocol": sha256_json(PROTOCOL)}


def filled(texts: Sequence[str], size: int) -> list[str]:
    """The texts, repeated whole until there are at least two batches of `size`."""
    times = max(1, -(-2 * size // len(texts)))
    return list(texts) * times


def _rate(encoder: Encoder, texts: Sequence[str], size: int) -> float:
    rows = filled(texts, size)
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    return len(rows) / sum(time_each(encoder.encode, chunks))


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Torch's thread count set and restored, if torch is in use at all."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
