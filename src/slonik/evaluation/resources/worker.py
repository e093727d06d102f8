"""The measuring process: `python -m slonik.evaluation.resources.worker SPEC`, one system, told what to do by lines.

SPEC is JSON: engine, source, threads. One JSON object a line goes each way; the parent's are {"do": ...}. The
system is opened and has encoded one text before the first answer, so that the time to it is the cold start.
Whatever libraries print goes to standard error. Timings are taken here, around `encode` alone, with garbage
collection held off, and the most memory that the process has held is read from the system's own account.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from slonik.evaluation.resources.engines import ENGINES, Encode, bytes_on_disk

_STATUS = Path("/proc/self/status")


def main() -> None:
    """Open the system, then answer until standard input ends."""
    answers = _claim_stdout()
    spec = json.loads(sys.argv[1])
    opened = ENGINES[spec["engine"]].open(spec["source"], spec["threads"])
    first = opened.encode([spec["first_text"]])
    facts = {"dimension": int(first.shape[-1]), "bytes": bytes_on_disk(opened.files), "facts": opened.facts}
    _say(answers, facts)
    for line in sys.stdin:
        _say(answers, answer(opened.encode, json.loads(line)))


def answer(encode: Encode, order: Mapping[str, Any]) -> dict[str, Any]:
    """Do what an order says: "singles", "batches" of `size`, "vectors" (of `texts`, each), or "memory"."""
    wanted: dict[str, Callable[[], dict[str, Any]]] = {
        "singles": lambda: time_singles(encode, order["texts"]),
        "batches": lambda: {"seconds": sum(time_each(encode, _chunks(order["texts"], order["size"])))},
        "vectors": lambda: _vectors(encode, order["texts"]),
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


def _vectors(encode: Encode, texts: Sequence[str]) -> dict[str, Any]:
    """The vectors, and how many texts an encoder of ours did not read whole."""
    encoder = getattr(encode, "__self__", None)
    before = getattr(encoder, "cut_texts", 0)
    packed = _packed(encode, texts)
    return {"vectors": packed, "cut": getattr(encoder, "cut_texts", 0) - before}


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


def peak_bytes() -> int:
    """Peak resident bytes since the program started.

    Linux's own high-water mark is read where there is one: `ru_maxrss` survives exec, so a small process started
    by a large one would report the large one's memory.
    """
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
