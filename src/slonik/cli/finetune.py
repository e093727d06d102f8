"""`slonik finetune MODEL`: tasks of Russian SuperGLUE, your own data, taggers, rerankers; models and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import DataDir, JsonFile, Overrides, announce, print_scores, print_tables, save_records
from slonik.cli.numbers import AMOUNT, COUNT, PLACE, SEED, whole

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.reporting.table import Table

_OF_TAGGERS = ("unlabelled", "mapping", "crf", "partial", "nested", "gazetteer", "first", "member")
_OF_RERANKERS = ("negatives", "mine", "loss")
_OF_LABELS = ("few_shot", "lora", "class_weights", "stop_by", "calibrate", "thresholds")
_NOT_OF_TAGGERS = (
    "valid", "kind", "text_column", "label_column", "group_column", "skip_unlabelled", "name", "seeds", "folds",
    "crossfit", "multitask", "denoiser", "prompt", "shots", "training", *_OF_LABELS, *_OF_RERANKERS,
)  # fmt: skip
_NOT_OF_RERANKERS = (
    *_OF_TAGGERS, "data_dir", "group_column", "skip_unlabelled", "seeds", "folds", "crossfit", "multitask", "teacher",
    "denoiser", "prompt", "shots", "training", *_OF_LABELS,
)  # fmt: skip


def finetune(
    ctx: typer.Context,
    model: str = typer.Argument(
        help="Folder, hub id, embedded:NAME (any family); ner: also crf, bilstm, bilstm-crf, ensemble."
    ),
    recipe: Path | None = typer.Argument(None, help="YAML file with fields of the recipe."),
    out: Path = typer.Option(..., help="Folder for the task model (one task), or one folder per task in it."),
    task: list[str] = typer.Option(
        [],
        "--task",
        "--tasks",
        help="terra, rcb, parus, muserc, rucos, russe, rwsd, danetqa, lidirus, all, ner, or rerank.",
    ),
    data_dir: DataDir = None,
    train: Path | None = typer.Option(
        None,
        "--train",
        "--data",
        help="Your own data; ner: annotated texts; rerank: queries with documents, or a folder.",
    ),
    valid: Path | None = typer.Option(None, help="Your own file to measure on (default: a fifth of --train)."),
    kind: str | None = typer.Option(
        None,
        help="Of your own data: classification, multilabel, pair, regression, qa or text2text; rerank: cross-encoder "
        "(default) or bi-encoder.",
    ),
    text_column: list[str] = typer.Option([], help="Column with the text; twice for pairs (default: text)."),
    label_column: str | None = typer.Option(None, help="Column with the label, number or target text (label)."),
    group_column: str | None = typer.Option(None, help="Rows with one value there stay on one side of every split."),
    skip_unlabelled: bool | None = typer.Option(
        None, "--skip-unlabelled", help="Leave out rows whose label is null (default: an error)."
    ),
    name: str | None = typer.Option(None, help="Name of your own task (custom)."),
    seeds: int | None = typer.Option(None, help="How many runs with different seeds (3).", **COUNT),
    seed: int | None = typer.Option(None, help="The first seed (0).", **SEED),
    epochs: float | None = typer.Option(None, help="Passes over the fitting items (6).", **AMOUNT),
    learning_rate: float | None = typer.Option(None, help="Peak learning rate.", **AMOUNT),
    batch_size: int | None = typer.Option(None, help="Examples of a batch (16).", **COUNT),
    max_length: int | None = typer.Option(None, help="Tokens of an input (the task's own).", **whole(4)),
    folds: int | None = typer.Option(None, help="Folds of cross-fitting (5).", **whole(2)),
    crossfit: str | None = typer.Option(None, help="auto, always or never: cross-fit over val_crowd.jsonl."),
    multitask: bool | None = typer.Option(None, help="Train on all tasks together first, then on each from there."),
    teacher: list[str] = typer.Option([], help="Task model to learn from (repeat for an ensemble's mean)."),
    unlabelled: list[str] = typer.Option([], help="ner: text files on which the teacher teaches."),
    mapping: Path | None = typer.Option(None, help="ner: recipe whose `mapping` merges and drops labels."),
    crf: bool | None = typer.Option(None, "--crf/--no-crf", help="ner: learn which label follows which."),
    partial: bool | None = typer.Option(
        None, "--partial", help="ner: the texts are annotated in part: what is not marked is unknown."
    ),
    nested: bool | None = typer.Option(
        None, "--nested/--no-nested", help="ner, an encoder: entities may lie within one another."
    ),
    gazetteer: list[str] = typer.Option([], help="ner: LABEL=FILE, a name a line; may be repeated."),
    first: Path | None = typer.Option(None, help="ner, a network: annotated texts of another kind to train on before."),
    member: list[Path] = typer.Option([], help="ner, ensemble: folder of a tagger; twice or more."),
    negatives: int | None = typer.Option(None, help="rerank: documents beside the relevant one (4, or 1).", **COUNT),
    mine: str | None = typer.Option(None, help="rerank: auto, bm25, bm25_words, encoder or random: more negatives."),
    loss: str | None = typer.Option(None, help="rerank: softmax (default) or bce, of a cross-encoder."),
    denoiser: str | None = typer.Option(None, help="T5: prefix of the denoiser to go on from, e.g. `'<LM>'`."),
    prompt: list[str] = typer.Option(
        [],
        help="T5, decoders: how a row is asked, e.g. `'{text} Это отзыв:'`; several with --no-training: their spread.",
    ),
    shots: int | None = typer.Option(None, help="With --no-training: answered examples in the prompt (0).", **PLACE),
    training: bool | None = typer.Option(None, help="--no-training: T5 and decoders answer as they are."),
    few_shot: bool | None = typer.Option(
        None, "--few-shot", help="8 to 64 rows: pairs of texts teach the encoder, then a logistic regression (SetFit)."
    ),
    lora: int | None = typer.Option(None, help="Rank of low-rank matrices, trained instead of the weights.", **COUNT),
    class_weights: str | None = typer.Option(None, help="balanced: every label weighs as much as any other (none)."),
    stop_by: str | None = typer.Option(None, help="Metric that early stopping follows: accuracy, macro_f1, loss, ..."),
    calibrate: bool | None = typer.Option(
        None, "--calibrate", help="Choose a temperature on the stopping set; the calibration error is shown."
    ),
    thresholds: str | None = typer.Option(
        None, help="multilabel: chosen (for each label, on the stopping set) or half."
    ),
    json_file: JsonFile = None,
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Fine-tune a checkpoint and measure it beside the baselines; interrupted, the same command goes on.

    Example:

        slonik finetune embedded:multilingual-e5-small --task terra --data-dir data --out terra --seeds 3

        slonik finetune my-encoder --task rerank --train pairs.jsonl --kind cross-encoder --out my-reranker

        slonik finetune bilstm-crf --task ner --data brat/ --teacher my-tagger --unlabelled texts.txt --out small

        slonik finetune my-encoder --task ner --nested --data nerel/train --out my-nested
    """
    tasks = [name for given in task for name in given.split(",") if name]
    if "ner" in tasks:
        _tagger(ctx, tasks)
        return
    _refuse(ctx, _OF_TAGGERS, "without --task ner")
    if "rerank" in tasks:
        _reranker(ctx, tasks)
        return
    _refuse(ctx, _OF_RERANKERS, "without --task rerank")
    from slonik.finetuning.finetune import finetune as train_on

    found = train_on(
        model, train, out=out, task=tasks, recipe=recipe, valid=valid, kind=kind,  # type: ignore[arg-type]
        text_columns=text_column, label_column=label_column, group_column=group_column,
        unlabelled="leave_out" if skip_unlabelled else None, name=name, data_dir=data_dir, seeds=seeds, seed=seed,
        epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, max_length=max_length, folds=folds,
        crossfit=crossfit,  # type: ignore[arg-type]
        multitask=multitask, teachers=teacher, denoiser=denoiser, prompts=prompt, shots=shots, train=training,
        few_shot=few_shot, lora=lora, stop_by=stop_by, calibrate=calibrate,
        class_weights=class_weights, thresholds=thresholds,  # type: ignore[arg-type]
        set=set_, announce=announce,
    )  # fmt: skip
    print_tables(_tables(found.records))
    for task_id, folder in found.models.items():
        typer.echo(f"{task_id}: {folder}")
    save_records(json_file, found.records)


def _by_label(gazetteers: Sequence[str]) -> dict[str, list[str]]:
    """LABEL=FILE, several times, as label -> files."""
    from slonik.core.errors import SlonikError

    found: dict[str, list[str]] = {}
    for one in gazetteers:
        label, equals, path = one.partition("=")
        if not (label and equals and path):
            raise SlonikError(f"--gazetteer {one}: give LABEL=FILE, for example VIRUS=viruses.txt")
        found.setdefault(label, []).append(path)
    return found


def _tagger(ctx: typer.Context, tasks: Sequence[str]) -> None:
    """The call with `--task ner`."""
    from slonik.core.errors import SlonikError

    if len(tasks) > 1:
        raise SlonikError(f"--task {','.join(tasks)}: ner goes alone, train the others by a call of their own")
    _refuse(ctx, _NOT_OF_TAGGERS, "with --task ner, which trains one tagger")
    from slonik.tagging.train import train_tagger

    given = ctx.params
    if len(given["teacher"]) > 1:
        raise SlonikError("a tagger learns from one teacher: give --teacher once")
    names = (
        "recipe", "out", "data_dir", "mapping", "crf", "partial", "nested", "first", "seed", "unlabelled", "epochs",
        "learning_rate", "max_length", "batch_size",
    )  # fmt: skip
    found = train_tagger(
        given["model"], given["train"], gazetteers=_by_label(given["gazetteer"]), members=given["member"],
        teacher=next(iter(given["teacher"]), None), set=given["set_"], announce=announce,
        **{name: given[name] for name in names},
    )  # fmt: skip
    for name, value in found.summary.items():
        typer.echo(f"{name:>12} {value:.4f}" if isinstance(value, float) else f"{name:>12} {value}")
    for record in found.records:
        if record.metric == "f1_micro":
            typer.echo(f"{'f1':>12} {record.value:.4f} [{record.low:.4f}, {record.high:.4f}] of the development set")
    print_scores((), found.records)
    save_records(given["json_file"], found.records)
    typer.echo(f"tagger: {found.checkpoint}")


def _reranker(ctx: typer.Context, tasks: Sequence[str]) -> None:
    """The call with `--task rerank`."""
    from slonik.core.errors import SlonikError

    if len(tasks) > 1:
        raise SlonikError(f"--task {','.join(tasks)}: rerank goes alone, train the others by a call of their own")
    _refuse(ctx, _NOT_OF_RERANKERS, "with --task rerank, which trains one model")
    from slonik.finetuning.rerank.run import train_reranker

    given = ctx.params
    names = (
        "recipe", "out", "valid", "kind", "loss", "negatives", "mine", "label_column", "name", "seed", "epochs",
        "learning_rate", "batch_size", "max_length",
    )  # fmt: skip
    found = train_reranker(
        given["model"], given["train"], text_columns=given["text_column"], set=given["set_"], announce=announce,
        **{name: given[name] for name in names},
    )  # fmt: skip
    print_scores(_tables(found.records), found.records)
    typer.echo(f"{found.records[0].task}: {found.checkpoint}")
    save_records(given["json_file"], found.records)


def _refuse(ctx: typer.Context, names: Sequence[str], where: str) -> None:
    """Say which options that were given do nothing there, rather than pass over them."""
    from slonik.core.errors import SlonikError

    given = [name for name in names if ctx.params[name] not in (None, [], ())]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise SlonikError(f"{flags} cannot be used {where}: leave out what is not meant")


def _tables(records: Sequence[Record]) -> list[Table]:
    """One of models and baselines, and one of differences."""
    from slonik.reporting.formatting import cell
    from slonik.reporting.scores import is_difference
    from slonik.reporting.table import Table

    tables = []
    for title, apart in (("Fine-tuning", False), ("Differences to the baselines, paired", True)):
        chosen = [record for record in records if is_difference(record) == apart]
        lines = [(one.task, one.model, one.metric, cell(one), one.n) for one in chosen]
        if lines:
            tables.append(Table.of(title, ("task", "model", "metric", "value [95 %]", "n"), lines))
    asked = [record for record in records if "prompts" in record.detail]
    spreads = [
        (one.task, one.metric, ", ".join(f"{value:.4f}" for value in one.detail["prompts"].values()),
         f"{one.detail['lowest']:.4f} to {one.detail['highest']:.4f}", f"{one.detail['spread']:.4f}")
        for one in asked
    ]  # fmt: skip
    if spreads:
        columns = ("task", "metric", "by prompt", "from lowest to highest", "standard deviation")
        tables.append(Table.of("By prompt", columns, spreads))
    return tables
