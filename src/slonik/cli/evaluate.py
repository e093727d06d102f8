"""`slonik evaluate BENCHMARK MODEL...`: one sub-command per benchmark; each writes result records with --json."""

from __future__ import annotations

import typer

from slonik.cli.common import (
    ConvertWeights,
    DataDir,
    Device,
    JsonFile,
    Pooling,
    StampPassport,
    TrustRemoteCode,
    announce_task,
    save_records,
    show_evaluation,
    split_names,
    split_numbers,
)
from slonik.cli.mteb import mteb
from slonik.cli.ner import ner
from slonik.cli.numbers import SEED
from slonik.cli.own import own
from slonik.cli.probing import probing
from slonik.cli.retrieval import retrieval
from slonik.cli.russian_superglue import russian_superglue


def register(app: typer.Typer) -> None:
    """Add the `evaluate` group."""
    group = typer.Typer(no_args_is_help=True, help="Measure models on a benchmark.")
    group.command("encodechka")(encodechka)
    group.command("probing")(probing)
    group.command("ner")(ner)
    group.command("russian-superglue")(russian_superglue)
    group.command("retrieval")(retrieval)
    group.command("own")(own)
    group.command("mteb")(mteb)
    app.add_typer(group, name="evaluate")


def encodechka(
    models: list[str] = typer.Argument(
        help="Folders, hub ids, embedded:NAME, or bare names of baselines (hashing_300, navec)."
    ),
    data_dir: DataDir = None,
    prefix: str | None = typer.Option(
        None, help="Text before every input (default: the model's own for sentences, none in the word tasks)."
    ),
    json_file: JsonFile = None,
    tasks: str | None = typer.Option(None, help="Comma-separated: sts,pi,nli,sa,ti,ia,ic,icx,ne1,ne2,speed."),
    variant: list[str] | None = typer.Option(None, help="compatible or fixed; may be repeated (default: both)."),
    dtype: str | None = typer.Option(None, help="float32 (default), bfloat16, float16; autocast: bf16 products alone."),
    device: Device = None,
    seed: int = typer.Option(0, help="Seed of the bootstrap.", **SEED),
    cache: bool = typer.Option(True, help="Keep embeddings, and reuse those of the same weights and text."),
    passport: StampPassport = True,
    trust_remote_code: TrustRemoteCode = False,
    pooling: Pooling = None,
    dimensions: str | None = typer.Option(
        None, help="Comma-separated numbers of leading dimensions to score alone too, a row each: 256,128,64."
    ),
    convert_weights: ConvertWeights = False,
) -> None:
    """Ten tasks and speed for sentence encoders, as published (compatible) and mended (fixed), with intervals."""
    from slonik.evaluation.encodechka.suite import encodechka as run
    from slonik.evaluation.encodechka.tasks import VARIANTS

    found = run(
        models, data_dir=data_dir, tasks=split_names(tasks, "--tasks"), prefix=prefix, seed=seed, cache=cache,
        passport=passport, variants=[part for names in variant or VARIANTS for part in names.split(",")],
        dtype=dtype, device=device, trust_remote_code=trust_remote_code, pooling=pooling, on_task=announce_task,
        dimensions=split_numbers(dimensions, "--dimensions", least=1) if dimensions is not None else (),
    )  # fmt: skip
    show_evaluation(found)
    save_records(json_file, found.records)
