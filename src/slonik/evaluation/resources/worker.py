"""The measuring process: `python -m slonik.evaluation.resources.worker SPEC`, one contender, told what to do by lines.

SPEC is JSON: engine, source, threads. One JSON object a line goes each way; the parent's are {"do": ...}. The
contender is opened and has encoded one text before the first answer, so that the time to it is the cold start.
Whatever libraries print goes to standard error. Timings are taken here, around `encode` alone, with garbage
collection held off.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from slonik.evaluation.resources.engines import Encode, bytes_on_disk, open_engine
from slonik.evaluation.resources.memory import peak_bytes


def main() -> None:
    """Open the contender, then answer until standard input ends."""
    answers = _claim_stdout()
    spec = json.loads(sys.argv[1])
    opened = open_engine(spec["engine"], spec["source"], spec["threads"])
    first = opened.encode([spec["first_text"]])
    facts = {"dimension": int(first.shape[-1]), "bytes": bytes_on_disk(opened.files), "facts": opened.facts}
    _say(answers, facts)
    for line in sys.stdin:
        _say(answers, _answer(json.loads(line), opened.encode))


def _answer(order: dict[str, Any], encode: Encode) -> dict[str, Any]:
    wanted: dict[str, Callable[[], dict[str, Any]]] = {
        "singles": lambda: time_singles(encode, order["texts"]),
        "batches": lambda: {"seconds": sum(time_each(encode, _chunks(order["texts"], order["size"])))},
        "vectors": lambda: {"vectors": _packed(encode, order["texts"])},
        "memory": lambda: {"peak_bytes": peak_bytes()},
    }
    return wanted[order["do"]]()


def time_singles(encode: Encode, texts: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of each text alone ("ms"), and of processor time per text over all threads ("cpu_ms")."""
    before = time.process_time()
    seconds = time_each(encode, [[text] for text in texts])
    return {"ms": [1000 * each for each in seconds], "cpu_ms": 1000 * (time.process_time() - before) / len(texts)}


def time_each(encode: Encode, batches: Sequence[Sequence[str]]) -> list[float]:
    """Seconds of each call of `encode`."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        seconds = []
        for batch in batches:
            start = time.perf_counter()
            encode(batch)
            seconds.append(time.perf_counter() - start)
        return seconds
    finally:
        if was_on:
            gc.enable()


def _chunks(texts: list[str], size: int) -> list[list[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def _packed(encode: Encode, texts: Sequence[str]) -> str:
    import numpy as np

    rows = np.concatenate([encode([text]) for text in texts]).astype("<f4")
    return base64.b64encode(rows.tobytes()).decode("ascii")


def _claim_stdout() -> IO[str]:
    """Keep the real standard output for answers; what libraries print goes to standard error."""
    real = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(real, "w", encoding="utf-8")


def _say(stream: IO[str], content: dict[str, Any]) -> None:
    stream.write(json.dumps(content, default=str) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
