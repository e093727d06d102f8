"""What the torch-free encoder costs in processor time and memory; shares and ratios that a busy machine leaves alone.

    python benchmarks/runtime_costs.py EXPORTED_FOLDER [--beside FOLDER] [--texts FILE] [--rounds 7] [--json OUT]

What tokenisation takes of a single text; a process that imports slonik, loads the folder and encodes one sentence; what
a token costs in batches of rows of equal length, beside one row at a time; and all texts in one call beside another
folder (a static export). All times are processor time of one thread, systems in turn round after round; medians with
the least and most of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from slonik.evaluation.resources.measure import own_sentences
from slonik.runtime import OnnxEncoder
from slonik.runtime import load as load_exported

_ROW_TOKENS = 29  # the mean of encodechka's sentences with a prefix
_BATCHES = (1, 2, 4, 9, 18, 36)
_COLD = """
import slonik
slonik.load({folder!r}, threads=1).encode(["слонёнок"])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""
Spread = tuple[float, float, float]


def spread(values: Sequence[float]) -> Spread:
    """Median, least, most."""
    return statistics.median(values), min(values), max(values)


def processor_seconds(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    before = time.process_time()
    run()
    return time.process_time() - before


def tokenisation(encoder: OnnxEncoder, texts: Sequence[str], rounds: int) -> Spread:
    """Share of single texts' processor time that tokenisation takes."""
    shares = []
    for number in range(rounds + 1):
        whole = processor_seconds(lambda: [encoder.encode([text]) for text in texts])
        tokens = processor_seconds(lambda: [encoder.tokenize([text], whole=True) for text in texts])
        if number:  # the first round warms up
            shares.append(tokens / whole)
    return spread(shares)


def cold_start(folder: Path, rounds: int) -> dict[str, Spread]:
    """Processor seconds and peak megabytes (10^6 bytes) of a process that encodes one sentence."""
    seconds, megabytes = [], []
    for _ in range(rounds):
        before = os.times()
        answer = subprocess.run(
            [sys.executable, "-c", _COLD.format(folder=str(folder))], capture_output=True, text=True, check=True
        )
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        megabytes.append(int(answer.stdout) * 1024 / 1e6)
    return {"processor_seconds": spread(seconds), "peak_megabytes": spread(megabytes)}


def batches(encoder: OnnxEncoder, rounds: int) -> dict[int, Spread]:
    """Batch size -> processor time per token, as a multiple of that of one row at a time."""
    stream = [token for row in encoder.tokenize(own_sentences()) for token in row]
    rows = np.array(stream[: _ROW_TOKENS * max(_BATCHES)], dtype=np.int64).reshape(-1, _ROW_TOKENS)

    def run(size: int) -> None:
        for start in range(0, len(rows), size):
            ids = rows[start : start + size]
            encoder.session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    ratios: dict[int, list[float]] = {size: [] for size in _BATCHES}
    for number in range(rounds + 1):
        found = {size: processor_seconds(lambda size=size: run(size)) for size in _BATCHES}  # type: ignore[misc]
        for size in _BATCHES if number else ():
            ratios[size].append(found[size] / found[1])
    return {size: spread(values) for size, values in ratios.items()}


def in_one_call(encoder: OnnxEncoder, other: OnnxEncoder, texts: Sequence[str], rounds: int) -> Spread:
    """How many times less processor time `other` takes for all texts in one call."""
    ratios = []
    for number in range(rounds + 1):
        own, theirs = (processor_seconds(lambda one=one: one.encode(texts)) for one in (encoder, other))  # type: ignore[misc]
        if number:
            ratios.append(own / theirs)
    return spread(ratios)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path, help="another exported folder")
    parser.add_argument("--texts", type=Path, help="one text per line (default: slonik bench's hundred)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else own_sentences()
    texts = [line for line in lines if line.strip()]
    files = sorted(path.name for path in (options.folder / "onnx").glob("model*.onnx") if "fp16" not in path.name)
    encoders = {file: load_exported(options.folder, file=file, threads=1) for file in files}
    default = load_exported(options.folder, threads=1)
    result: dict[str, object] = {
        "tokenisation_share": tokenisation(default, texts, options.rounds),
        **cold_start(options.folder.resolve(), options.rounds),
        "processor_time_per_token": {file: batches(encoder, options.rounds) for file, encoder in encoders.items()},
    }
    if options.beside:
        other = load_exported(options.beside, threads=1)
        result["times_faster_in_one_call"] = in_one_call(default, other, texts, options.rounds)
    for name, values in result.items():
        print(name, values)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
