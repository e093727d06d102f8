"""What a head costs beside its encoder, without torch: processor time per text of exported folders, in turns.

    python benchmarks/heads_cost.py ENCODER_FOLDER FOLDER... [--texts FILE] [--count 60] [--rounds 7] [--json OUT]

All folders are exported from one encoder. Each text goes alone through `encode`, and through `predict` or `tag`, from
the string to the answer: tokenisation, words, windows, the chain and its confidences are in it. Every text is timed in
all folders before the next one; ratios are taken within a round; medians with the least and most of the rounds. One
thread, processor time, so that other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slonik
from slonik.evaluation.resources.measure import own_sentences

LIMIT = 1.5  # times the encoder's own time that a head may take


def asked(model: Any) -> Callable[[list[str]], object]:
    """What a user calls."""
    for name in ("tag", "predict", "encode"):
        if hasattr(model, name):
            found: Callable[[list[str]], object] = getattr(model, name)
            return found
    raise SystemExit(f"{model} answers nothing")


def main() -> None:
    """Measure and print a line per folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("headed", type=Path, nargs="+")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    texts = given.texts.read_text(encoding="utf-8").splitlines() if given.texts else own_sentences()
    texts = [text for text in texts if text.strip()][: given.count]
    runs = {str(folder): asked(slonik.load(folder, threads=1)) for folder in (given.encoder, *given.headed)}
    rounds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(given.rounds + 1):
        spent = dict.fromkeys(runs, 0.0)
        for text in texts:
            for name, run in runs.items():
                before = time.process_time()
                run([text])
                spent[name] += time.process_time() - before
        if turn:  # the first round warms up
            for name, seconds in spent.items():
                rounds[name].append(1000 * seconds / len(texts))
    lines = []
    base = rounds[str(given.encoder)]
    for name, milliseconds in rounds.items():
        ratios = [own / encoder for own, encoder in zip(milliseconds, base, strict=True)]
        ratio = (statistics.median(ratios), min(ratios), max(ratios))
        lines.append({"folder": name, "ms_per_text": statistics.median(milliseconds), "times_encoder": ratio})
        verdict = "" if name == str(given.encoder) else f", {'within' if ratio[0] <= LIMIT else 'OVER'} {LIMIT}"
        print(
            f"{name}: {statistics.median(milliseconds):.2f} ms a text, {ratio[0]:.2f} [{ratio[1]:.2f}, {ratio[2]:.2f}] "
            f"times the encoder's{verdict}"
        )
    if given.json:
        given.json.write_text(json.dumps(lines, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
