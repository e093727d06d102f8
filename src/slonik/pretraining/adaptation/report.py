"""Bits per byte of an adaptation as records and as a table: before and after, domain and general, sources apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slonik.core.records import Record
from slonik.data.documents import CorpusDocument
from slonik.evaluation.statistics import Ratio, RelativeChange, Statistic, interval, replicates, value_of
from slonik.pretraining.bits_per_byte import TextBits

SUITE = "adapt"
Measured = Mapping[str, TextBits]
"""`domain` and, where there is one, `general` -> bits of the held-out texts."""


def adapt_records(
    stages: Mapping[str, Measured],
    domain: Sequence[CorpusDocument],
    *,
    model: str,
    apart: Sequence[str] = (),
    seed: int = 0,
    hashes: Mapping[str, str] | None = None,
) -> list[Record]:
    """Records `bits_per_byte` of every stage, and `change` of the later stages against `before`.

    Args:
        stages: `before`, `after` and others -> what was measured.
        domain: the held-out documents of the domain, in the order of their bits.
        apart: sources that get rows of their own; then `rest` is the domain without them.

    Returns:
        task = `domain`, `domain_rest`, `domain_SOURCE` or `general`; variant = the stage.
    """
    sources = np.asarray([document.source for document in domain])
    groups: dict[str, tuple[str, np.ndarray | None]] = {"domain": ("domain", None), "general": ("general", None)}
    if apart:
        groups["domain_rest"] = ("domain", ~np.isin(sources, list(apart)))
        groups |= {f"domain_{name}": ("domain", sources == name) for name in apart}
    records = []
    for task, (corpus, where) in groups.items():
        for stage, measured in stages.items():
            if corpus not in measured or (where is not None and not where.any()):
                continue
            now = measured[corpus] if where is None else measured[corpus].at(where)
            first = stages["before"][corpus] if where is None else stages["before"][corpus].at(where)
            metrics: dict[str, Statistic] = {"bits_per_byte": Ratio(now.bits, now.bytes)}
            if stage != "before":
                metrics["change"] = RelativeChange(now.bits, first.bits)
            for metric, statistic in metrics.items():
                found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"{SUITE} {task}"))
                records.append(
                    Record(
                        suite=SUITE, task=task, variant=stage, model=model, metric=metric, value=found.value,
                        low=found.low, high=found.high, n=len(now.bits), seed=seed, hashes=dict(hashes or {}),
                        detail=now.told if metric == "bits_per_byte" else {},
                    )
                )  # fmt: skip
    return records


def markdown_table(records: Sequence[Record]) -> str:
    """A table of the records: one row per group of texts and stage.

    "lost" is the part of the bits that is charged for what tokens cannot give back; perplexity is per token, and
    compares rows of one vocabulary.
    """
    head = "| texts | stage | bits per byte | of it lost | change | perplexity | documents | kB |"
    lines = [head, "|" + "---|" * 8]
    change = {(record.task, record.variant): record for record in records if record.metric == "change"}
    for record in records:
        if record.metric != "bits_per_byte":
            continue
        found = change.get((record.task, record.variant))
        moved = "" if found is None else f"{found.value:+.1%} [{found.low:+.1%}, {found.high:+.1%}]"
        bits = f"{record.value:.3f} [{record.low:.3f}, {record.high:.3f}]"
        told = record.detail
        cells = [record.task, record.variant, bits, f"{told['spelled']:.3f}", moved, f"{told['perplexity']:,.1f}"]
        lines.append("| " + " | ".join([*cells, str(record.n), f"{told['bytes'] / 1000:,.0f}"]) + " |")
    return "\n".join(lines) + "\n"
