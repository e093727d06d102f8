"""WordPiece by its score at several minimum frequencies, beside byte-level BPE and Unigram: fertility by kind of text.

    python benchmarks/tokenizer_fertility.py CORPORA_FOLDER [--megabytes 20] [--vocab-size 30000] [--json FILE]

CORPORA_FOLDER holds ru_text.txt.gz with ru_text.ranges.tsv (source, first line, last line) and infosec_ru.txt.gz.
Every k-th line is trained on, so that all sources take part; held-out lines (2 %) are measured on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

from slonik.data.readers import read_texts
from slonik.data.sampling import is_held_out, sample
from slonik.models.embedded import materialise
from slonik.text.tokenizers.fit import Fit, measure_fit
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.text.tokenizing import load_tokenizer

KINDS = {
    "prose": ("ruslit_prose", "russian_novels"),
    "dialogues": ("anekdot_dialogues", "cornell_ru_mt"),
    "manuals": ("php_doc_ru", "deb_docs", "manpages_ru", "ms_docs_human"),
    "interface": ("game_texts", "app_ui_help"),
}


def training_texts(folder: Path, megabytes: float) -> list[str]:
    """Every k-th line that is not held out, about so many megabytes."""
    step = max(int(234 / megabytes), 1)
    lines = itertools.islice(read_texts(folder / "ru_text.txt.gz"), 0, None, step)
    return [line for line in lines if not is_held_out(line)]


def held_out_kinds(folder: Path, size: int) -> dict[str, list[str]]:
    """Held-out lines by kind of source, and security texts, none of which are trained on."""
    ranges = {}
    for line in (folder / "ru_text.ranges.tsv").read_text().splitlines()[1:]:
        source, first, last = line.split("\t")
        ranges[source] = range(int(first), int(last) + 1)
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for number, line in enumerate(read_texts(folder / "ru_text.txt.gz"), 1):
        for kind, sources in KINDS.items():
            if any(number in ranges[source] for source in sources) and is_held_out(line):
                kinds[kind].append(line)
    kinds = {kind: sample(lines, size) for kind, lines in kinds.items()}
    return kinds | {"security": sample(read_texts(folder / "infosec_ru.txt.gz"), size)}


def configs(vocab_size: int, frequencies: list[int]) -> Iterator[TrainConfig]:
    """The tokenizers to train: the default first."""
    for frequency in (None, *frequencies):
        yield TrainConfig(kind="wordpiece", vocab_size=vocab_size, min_frequency=frequency)
    yield TrainConfig(kind="bpe", vocab_size=vocab_size)
    yield TrainConfig(kind="unigram", vocab_size=vocab_size, sentinels=1)


def main() -> None:
    """Train, measure, print a table row by row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--vocab-size", type=int, default=30_000)
    parser.add_argument("--frequencies", default="2,8,64,256,1024")
    parser.add_argument("--held-out", type=int, default=1_500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kinds = held_out_kinds(options.folder, options.held_out)
    texts = training_texts(options.folder, options.megabytes)
    words = sum(len(text.split()) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts):,} lines, {size / 1e6:.1f} MB, {words:,} words between white space")
    print("| tokenizer | pieces | seconds | " + " | ".join(kinds) + " | unknown |")
    print("|---|---|---|" + "---|" * (len(kinds) + 1))
    rows = []

    def show(name: str, pieces: int, seconds: float | None, fits: dict[str, Fit]) -> None:
        cells = " | ".join(f"{fit.fertility:.3f}" for fit in fits.values())
        unknown = max(fit.unknown_rate for fit in fits.values())
        spent = "" if seconds is None else f"{seconds:.0f}"
        print(f"| {name} | {pieces:,} | {spent} | {cells} | {unknown:.3%} |", flush=True)
        fitted = {kind: fit.model_dump() for kind, fit in fits.items()}
        rows.append({"tokenizer": name, "pieces": pieces, "processor_seconds": seconds, "fits": fitted})

    frequencies = [int(number) for number in options.frequencies.split(",")]
    for config in configs(options.vocab_size, frequencies):
        started = time.process_time()
        trained = train(config, texts)
        seconds = time.process_time() - started
        fits = {kind: measure_fit(trained.tokenizer, lines) for kind, lines in kinds.items()}
        name = {"bpe": "byte-level BPE", "unigram": "Unigram"}.get(config.kind, "WordPiece")
        if config.kind == "wordpiece":
            default = " (default)" if config.min_frequency is None else ""
            name += f", pairs >= {trained.min_frequency}{default}"
        show(name, trained.tokenizer.get_vocab_size(), seconds, fits)
    e5 = load_tokenizer(materialise("multilingual-e5-small"))
    fits = {kind: measure_fit(e5, lines) for kind, lines in kinds.items()}
    show("multilingual-e5-small", e5.get_vocab_size(), None, fits)
    if options.json:
        options.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
