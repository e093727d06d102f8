"""`slonik adapt`: train a checkpoint on with the texts of a domain."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import JsonFile, Overrides, announce, files_that_exist, save_records
from slonik.cli.numbers import AMOUNT, COUNT, PLACE, SEED, whole


def register(app: typer.Typer) -> None:
    """Add the `adapt` command."""
    app.command("adapt")(adapt)


def adapt(
    model: str = typer.Argument(help="Folder, hub id or embedded:NAME."),
    recipe: Path | None = typer.Argument(None, help="YAML file with fields of the recipe."),
    corpus: list[str] = typer.Option(
        [], callback=files_that_exist, help="Texts of the domain (.txt, .jsonl, .parquet, .gz, hub:OWNER/NAME)."
    ),
    general: list[str] = typer.Option(
        [], callback=files_that_exist, help="Other texts: for a missing head, and to see what is forgotten."
    ),
    objective: str | None = typer.Option(None, help="mlm, clm or denoising (T5); default: the model's own."),
    out: Path = typer.Option(..., help="Folder for the adapted checkpoint."),
    steps: int | None = typer.Option(None, help="Optimizer steps (default: --epochs).", **COUNT),
    epochs: float | None = typer.Option(None, help="Passes over the domain corpus (1).", **AMOUNT),
    new_words: int | None = typer.Option(None, help="So many whole words of the domain become tokens.", **PLACE),
    tokenizer: str | None = typer.Option(None, help="Folder with a whole new tokenizer."),
    every: int | None = typer.Option(
        None, help="Keep the first of every so many layers (2: DistilBERT's student).", **whole(2)
    ),
    lora: int | None = typer.Option(
        None, metavar="RANK", help="Train low-rank matrices beside the weights (peft), merged in the end.", **COUNT
    ),
    teacher: str | None = typer.Option(None, help="Masked-language model whose guesses are learned too (DistilBERT)."),
    apart: list[str] = typer.Option([], help="A source of the corpus (.ranges.tsv) to report apart; may be repeated."),
    language: str | None = typer.Option(None, help="Language of the corpus; any = not checked (ru)."),
    column: str | None = typer.Option(None, help="Field or column with the texts (default: text)."),
    task_head: str | None = typer.Option(
        None, metavar="keep|drop", help="Of a model with a head for a task: keep the head, untaught, or leave it out."
    ),
    seed: int | None = typer.Option(None, help="Seed of everything random (0).", **SEED),
    set_: Overrides = [],  # noqa: B006
    json_file: JsonFile = None,
) -> None:
    """Train an encoder (masked words), a decoder (next word) or a T5 (corrupted spans) on with the texts of a domain.

    Bits per byte on held-out texts of the domain, and of --general, before and after: what was learned, and what was
    forgotten. A checkpoint without a language-model head gets one, trained first with the body frozen. Pooling and
    prefixes of a sentence encoder survive. A classifier or tagger is refused unless --task-head says what becomes of
    its head, which is not taught. "before" is the original in its own vocabulary, over the same bytes. The same command
    after a crash goes on. Several processes: start it with torchrun (torchrun --nproc-per-node 8 -m slonik adapt ...).

    Examples:

        slonik adapt e5-ru --corpus infosec_ru.txt.gz --general ru.txt.gz --objective mlm --out e5-infosec

        slonik adapt embedded:multilingual-e5-small --corpus domain.jsonl --new-words 500 --steps 300 --out adapted

        slonik adapt my-gpt2 --corpus news_ru.txt.gz --general ru.txt.gz --lora 16 --out news-gpt2

        slonik adapt my-bert --every 2 --teacher my-bert --corpus ru.txt.gz --out my-distilbert
    """
    from slonik.pretraining.adaptation.adapt import adapt as run
    from slonik.train.processes import leave

    made = run(
        model, corpus=corpus, general=general, out=out, recipe=recipe, objective=objective, steps=steps, epochs=epochs,
        new_words=new_words, tokenizer=tokenizer, every=every, lora=lora, teacher=teacher, apart=apart,
        language=language, column=column, task_head=task_head, seed=seed, set=set_, announce=announce,
    )  # fmt: skip
    leave()
    if not made.records:  # only the first of several processes measures
        return
    typer.echo(made.table)
    save_records(json_file, made.records)
    typer.echo(f"checkpoint: {made.checkpoint}")
