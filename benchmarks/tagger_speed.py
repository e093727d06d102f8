"""Taggers side by side on whole documents: one text a call, one thread, in rounds that take turns.

    python benchmarks/tagger_speed.py out/taggers/encoder-fold0 out/taggers/BiLSTM-fold0 --data data/seccoll

The first tagger is the reference: ratios are of paired sums of processor time per round, so that a busy machine slows
both. Texts are every n-th document of the collection, tags are not scored here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from slonik.core.records import Record, write_records
from slonik.data.annotations.document import Counts, Tagger
from slonik.data.annotations.formats import read_documents
from slonik.evaluation.resources.machine import describe_machine, machine_line
from slonik.reporting.formatting import cell, size
from slonik.reporting.table import Table, to_markdown
from slonik.tagging.models import load_tagger


def seconds_of(tagger: Tagger, texts: list[str]) -> float:
    """Processor seconds for the texts, one call each."""
    started = time.process_time()
    for text in texts:
        tagger.tag([text])
    return time.process_time() - started


def main() -> None:
    """Measure, print a table, and write records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("taggers", nargs="+", help="Folders; the first is the reference.")
    parser.add_argument("--data", type=Path, required=True, help="Annotated or plain documents.")
    parser.add_argument("--texts", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    documents = list(read_documents(options.data, Counts()))
    texts = [document.text for document in documents[:: max(1, len(documents) // options.texts)]][: options.texts]
    taggers = [load_tagger(folder) for folder in options.taggers]
    for tagger in taggers:
        tagger.tag(texts[:2])
    spent = np.array([[seconds_of(tagger, texts) for tagger in taggers] for _ in range(options.rounds)])
    print(machine_line(describe_machine()))
    print(f"{len(texts)} documents of {np.mean([len(text) for text in texts]):.0f} characters, one thread, torch")
    records, lines = [], []
    for place, (folder, tagger) in enumerate(zip(options.taggers, taggers, strict=True)):
        times, ratios = 1000 * spent[:, place] / len(texts), spent[:, 0] / spent[:, place]
        about = {"suite": "ner", "task": "speed", "model": str(folder), "n": len(texts)}
        for metric, values in (("ms_per_text", times), ("ratio", ratios)):
            measured = {"value": float(np.median(values)), "low": float(values.min()), "high": float(values.max())}
            records.append(Record(metric=metric, **measured, **about))
        lines.append((folder, *map(cell, records[-2:]), size(tagger.describe()["bytes"])))
    columns = ("tagger", "ms per document", "times faster than the first", "size")
    print(to_markdown(Table.of("", columns, lines)))
    if options.json:
        write_records(options.json, records)


if __name__ == "__main__":
    main()
