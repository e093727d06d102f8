"""`slonik evaluate probing MODEL...`: what every layer knows, in the form of RuSentEval, with baselines beside it."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    TrustRemoteCode,
    announce_task,
    file_to_write,
    save_records,
    show_evaluation,
    split_names,
)
from slonik.cli.numbers import COUNT


def probing(
    models: list[str] = typer.Argument(help="Folders, hub ids, embedded:NAME; baselines are always in the table."),
    data_dir: Path | None = typer.Option(None, help="Data folder with rusenteval/ in it (default: $SLONIK_DATA)."),
    tasks: str | None = typer.Option(
        None, help="Comma-separated names, of RuSentEval's or of any file of their form (default: all that are there)."
    ),
    treebank: list[Path] | None = typer.Option(None, help="Probe the words and trees of this CoNLL-U; repeatable."),
    asks: str | None = typer.Option(
        None, help="With --treebank: part_of_speech, case, relation, head, tree (default: all); comma-separated."
    ),
    entities: Path | None = typer.Option(
        None, help="Probe the types of the entities in these annotated texts (brat, CoNLL, JSON Lines, ...)."
    ),
    probes: str = typer.Option("logistic", help="Comma-separated: logistic, mlp (the original's second), mdl."),
    poolings: str = typer.Option("mean", help="Comma-separated: mean (the original's), cls, last."),
    prefix: str = typer.Option("", help="Text before every sentence."),
    limit: int | None = typer.Option(None, help="At most this many sentences per task.", **COUNT),
    seeds: int = typer.Option(3, help="Seeds of control labels, networks and description lengths.", **COUNT),
    control: bool = typer.Option(True, help="Probe control tasks too, for selectivity."),
    baselines: bool = typer.Option(
        True, help="Majority, length, TF-IDF, word vectors, and each model with random weights beside the models."
    ),
    twin: bool | None = typer.Option(
        None, help="Among the baselines each model with random weights (default); without it half of the time."
    ),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(
        None, help="Write a page with tables and heat maps to this file.", callback=file_to_write
    ),
    dtype: str | None = typer.Option(None, help="float32 (default), bfloat16, float16 or autocast."),
    device: Device = None,
    cache: bool = typer.Option(True, help="Keep vectors of all layers on disk, and reuse them."),
    passport: bool = typer.Option(True, help="Add the best-layer records to the passport of a MODEL that is a folder."),
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Probe every layer on tasks of sentences, words and trees: accuracy, best layer and how sure it is, baselines.

    Example: slonik evaluate probing embedded:multilingual-e5-small --tasks gapping --html gapping.html
    Example: slonik evaluate probing MODEL --treebank ru_pud-ud-test.conllu --asks case,tree
    """
    from slonik.core.files import write_text
    from slonik.inspection.probing.report import probing_page
    from slonik.inspection.probing.run import probing as probing_of

    found = probing_of(
        models, data_dir=data_dir, tasks=split_names(tasks, "--tasks"), treebank=treebank or None,
        asks=split_names(asks, "--asks"), entities=entities, probes=split_names(probes, "--probes") or (),
        poolings=split_names(poolings, "--poolings") or (), prefix=prefix, limit=limit, seeds=seeds, control=control,
        baselines=baselines, twin=twin, dtype=dtype, device=device, trust_remote_code=trust_remote_code or None,
        use_cache=cache, passport=passport, on_task=announce_task,
    )  # fmt: skip
    show_evaluation(found)
    save_records(json_file, found.records)
    if html is not None:
        write_text(html, probing_page(found.records))
