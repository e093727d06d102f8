"""`slonik data probing`: probing tasks from a treebank, or from Russian text annotated on the way."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import file_to_write, print_tables, split_names
from slonik.cli.numbers import COUNT, SEED, SHARE


def probing(
    sources: list[Path] = typer.Argument(help="Treebanks (.conllu), or Russian texts that slovnet annotates."),
    out: Path = typer.Option(..., help="Folder for rusenteval/TASK.txt, to be the --data-dir of `evaluate probing`."),
    size: int = typer.Option(2000, help="Sentences per task, at most: 60 % tr, 20 % va, 20 % te.", **COUNT),
    tasks: str | None = typer.Option(None, help="Comma-separated names (default: all fourteen)."),
    share: float = typer.Option(1.0, help="Share of the texts to annotate, chosen by hash.", **SHARE),
    limit: int | None = typer.Option(None, help="Read at most this many sentences.", **COUNT),
    gold: list[Path] | None = typer.Option(None, help="Treebank to estimate the annotator's label errors on."),
    seed: int = typer.Option(0, help="Decides which sentences are taken and which split they go to.", **SEED),
    json_file: Path | None = typer.Option(
        None, "--json", help="Write the manifest to this file too.", callback=file_to_write
    ),
) -> None:
    """Build RuSentEval's tasks: labels balanced, no deciding word in two splits, the same files from the same input.

    Example: slonik data probing ru_taiga-ud-dev.conllu ru_pud-ud-test.conllu --out probing
    """
    from slonik.core.files import write_json
    from slonik.inspection.probing.builder import build_probing

    found = build_probing(
        sources,
        out=out,
        size=size,
        tasks=split_names(tasks, "--tasks"),
        share=share,
        limit=limit,
        gold=gold or (),
        seed=seed,
    )
    print_tables([found.table])
    if json_file is not None:
        write_json(json_file, found.manifest)
