"""`slonik finetune MODEL`: tasks of Russian SuperGLUE or your own data, several seeds, models and predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.tagging import finetune_ner

if TYPE_CHECKING:
    from slonik.core.records import Record


_OF_TAGGERS = ("unlabelled", "mapping", "crf")
_NOT_OF_TAGGERS = (
    "valid", "kind", "text_column", "label_column", "name", "seeds", "folds", "crossfit", "multitask", "denoiser",
    "shots", "training",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the `finetune` command."""
    app.command("finetune")(finetune)


def finetune(
    ctx: typer.Context,
    model: str = typer.Argument(help="Folder, hub id, embedded:NAME (any family); ner: also crf, bilstm, bilstm-crf."),
    recipe: Path | None = typer.Argument(None, help="YAML file with fields of the recipe."),
    out: Path = typer.Option(..., help="Folder for the task model (one task), or one folder per task in it."),
    task: list[str] = typer.Option(
        [], "--task", "--tasks", help="terra, rcb, parus, muserc, rucos, russe, rwsd, danetqa, lidirus, all, or ner."
    ),
    data_dir: Path | None = typer.Option(None, help="Data folder (default: $SLONIK_DATA, or the user's cache folder)."),
    train: Path | None = typer.Option(None, "--train", "--data", help="Your own data; ner: annotated texts."),
    valid: Path | None = typer.Option(None, help="Your own file to measure on (default: a fifth of --train)."),
    kind: str | None = typer.Option(
        None, help="Of your own data: classification, multilabel, pair, regression, qa or text2text."
    ),
    text_column: list[str] = typer.Option([], help="Column with the text; twice for pairs (default: text)."),
    label_column: str | None = typer.Option(None, help="Column with the label, number or target text (label)."),
    name: str | None = typer.Option(None, help="Name of your own task (custom)."),
    seeds: int | None = typer.Option(None, help="How many runs with different seeds (3)."),
    seed: int | None = typer.Option(None, help="The first seed (0)."),
    epochs: float | None = typer.Option(None, help="Passes over the fitting items (6)."),
    learning_rate: float | None = typer.Option(None, help="Peak learning rate."),
    batch_size: int | None = typer.Option(None, help="Examples of a batch (16)."),
    max_length: int | None = typer.Option(None, help="Tokens of an input (the task's own)."),
    folds: int | None = typer.Option(None, help="Folds of cross-fitting (5)."),
    crossfit: str | None = typer.Option(None, help="auto, always or never: cross-fit over val_crowd.jsonl."),
    multitask: bool | None = typer.Option(None, help="Train on all tasks together first, then on each from there."),
    teacher: list[str] = typer.Option([], help="Task model to learn from (repeat for an ensemble's mean)."),
    unlabelled: list[str] = typer.Option([], help="ner: text files on which the teacher teaches."),
    mapping: Path | None = typer.Option(None, help="ner: recipe whose `mapping` merges and drops labels."),
    crf: bool | None = typer.Option(None, "--crf/--no-crf", help="ner: learn which label follows which."),
    denoiser: str | None = typer.Option(None, help="T5: prefix of the denoiser to go on from, e.g. '<LM>'."),
    shots: int | None = typer.Option(None, help="With --no-training: answered examples in the prompt (0)."),
    training: bool | None = typer.Option(None, help="--no-training: T5 and decoders answer as they are."),
    json_file: Path | None = typer.Option(None, "--json", help="Write result records to this file too."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Override any field of the recipe."),
) -> None:
    """Fine-tune a checkpoint and measure it beside the baselines; interrupted, the same command goes on.

    Example:

        slonik finetune embedded:multilingual-e5-small --task terra --data-dir data --out terra --seeds 3

        slonik finetune bilstm-crf --task ner --data brat/ --teacher my-tagger --unlabelled texts.txt --out small
    """
    announce = _announcer()
    tasks = [name for given in task for name in given.split(",") if name]
    if "ner" in tasks:
        _tagger(ctx, tasks, announce)
        return
    _refuse(ctx, _OF_TAGGERS, "without --task ner")
    fields = _fields(
        {"model": model, "out": str(out), "seeds": seeds, "seed": seed, "folds": folds, "crossfit": crossfit,
         "multitask": multitask, "denoiser": denoiser, "shots": shots, "train": training,
         "tuning.epochs": epochs, "tuning.learning_rate": learning_rate, "tuning.batch_texts": batch_size,
         "tuning.max_length": max_length, "teaching.teachers": teacher or None},
        tasks, data_dir, {"train": train, "valid": valid, "kind": kind, "text_columns": text_column,
                          "label_column": label_column, "name": name}, recipe,
    )  # fmt: skip
    _train(recipe, fields, set_, announce, json_file)


def _tagger(ctx: typer.Context, tasks: Sequence[str], announce: Any) -> None:
    """The call with `--task ner`."""
    from slonik.core.errors import SlonikError

    if len(tasks) > 1:
        raise SlonikError(f"--task {','.join(tasks)}: ner goes alone, train the others by a call of their own")
    _refuse(ctx, _NOT_OF_TAGGERS, "with --task ner, which trains one tagger")
    given = ctx.params
    tuning = {name: given[name] for name in ("epochs", "learning_rate", "max_length")}
    options = {name: given[name] for name in ("data_dir", "mapping", "crf", "seed", "teacher", "unlabelled")}
    finetune_ner(
        given["model"], given["recipe"], given["out"], given["train"], announce,
        options | {"json": given["json_file"]}, tuning | {"batch_texts": given["batch_size"]}, given["set_"],
    )  # fmt: skip


def _refuse(ctx: typer.Context, names: Sequence[str], where: str) -> None:
    """Say which options that were given do nothing there, rather than pass over them."""
    from slonik.core.errors import SlonikError

    given = [name for name in names if ctx.params[name] not in (None, [], ())]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise SlonikError(f"{flags} cannot be used {where}: leave out what is not meant")


def _announcer() -> Any:
    from rich.console import Console

    notes = Console(stderr=True)
    return lambda line: notes.print(line, highlight=False, markup=False, soft_wrap=True)


def _fields(
    fields: dict[str, Any], tasks: Sequence[str], data_dir: Path | None, own: dict[str, Any], recipe: Path | None
) -> dict[str, Any]:
    from slonik.core.config import read_recipe
    from slonik.core.paths import data_dir as data_folder

    given = read_recipe(recipe) if recipe is not None else {}
    if "all" in tasks:
        fields["skip_missing"] = True
        tasks = ["terra", "lidirus", "rcb", "parus", "muserc", "russe", "rwsd", "danetqa", "rucos"]
    if tasks:
        fields["tasks"] = list(tasks)
    if (tasks or given.get("tasks")) and (data_dir is not None or not given.get("data_dir")):
        fields["data_dir"] = str(data_folder(data_dir))
    for name, value in own.items():
        if value not in (None, [], ()):
            fields[f"own.{name}"] = str(value) if isinstance(value, Path) else value
    return fields


def _train(
    recipe: Path | None, fields: dict[str, Any], set_: Sequence[str], announce: Any, json_file: Path | None
) -> None:
    from slonik.core.config import parse_overrides, read_config
    from slonik.core.records import write_records
    from slonik.finetuning.config import FinetuneRecipe
    from slonik.finetuning.finetune import run_finetune

    config = read_config(FinetuneRecipe, recipe, fields | parse_overrides(set_))
    found = run_finetune(config, announce)
    _show(found.records)
    for name, folder in found.models.items():
        typer.echo(f"{name}: {folder}")
    if json_file is not None:
        write_records(json_file, found.records)


def _show(records: Sequence[Record]) -> None:
    """A table of models and baselines, and one of differences."""
    from slonik.reporting.table import Cell, Row, Table, print_table

    plain = [record for record in records if not record.metric.endswith("difference")]
    apart = [record for record in records if record.metric.endswith("difference")]
    for title, chosen in (("Fine-tuning", plain), ("Differences to the baselines, paired", apart)):
        if not chosen:
            continue
        rows = tuple(
            Row(tuple(map(Cell, (one.task, one.model, one.metric, _interval(one), str(one.n))))) for one in chosen
        )
        print_table(Table(title, ("task", "model", "metric", "value [95 %]", "n"), rows, ()))


def _interval(record: Record) -> str:
    if record.value is None:
        return "-"
    ends = f" [{record.low:.3f}, {record.high:.3f}]" if record.low is not None and record.high is not None else ""
    return f"{record.value:.3f}{ends}"
