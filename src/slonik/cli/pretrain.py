"""`slonik pretrain`: train a model from a recipe and a plain text file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the `pretrain` command."""
    app.command("pretrain")(pretrain)


def pretrain(
    recipe: Path = typer.Argument(help="YAML recipe, for example recipes/pretrain/bert_tiny.yaml."),
    corpus: list[str] = typer.Option([], help="Texts (.txt, .jsonl, .parquet, .gz, folders, hub:OWNER/NAME)."),
    out: Path | None = typer.Option(None, help="Folder for the checkpoint (default: the recipe's)."),
    tokenizer: str | None = typer.Option(None, help="Folder or model whose tokenizer to use, instead of training one."),
    steps: int | None = typer.Option(None, min=1, help="Optimizer steps."),
    language: str | None = typer.Option(None, help="Language of the corpus; any = not checked (ru)."),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    trackers: str | None = typer.Option(
        None, metavar="NAME,...", help="tensorboard, mlflow, clearml, wandb, trackio, or none (tensorboard)."
    ),
    seed: int | None = typer.Option(None, help="Seed of everything random (0)."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print parameters, memory and FLOPs; needs no corpus."),
    processes: int = typer.Option(1, min=1, help="Processes that --dry-run assumes."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Override any field of the recipe."),
    json_file: Path | None = typer.Option(None, "--json", help="Write result records to this file.", metavar="FILE"),
) -> None:
    """Train a model from nothing: tokenizer, tokens, model, training, checkpoint with its passport.

    The same command after a crash goes on from the last saved step. Several processes: start it with torchrun
    (torchrun --nproc-per-node 8 -m slonik pretrain ...).

    Examples:

        slonik pretrain recipes/pretrain/bert_tiny.yaml --corpus ru.txt.gz --out my-bert

        slonik pretrain recipes/pretrain/fred_t5_paper.yaml --dry-run --processes 112
    """
    from slonik.core.config import parse_overrides, read_config
    from slonik.core.records import Record, write_records
    from slonik.pretraining.config import PretrainConfig

    fields: dict[str, Any] = {
        "out": str(out) if out else None, "corpus.files": corpus or None, "tokenizer.given": tokenizer, "seed": seed,
        "train.max_steps": steps, "corpus.language": language, "corpus.column": column,
        "train.trackers": None if trackers is None else [] if trackers == "none" else trackers.split(","),
    }  # fmt: skip
    config = read_config(PretrainConfig, recipe, fields | parse_overrides(set_))
    records: list[Record]
    if dry_run:
        from slonik.pretraining.costs import run_costs

        costs = run_costs(config, processes=processes)
        for what, figure in costs.lines():
            typer.echo(f"{what:>22}  {figure}")
        records = costs.records(Path(config.out).name)
    else:
        records = _train(config)
    if json_file is not None and records:
        write_records(json_file, records)


def _train(config: Any) -> Any:
    """Train and print the result; the records."""
    from rich.console import Console

    from slonik.pretraining.pretrain import run_pretrain
    from slonik.train.processes import leave

    notes = Console(stderr=True)
    found = run_pretrain(config, announce=lambda line: notes.print(line, highlight=False))
    leave()
    for record in found.records:
        low, high = record.low or 0.0, record.high or 0.0
        typer.echo(f"bits per byte {record.value:.4f} [{low:.4f}, {high:.4f}] on {record.n} held-out texts")
    if found.records:
        typer.echo(f"checkpoint: {found.out}")
    return found.records
