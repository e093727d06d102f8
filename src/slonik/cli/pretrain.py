"""`slonik pretrain`: train a model from a recipe and a plain text file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from slonik.cli.common import JsonFile, Overrides, announce, files_that_exist, save_records
from slonik.cli.numbers import COUNT, SEED
from slonik.core.errors import SlonikError


def register(app: typer.Typer) -> None:
    """Add the `pretrain` command."""
    app.command("pretrain")(pretrain)


def pretrain(
    recipe: Path = typer.Argument(help="YAML recipe, for example recipes/pretrain/bert_tiny.yaml."),
    corpus: list[str] = typer.Option(
        [], callback=files_that_exist, help="Texts (.txt, .jsonl, .parquet, .gz, folders, hub:OWNER/NAME)."
    ),
    out: Path | None = typer.Option(None, help="Folder for the checkpoint (default: the recipe's)."),
    tokenizer: str | None = typer.Option(None, help="Folder or model whose tokenizer to use, instead of training one."),
    start: str | None = typer.Option(
        None, metavar="MODEL", help="Finished model of the recipe's shape to go on with, by its weights and tokenizer."
    ),
    steps: int | None = typer.Option(None, help="Optimizer steps.", **COUNT),
    language: str | None = typer.Option(None, help="Language of the corpus; any = not checked (ru)."),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    trackers: str | None = typer.Option(
        None, metavar="NAME,...", help="tensorboard, mlflow, clearml, wandb, trackio, or none (tensorboard)."
    ),
    seed: int | None = typer.Option(None, help="Seed of everything random (0).", **SEED),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print parameters, memory and FLOPs; needs no corpus."),
    processes: int | None = typer.Option(None, help="Processes that --dry-run assumes (1).", **COUNT),
    set_: Overrides = [],  # noqa: B006
    json_file: JsonFile = None,
) -> None:
    """Train a model from nothing: tokenizer, tokens, model, training, checkpoint with its passport.

    The same command after a crash goes on from the last saved step. Several processes: start it with torchrun
    (torchrun --nproc-per-node 8 -m slonik pretrain ...).

    Examples:

        slonik pretrain recipes/pretrain/bert_tiny.yaml --corpus ru.txt.gz --out my-bert

        slonik pretrain recipes/pretrain/bert_tiny.yaml --corpus ru.txt.gz --start my-bert --steps 2000 --out longer

        slonik pretrain recipes/pretrain/fred_t5_paper.yaml --dry-run --processes 112
    """
    if processes is not None and not dry_run:
        raise SlonikError(
            f"--processes says what --dry-run assumes: to train with several, torchrun --nproc-per-node {processes} -m "
            "slonik pretrain ..."
        )
    from slonik.pretraining.pretrain import pretrain as run
    from slonik.pretraining.pretrain import pretrain_config

    options: dict[str, Any] = {
        "out": out, "tokenizer": tokenizer, "start": start, "steps": steps, "language": language, "column": column,
        "seed": seed, "set": set_,
        "trackers": None if trackers is None else () if trackers == "none" else trackers.split(","),
    }  # fmt: skip
    if dry_run:
        from slonik.pretraining.costs import run_costs

        config = pretrain_config(recipe, files=corpus, **options)
        costs = run_costs(config, processes=processes or 1)
        for what, value in costs.lines():
            typer.echo(f"{what:>22}  {value}")
        save_records(json_file, costs.records(Path(config.out).name))
        return
    from slonik.train.processes import leave

    made = run(recipe, corpus=corpus, announce=announce, **options)
    leave()
    for record in made.records:
        low, high = record.low or 0.0, record.high or 0.0
        size, perplexity = record.detail.get("bytes", 0) / 1000, record.detail.get("perplexity", 0.0)
        typer.echo(
            f"bits per byte {record.value:.4f} [{low:.4f}, {high:.4f}] on {record.n} held-out texts ({size:,.0f} kB); "
            f"perplexity of a token {perplexity:,.1f}"
        )
    if made.records:
        typer.echo(f"checkpoint: {made.checkpoint}")
        save_records(json_file, made.records)
