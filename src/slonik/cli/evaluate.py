"""`slonik evaluate BENCHMARK MODEL...`: one sub-command per benchmark; each writes result records with --json."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import (
    DataDir,
    Device,
    JsonFile,
    StampPassport,
    TrustRemoteCode,
    add_to_passport,
    announce_task,
    given,
    print_tables,
    save_records,
    split_names,
    warn,
)
from slonik.cli.ner import ner
from slonik.cli.probing import probing
from slonik.cli.russian_superglue import russian_superglue

if TYPE_CHECKING:
    from slonik.core.protocols import Encoder
    from slonik.core.records import Record
    from slonik.evaluation.encodechka import Evaluation


def register(app: typer.Typer) -> None:
    """Add the `evaluate` group."""
    group = typer.Typer(no_args_is_help=True, help="Measure models on a benchmark.")
    group.command("encodechka")(encodechka)
    group.command("probing")(probing)
    group.command("ner")(ner)
    group.command("russian-superglue")(russian_superglue)
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
    seed: int = typer.Option(0, help="Seed of the bootstrap."),
    cache: bool = typer.Option(True, help="Keep embeddings, and reuse those of the same weights and text."),
    passport: StampPassport = True,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Ten tasks and speed for sentence encoders, as published (compatible) and mended (fixed), with intervals."""
    from slonik.core.paths import data_dir as data_folder
    from slonik.evaluation.encodechka import VARIANTS, compare, evaluate

    options = given({"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code or None})
    evaluations = []
    for model in dict.fromkeys(models):
        evaluation = evaluate(
            _load(model, options),
            data_folder(data_dir),
            tasks=split_names(tasks),
            variants=[part for names in variant or VARIANTS for part in names.split(",")],
            prefix=prefix,
            use_cache=cache,
            seed=seed,
            on_task=partial(announce_task, model),
        )
        _tell(evaluation)
        evaluations.append(evaluation)
        if passport:
            add_to_passport(model, evaluation.records)
    differences = compare(evaluations)
    _show(evaluations, differences)
    save_records(json_file, [*(r for e in evaluations for r in e.records), *differences])


def _load(model: str, options: dict[str, Any]) -> Encoder:
    import slonik
    from slonik.core.errors import SlonikError
    from slonik.models.kinds import is_exported

    if options and is_exported(model):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options)
        raise SlonikError(f"{model} is an exported folder, run by onnxruntime: leave out {names}")
    encoder = slonik.load(model, **options)
    encoder.name = model  # records carry the name that the user gave
    return encoder


def _tell(evaluation: Evaluation) -> None:
    warn(evaluation.notes)
    if evaluation.missing:
        names = "; ".join(f"{task} ({', '.join(files)})" for task, files in evaluation.missing.items())
        typer.echo(
            f"{evaluation.model}: not scored, as their files are not there: {names}. Averages over them are left "
            "out; `slonik fetch encodechka` gets the files."
        )
    typer.echo(
        f"{evaluation.model}: embeddings {evaluation.embedding_seconds:.1f} s ({evaluation.encoded} texts encoded, "
        f"{evaluation.reused} from the cache), classifiers and intervals {evaluation.classifier_seconds:.1f} s"
    )


def _show(evaluations: Sequence[Evaluation], differences: Sequence[Record]) -> None:
    from slonik.evaluation.encodechka import tables

    print_tables(tables.per_model(evaluation) for evaluation in evaluations)
    print_tables([tables.differences(differences)] if differences else [])
    print_tables([tables.leaderboard(evaluations)])
