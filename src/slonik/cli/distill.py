"""`slonik distill STUDENT`: teach a small encoder from the one it was made of, without cutting anything."""

from __future__ import annotations

from pathlib import Path

import typer


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
    corpus: list[str] = typer.Option([], help="Text files to sample from (.txt, .jsonl, .parquet, each also .gz)."),
    pairs: list[str] = typer.Option([], help="English-Russian pairs (.tsv, .po, .mo)."),
    out: Path = typer.Option(..., help="Folder for the trained checkpoint."),
    epochs: float | None = typer.Option(None, help="Passes over the texts."),
    max_minutes: float | None = typer.Option(None, help="The most minutes of training."),
    save_every: float | None = typer.Option(None, help="Minutes between saves (5)."),
    seed: int | None = typer.Option(None, help="Seed of everything random (0)."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Override any field of the recipe."),
) -> None:
    """Teach a student to agree with its teacher on texts and translation pairs; held-out agreement chooses.

    Example:

        slonik distill small --teacher embedded:multilingual-e5-small --corpus ru.txt --pairs en_ru.tsv --out better
    """
    from rich.console import Console

    from slonik.compression.distill import DistillRecipe, run_distill
    from slonik.core.config import parse_overrides, read_config

    fields = {
        "model": model, "teacher": next(iter(teacher), None), "distill.teachers": teacher[1:] or None,
        "out": str(out), "seed": seed, "corpus.texts": corpus or None, "corpus.pairs": pairs or None,
        "distill.epochs": epochs, "distill.max_minutes": max_minutes, "distill.save_every_minutes": save_every,
    }  # fmt: skip
    config = read_config(DistillRecipe, recipe, fields | parse_overrides(set_))
    notes = Console(stderr=True)
    found = run_distill(config, announce=lambda line: notes.print(line, highlight=False))
    for name, value in found["held_out"].items():
        typer.echo(f"{name:>14} {value:.4f}")
    typer.echo(f"checkpoint: {out}")
