"""Corpus to training tokens: slonik beside the preprocessing of Transformers' run_mlm (datasets.map, group_texts).

    pip install datasets
    python benchmarks/corpus_vs_run_mlm.py texts.txt --tokenizer e5-ru --json benchmarks/corpus_vs_run_mlm.json

Each system runs in a process of its own on the same file with the same tokenizer and one thread, from text to
sequences of 128 tokens that a training loop can read, and then reads all of them once. Counted are processor seconds
(the machine may be busy) and the peak of resident memory. run_mlm concatenates texts across documents; slonik keeps
documents apart, leaves out equal ones and sets 2 % aside unless told otherwise (`slonik_plain` does none of this).
`--grow` runs slonik on the file once and repeated four times (with numbers, so that nothing is a duplicate): memory
should not grow with the corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from slonik.core.records import Record, write_records

LENGTH = 128
_COPIES = 4


def run_mlm(texts: Path, tokenizer: Path, work: Path) -> int:
    """As examples/pytorch/language-modeling/run_mlm.py without --line_by_line; returns tokens read."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(tokenizer)
    raw = load_dataset("text", data_files=str(texts), split="train", cache_dir=str(work / "cache"))

    def tokenize(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return dict(tok(rows["text"], return_special_tokens_mask=True))

    def group(rows: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {name: [value for row in values for value in row] for name, values in rows.items()}
        total = len(joined["input_ids"]) // LENGTH * LENGTH
        return {name: [flat[i : i + LENGTH] for i in range(0, total, LENGTH)] for name, flat in joined.items()}

    tokenized = raw.map(tokenize, batched=True, remove_columns=["text"])
    grouped = tokenized.map(group, batched=True)
    return sum(len(row["input_ids"]) for row in grouped)


def slonik(texts: Path, tokenizer: Path, work: Path, duplicates: str = "exact", share: float = 0.02) -> int:
    """Prepared shards and packed rows; returns tokens read."""
    from slonik.pretraining.corpus import CorpusSettings, prepare_corpus
    from slonik.pretraining.sequences import Specials, TokenSequences
    from slonik.text.batching import pack_best_fit
    from slonik.text.tokenizing import load_tokenizer, template_of

    tok = load_tokenizer(tokenizer)
    settings = CorpusSettings(files=(str(texts),), duplicates=duplicates, held_out_share=share, language="any")  # type: ignore[arg-type]
    found = prepare_corpus(settings, tok, work / "shards")
    template = template_of(tok)
    sequences = TokenSequences(found.train, "documents", LENGTH, Specials(template.head, template.tail))
    lengths = sequences.lengths(0)
    rows = pack_best_fit(lengths[:100_000], LENGTH)
    print(f"rows are {lengths[:100_000].sum() / (len(rows) * LENGTH):.1%} full", file=sys.stderr)
    return sum(len(sequences.row(0, number)) for number in range(len(lengths)))


SYSTEMS: dict[str, Callable[[Path, Path, Path], int]] = {
    "run_mlm": run_mlm,
    "slonik": slonik,
    "slonik_near": lambda texts, tokenizer, work: slonik(texts, tokenizer, work, "near"),
    "slonik_plain": lambda texts, tokenizer, work: slonik(texts, tokenizer, work, "keep", 0.0),
}


def measure(name: str, texts: Path, tokenizer: Path) -> dict[str, float]:
    """One system in this process: its seconds without the start of the interpreter, and its peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        import torch  # both need it; its import is not preprocessing
        import transformers

        del transformers
        torch.set_num_threads(1)
        cpu, wall = time.process_time(), time.perf_counter()
        tokens = SYSTEMS[name](texts, tokenizer, Path(folder))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens": tokens, "cpu_seconds": cpu, "wall_seconds": wall, "peak_bytes": peak}


def in_a_process(name: str, texts: Path, tokenizer: Path) -> dict[str, float]:
    """`measure` in a process of its own, one thread."""
    command = [sys.executable, __file__, str(texts), "--tokenizer", str(tokenizer), "--only", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def repeated(texts: Path, folder: Path) -> Path:
    """The file four times, each line with its number."""
    target = folder / "repeated.txt"
    lines = texts.read_text(encoding="utf-8").splitlines()
    with open(target, "w", encoding="utf-8") as stream:
        for copy in range(_COPIES):
            stream.writelines(f"{copy} {number} {line}\n" for number, line in enumerate(lines))
    return target


def main() -> None:
    """Measure, print a table, write records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--only", choices=list(SYSTEMS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.texts, options.tokenizer)))
        return
    records = []
    for _ in range(options.rounds):
        for name in SYSTEMS:
            found = in_a_process(name, options.texts, options.tokenizer)
            _show(name, found)
            records += [_record(name, metric, value) for metric, value in found.items()]
    if options.grow:
        with tempfile.TemporaryDirectory() as folder:
            found = in_a_process("slonik", repeated(options.texts, Path(folder)), options.tokenizer)
        _show(f"slonik, {_COPIES} times the corpus", found)
        records += [_record(f"slonik_{_COPIES}x", metric, value) for metric, value in found.items()]
    if options.json:
        write_records(options.json, {record.key(): record for record in records}.values())


def _record(name: str, metric: str, value: float) -> Record:
    return Record(suite="corpus", task="preprocess", model=name, metric=metric, value=value)


def _show(name: str, found: dict[str, float]) -> None:
    rate = found["tokens"] / found["cpu_seconds"]
    print(
        f"{name:<28} {found['tokens']:>12,.0f} tokens  {found['cpu_seconds']:>7.1f} s of processor  "
        f"{rate:>10,.0f} tokens/s  {found['peak_bytes'] / 2**20:>6.0f} MiB at most",
        flush=True,
    )


if __name__ == "__main__":
    main()
