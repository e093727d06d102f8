"""`slonik distill STUDENT`: teach a small encoder from the one it was made of, without cutting anything."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import ConvertWeights, Overrides, Pooling, announce, files_that_exist
from slonik.cli.numbers import AMOUNT, AT_LEAST_NONE, SEED


def register(app: typer.Typer) -> None:
    """Add the `distill` command."""
    app.command("distill")(distill)


def distill(
    model: str = typer.Argument(help="The student: folder, hub id or embedded:NAME."),
    recipe: Path | None = typer.Argument(None, help="YAML file with fields of the recipe."),
    teacher: list[str] = typer.Option(
        [],
        help="The teacher: folder, hub id or embedded:NAME. Repeat for further ones, whose sentence vectors are "
        "targets too: any encoder, baselines and embedded:use-multilingual-3 as well.",
    ),
    corpus: list[str] = typer.Option(
        [], callback=files_that_exist, help="Text files to sample from (.txt, .jsonl, .parquet, each also .gz)."
    ),
    pairs: list[str] = typer.Option([], help="English-Russian pairs (.tsv, .po, .mo)."),
    examples: list[str] = typer.Option(
        [], help="Of a model with a head: rows of its task (.jsonl, .csv, .tsv; labels are not read) to teach it on."
    ),
    out: Path = typer.Option(..., help="Folder for the trained checkpoint."),
    weight: list[float] = typer.Option(
        [],
        help="Of each --teacher in turn: makes of them one target, their vectors side by side (a blend).",
        **AMOUNT,
    ),
    output_map: bool | None = typer.Option(
        None, "--output-map", help="Put a Dense behind the student's pooling that learns the target and stays."
    ),
    fold_prefix: bool | None = typer.Option(
        None, "--fold-prefix", help="The teacher reads its prefix, the student does not and will need none."
    ),
    pooling: Pooling = None,
    convert_weights: ConvertWeights = False,
    epochs: float | None = typer.Option(None, help="Passes over the texts.", **AMOUNT),
    max_minutes: float | None = typer.Option(None, help="The most minutes of training.", **AMOUNT),
    save_every: float | None = typer.Option(None, help="Minutes between saves (5).", **AT_LEAST_NONE),
    seed: int | None = typer.Option(None, help="Seed of everything random (0).", **SEED),
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Teach a student to agree with its teacher on texts and translation pairs; held-out agreement chooses.

    A teacher with a head for a task teaches its answers; a student without a head gets a copy of the teacher's.

    Example:

        slonik distill small --teacher embedded:multilingual-e5-small --corpus ru.txt --pairs en_ru.tsv --out better
        slonik distill small --teacher embedded:multilingual-e5-small --teacher embedded:use-multilingual-3 --weight 1
        --weight 0.7 --output-map --fold-prefix --corpus ru.txt --out blended
    """
    from slonik.compression.distill import distill as run

    made = run(
        model, teacher=teacher, corpus=corpus, pairs=pairs, examples=examples, out=out, recipe=recipe,
        weights=weight or None, output_map=output_map, fold_prefix=fold_prefix, pooling=pooling, epochs=epochs,
        max_minutes=max_minutes, save_every=save_every, seed=seed, set=set_,
        announce=announce,
    )  # fmt: skip
    for name, value in made.held_out.items():
        typer.echo(f"{name:>14} {value:.4f}")
    typer.echo(f"checkpoint: {made.checkpoint}")
