"""`slonik compress`: options in, the library called, tables out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from slonik.cli.common import (
    ConvertWeights,
    JsonFile,
    Overrides,
    Pooling,
    announce,
    file_to_write,
    files_that_exist,
    print_tables,
    save_records,
)
from slonik.cli.numbers import AMOUNT, AT_LEAST_NONE, COUNT, SEED, SHARE, whole


def register(app: typer.Typer) -> None:
    """Add `slonik compress`."""
    app.command("compress")(compress)


def compress(
    model: str = typer.Argument(..., help="Folder, hub id or embedded:NAME."),
    corpus: list[str] = typer.Option(
        [],
        callback=files_that_exist,
        metavar="FILE",
        help="Text files to sample from (.txt, .jsonl, .parquet, each also .gz).",
    ),
    pairs: list[str] = typer.Option(
        [], metavar="FILE", help="English-Russian pairs (.tsv, .po, .mo): ties the two languages."
    ),
    examples: list[str] = typer.Option(
        [],
        metavar="FILE",
        help="Of a model with a head: rows of its task (.jsonl, .csv, .tsv; labels are not read) to teach it on.",
    ),
    out: Path = typer.Option(..., help="Folder for the new checkpoint."),
    recipe: Path | None = typer.Option(None, help="YAML file with fields of the recipe."),
    layers: int | None = typer.Option(None, help="Layers that stay.", **COUNT),
    heads: float | None = typer.Option(None, help="Share of the heads that stays, 0 to 1.", **SHARE),
    ffn: float | None = typer.Option(None, help="Share of the feed-forward neurons that stays, 0 to 1.", **SHARE),
    hidden: float | None = typer.Option(None, help="Share of the hidden dimensions that stays, 0 to 1.", **SHARE),
    target_parameters: int | None = typer.Option(None, help="The most parameters of the result.", **COUNT),
    target_flops: float | None = typer.Option(
        None, help="Share of the encoder's FLOPs that may stay, 0 to 1.", **SHARE
    ),
    target_latency: float | None = typer.Option(
        None, help="Share of the measured time that may stay, 0 to 1.", **SHARE
    ),
    uneven: bool | None = typer.Option(None, "--uneven/--uniform", help="May layers differ in heads and neurons?"),
    trim_vocab: str | None = typer.Option(None, help="Languages whose tokens stay (ru,en), or none."),
    max_pieces: int | None = typer.Option(None, help="The most tokens of the vocabulary that stay.", **whole(100)),
    init: str | None = typer.Option(None, help="Start from this earlier student."),
    static: bool = typer.Option(False, "--static", help="Make a table of token vectors instead of a smaller network."),
    teacher: list[str] = typer.Option(
        [], help="With --static: another encoder whose vectors stand beside MODEL's; may be repeated."
    ),
    dimensions: int | None = typer.Option(None, help="With --static: dimensions of a vector (256).", **whole(8)),
    pooling: Pooling = None,
    convert_weights: ConvertWeights = False,
    train_texts: int | None = typer.Option(None, help="Sentences to distil on.", **COUNT),
    epochs: float | None = typer.Option(None, help="Passes over them; 0 skips distillation.", **AT_LEAST_NONE),
    max_minutes: float | None = typer.Option(None, help="The most minutes of training.", **AMOUNT),
    save_every: float | None = typer.Option(None, help="Minutes between saves while training (5).", **AT_LEAST_NONE),
    data_dir: Path | None = typer.Option(None, help="Benchmark data; encodechka is measured where it is there."),
    evaluate: bool | None = typer.Option(None, "--evaluate/--no-evaluate", help="Measure encodechka before and after?"),
    seed: int | None = typer.Option(None, help="Seed of everything random (0).", **SEED),
    set_: Overrides = [],  # noqa: B006
    inspect: Path | None = typer.Option(
        None,
        help="Write a page of what compression cost inside: layers, heads, properties, words.",
        callback=file_to_write,
    ),
    json_file: JsonFile = None,
) -> None:
    """Make an encoder smaller and faster, and prove what it cost.

    Trims the vocabulary to the corpus, cuts layers, heads, neurons or dimensions, teaches the result to be like the
    original, measures both, and writes a checkpoint with its report. A classifier, a tagger or a span reader keeps its
    head, cut along, and is taught to answer as before, without labels.

    With --static no network is left: a table of token vectors, whose mean over a text is its vector. It takes
    microseconds a text and some megabytes, and forgets the order of words.

    Run the same command again after an interruption: finished steps are skipped, training goes on from its last save.

    Examples:

        slonik compress embedded:multilingual-e5-small --corpus ru.txt.gz --pairs en_ru.tsv.gz --layers 6 --out small

        slonik compress MODEL --corpus ru.txt --target-latency 0.3 --trim-vocab ru,en --out fast

        slonik compress my-classifier --corpus ru.txt --examples train.jsonl --layers 3 --out small-classifier

        slonik compress MODEL --recipe recipes/e5_four_layers.yaml --corpus ru.txt --out tiny --set distill.epochs=3

        slonik compress MODEL --static --teacher embedded:use-multilingual-3 --corpus ru.txt.gz --out table
    """
    networks = {
        "examples": examples, "layers": layers, "heads": heads, "ffn": ffn, "hidden": hidden, "init": init,
        "target-parameters": target_parameters, "target-flops": target_flops, "target-latency": target_latency,
        "uneven": uneven, "trim-vocab": trim_vocab, "max-minutes": max_minutes, "save-every": save_every,
        "epochs": epochs, "inspect": inspect,
    }  # fmt: skip
    tables = {"teacher": teacher, "dimensions": dimensions}
    _refuse(networks if static else tables, static)
    if static:
        _static(
            model, corpus=corpus, pairs=pairs, out=out, recipe=recipe, teachers=teacher, max_pieces=max_pieces,
            dimensions=dimensions, pooling=pooling, train_texts=train_texts, data_dir=data_dir,
            evaluate=evaluate, seed=seed, set=set_, json_file=json_file,
        )  # fmt: skip
        return
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
    if inspect is not None:
        from slonik.core.files import write_text
        from slonik.inspection.compression_cost import compression_cost

        cost = compression_cost(out, model, data_dir=data_dir)
        write_text(inspect, cost.page)
        typer.echo("\n".join(cost.sentences))
        typer.echo(f"what compression cost inside: {inspect}")
    else:
        typer.echo(f"what it cost inside: slonik inspect {out} --teacher {model} --html cost.html")


def _refuse(options: Mapping[str, Any], static: bool) -> None:
    """Refuse options that do nothing here."""
    from slonik.core.errors import SlonikError

    given = next((name for name, value in options.items() if value not in (None, [])), None)
    if given is not None and static:
        raise SlonikError(f"--{given} is for networks, and --static makes a table of token vectors: leave one out")
    if given is not None:
        raise SlonikError(f"--{given} is for a table of token vectors: add --static, or leave it out")


def _static(model: str, *, json_file: Path | None, **options: Any) -> None:
    from slonik.compression.static.run import compress_static

    made = compress_static(model, announce=announce, **options)
    print_tables(made.tables())
    typer.echo(f"\nreport: {made.report}")
    save_records(json_file, made.records)
