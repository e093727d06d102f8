"""`slonik data probing`: probing tasks from a treebank, or from Russian text annotated on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from slonik.cli.common import print_tables, split_names


def probing(
    sources: list[Path] = typer.Argument(help="Treebanks (.conllu), or Russian texts that slovnet annotates."),
    out: Path = typer.Option(..., help="Folder for rusenteval/TASK.txt, to be the --data-dir of `evaluate probing`."),
    size: int = typer.Option(2000, help="Sentences per task, at most: 60 % tr, 20 % va, 20 % te."),
    tasks: str | None = typer.Option(None, help="Comma-separated names (default: all fourteen)."),
    share: float = typer.Option(1.0, help="Share of the texts to annotate, chosen by hash."),
    limit: int | None = typer.Option(None, help="Read at most this many sentences."),
    gold: list[Path] | None = typer.Option(None, help="Treebank to estimate the annotator's label errors on."),
    seed: int = typer.Option(0, help="Decides which sentences are taken and which split they go to."),
    json_file: Path | None = typer.Option(None, "--json", help="Write the manifest to this file too."),
) -> None:
    """Build RuSentEval's tasks: labels balanced, no deciding word in two splits, the same files from the same input.

    Example: slonik data probing ru_taiga-ud-dev.conllu ru_pud-ud-test.conllu --out probing
    """
    from slonik.core.files import write_json
    from slonik.inspection.probing_tasks.build import build, write
    from slonik.inspection.probing_tasks.sources import head, open_sources

    sentences, facts = open_sources(sources, share=share, seed=seed, gold=gold or ())
    built = build(head(sentences, limit), size=size, tasks=split_names(tasks), seed=seed)
    manifest = write(built, out, size=size, seed=seed, facts=facts)
    _show(manifest)
    if json_file is not None:
        write_json(json_file, manifest)


def _show(manifest: dict[str, Any]) -> None:
    from slonik.reporting.formatting import number_cell
    from slonik.reporting.table import Cell, Content, Table

    errors = manifest.get("label_errors", {})
    lines: list[tuple[Content, ...]] = []
    notes = []
    for name, facts in manifest["tasks"].items():
        if not facts["built"]:
            lines.append((Cell(name, mark="absent"), *[None] * 5))
            notes.append(f"{name} was not built: {facts['reason']}")
            continue
        error = errors.get(name) or {"label_error": None, "low": None, "high": None}
        sizes = " / ".join(str(count) for count in facts["sentences"].values())
        labels = facts["labels"]["tr"]
        named = ", ".join(f"{label} {count}" for label, count in list(labels.items())[:6])
        more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
        if left := facts.get("labels_left_out"):
            notes.append(f"{name} lacks the labels {', '.join(list(left)[:5])}: too few sentences")
        shared, largest = sum(facts["shared_keys"].values()), f"{facts['largest_key_share']:.3f}"
        wrong = number_cell("label_error", error["label_error"], error["low"], error["high"])
        lines.append((name, sizes, named + more, shared, largest, wrong))
    title = f"probing tasks from {manifest['sentences_read']:,} sentences ({manifest['annotation']})"
    columns = ("task", "tr / va / te", "labels in tr", "keys in two splits", "largest key", "label errors")
    print_tables([Table.of(title, columns, lines, notes)])
