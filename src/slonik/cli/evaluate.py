"""`slonik evaluate BENCHMARK MODEL...`: one sub-command per benchmark; each writes result records with --json."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.ner import ner
from slonik.cli.probing import probing
from slonik.cli.russian_superglue import russian_superglue

if TYPE_CHECKING:
    from slonik.core.protocols import Encoder
    from slonik.core.records import Record
    from slonik.evaluation.encodechka import Evaluation

_MODELS = typer.Argument(help="Folders, hub ids, embedded:NAME, or bare names of baselines (hashing_300, navec).")
_DATA_DIR = typer.Option(None, help="Data folder (default: $SLONIK_DATA, or the user's cache folder).")
_JSON = typer.Option(None, "--json", help="Write result records to this file.")


def register(app: typer.Typer) -> None:
    """Add the `evaluate` group."""
    group = typer.Typer(no_args_is_help=True, help="Measure models on a benchmark.")
    group.command("encodechka")(encodechka)
    group.command("probing")(probing)
    group.command("ner")(ner)
    group.command("russian-superglue")(russian_superglue)
    app.add_typer(group, name="evaluate")


def encodechka(
    models: list[str] = _MODELS,
    data_dir: Path | None = _DATA_DIR,
    prefix: str | None = typer.Option(
        None, help="Text before every input (default: the model's own for sentences, none in the word tasks)."
    ),
    json_file: Path | None = _JSON,
    tasks: str | None = typer.Option(None, help="Comma-separated: sts,pi,nli,sa,ti,ia,ic,icx,ne1,ne2,speed."),
    variant: list[str] | None = typer.Option(None, help="compatible or fixed; may be repeated (default: both)."),
    dtype: str | None = typer.Option(None, help="float32 (default), bfloat16, float16; autocast: bf16 products alone."),
    device: str | None = typer.Option(None, help="cpu, cuda, cuda:1 (default: a GPU if there is one)."),
    seed: int = typer.Option(0, help="Seed of the bootstrap."),
    cache: bool = typer.Option(True, help="Keep embeddings, and reuse those of the same weights and text."),
    passport: bool = typer.Option(True, help="Add the records to the passport of a MODEL that is a folder."),
    trust_remote_code: bool = typer.Option(False, help="Run Python code that comes with a checkpoint."),
) -> None:
    """Ten tasks and speed for sentence encoders, as published (compatible) and mended (fixed), with intervals."""
    from slonik.core.paths import data_dir as data_folder
    from slonik.core.records import write_records
    from slonik.evaluation.encodechka import VARIANTS, compare, evaluate

    options = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code or None}
    evaluations = []
    for model in dict.fromkeys(models):
        evaluation = evaluate(
            _load(model, {name: value for name, value in options.items() if value is not None}),
            data_folder(data_dir),
            tasks=_split(tasks),
            variants=[part for given in variant or VARIANTS for part in given.split(",")],
            prefix=prefix,
            use_cache=cache,
            seed=seed,
            on_task=partial(_say_task, model),
        )
        _tell(evaluation)
        evaluations.append(evaluation)
        if passport:
            _stamp(model, evaluation.records)
    differences = compare(evaluations)
    _show(evaluations, differences)
    if json_file is not None:
        write_records(json_file, [*(r for e in evaluations for r in e.records), *differences])


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


def _say_task(model: str, task: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"{model}: {task}", err=True)


def _split(names: str | None) -> list[str] | None:
    return [name.strip().lower() for name in names.split(",") if name.strip()] if names else None


def _tell(evaluation: Evaluation) -> None:
    for note in evaluation.notes:
        typer.echo(f"warning: {note}", err=True)
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


def _stamp(model: str, records: Sequence[Record]) -> None:
    from slonik.core.errors import SlonikError
    from slonik.core.passport import Passport

    folder = Path(model)
    if not folder.is_dir():
        return
    try:
        Passport.read(folder).with_records(records).write(folder)
    except SlonikError as error:
        typer.echo(f"warning: the passport was not written: {error}", err=True)


def _show(evaluations: Sequence[Evaluation], differences: Sequence[Record]) -> None:
    from slonik.evaluation.encodechka import tables
    from slonik.reporting.table import print_table

    for evaluation in evaluations:
        print_table(tables.per_model(evaluation))
    if differences:
        print_table(tables.differences(differences))
    print_table(tables.leaderboard(evaluations))
