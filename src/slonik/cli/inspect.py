"""`slonik inspect MODEL`: what heads do and how much they matter, whose layers are alike, which neurons carry what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    TrustRemoteCode,
    file_to_write,
    folder_to_fill,
    print_tables,
    save_records,
    split_names,
)
from slonik.cli.numbers import PLACE, whole

if TYPE_CHECKING:
    from slonik.core.records import Record


_ORDERS = "gate,fisher,taylor,magnitude,left_out,random"
# Which of the questions each option means something to; without one of them it is refused.
_BELONGS = {
    "treebank": ("attention",),
    "orders": ("heads",),
    "measures": ("like",),
    "twin": ("attention", "like", "neurons"),
    "data_dir": ("neurons", "erase", "teacher"),
    "texts": ("heads", "attention", "neighbours", "like", "erase", "teacher"),
    "limit": ("heads", "attention", "neighbours", "like", "neurons", "erase", "heads_on", "teacher"),
    "prefix": ("heads", "attention", "attribution", "neighbours", "like", "neurons", "erase", "teacher"),
    "png": ("heads", "attention", "like", "neurons", "teacher"),
    "device": ("heads", "attention", "attribution", "neighbours", "like", "neurons", "erase"),
    "trust_remote_code": ("heads", "attention", "attribution", "lens", "neighbours", "like", "neurons", "erase"),
}


def register(app: typer.Typer) -> None:
    """Add the `inspect` command."""
    app.command("inspect")(inspect)


def inspect(
    model: str = typer.Argument(help="Folder, hub id, or embedded:NAME."),
    heads: bool = typer.Option(False, "--heads", help="Importance of every head by several criteria; masking curve."),
    attention: str | None = typer.Option(None, help="Attention on this TEXT: interactive page with --html, metrics."),
    target: str | None = typer.Option(
        None, help="With --attention, of a T5: what its decoder writes; cross-attention."
    ),
    attribution: str | None = typer.Option(
        None, help="What a score of this TEXT hangs on: a label, a number, a tag, or with --pair a similarity."
    ),
    pair: str | None = typer.Option(None, help="With --attribution: the second text."),
    label: str | None = typer.Option(None, help="With --attribution: whose score (default: the model's answer)."),
    word: str | None = typer.Option(None, help="With --attribution, of a tagger: which word's tag."),
    lens: str | None = typer.Option(None, help="Logit lens on this TEXT: what each layer would predict."),
    neighbours: str | None = typer.Option(None, help="The texts of --texts nearest to this TEXT, in every layer."),
    layer: int | None = typer.Option(None, help="With --neighbours or --erase: this layer alone.", **PLACE),
    beside: str | None = typer.Option(None, help="The same texts in this model too, beside the first on the page."),
    like: str | None = typer.Option(None, help="Similarity of the layers to those of this model, on --texts."),
    neurons: str | None = typer.Option(None, help="Rank neurons for this probing task (its file in --data-dir)."),
    erase: str | None = typer.Option(
        None,
        help="Erase this probing task's property from layers (--layer: one), and measure what the model then does.",
    ),
    heads_on: Path | None = typer.Option(
        None, help="Importance of the heads of a fine-tuned MODEL by its own loss on these labelled rows."
    ),
    teacher: str | None = typer.Option(
        None,
        help="What compression cost MODEL: layers, heads, properties and words beside this teacher; --html: a page.",
    ),
    texts: Path | None = typer.Option(None, help="Texts to look at (default: a hundred Russian sentences of our own)."),
    limit: int | None = typer.Option(
        None,
        help="At most this many texts (default: 64; 1000 with --like, --teacher), sentences of tasks, treebanks (all).",
        **whole(2),
    ),
    treebank: Path | None = typer.Option(None, help="With --attention: which heads follow the syntax of this CoNLL-U."),
    orders: str | None = typer.Option(None, help=f"With --heads: which criteria (default: {_ORDERS})."),
    measures: str | None = typer.Option(
        None, help="With --like: cka (default), maxcorr, linreg, svcca, pwcca; comma-separated."
    ),
    twin: bool | None = typer.Option(
        None, help="With --attention, --like or --neurons: MODEL with random weights beside it (default)."
    ),
    prefix: str | None = typer.Option(None, help="Text before every text (default: the model's own)."),
    data_dir: Path | None = typer.Option(
        None, help="With --neurons, --erase, --teacher: data folder with rusenteval/ in it."
    ),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(None, help="Write a page to this file.", callback=file_to_write),
    png: Path | None = typer.Option(None, help="Write the plots to this folder.", callback=folder_to_fill),
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Look inside a model: heads, attention, attribution, layers, neurons; any of them together.

    Example: slonik inspect embedded:multilingual-e5-small --attention "Слон идёт домой." --html attention.html
    """
    from slonik.core.errors import SlonikError
    from slonik.core.files import write_bytes, write_text
    from slonik.inspection.attention import attention as attention_of
    from slonik.inspection.heads import head_importance
    from slonik.inspection.inputs import TEXTS, open_transformer, texts_of
    from slonik.inspection.neurons import neurons as neurons_of
    from slonik.inspection.one_text import TextQuestions, look_at_text
    from slonik.inspection.page import inspection_page, inspection_plots, inspection_tables
    from slonik.inspection.similarity import TEXTS as MANY_TEXTS
    from slonik.inspection.similarity import similarity
    from slonik.inspection.task_heads import task_heads
    from slonik.inspection.usage import erasure

    asked = {
        "heads": heads, "attention": attention is not None, "attribution": attribution is not None,
        "lens": lens is not None, "neighbours": neighbours is not None, "like": bool(like), "neurons": bool(neurons),
        "erase": bool(erase), "heads_on": heads_on is not None, "teacher": teacher is not None,
    }  # fmt: skip
    given = {
        "treebank": treebank, "orders": orders, "measures": measures, "twin": twin, "data_dir": data_dir,
        "texts": texts, "limit": limit, "prefix": prefix, "png": png, "device": device,
        "trust_remote_code": trust_remote_code or None,
    }  # fmt: skip
    for option, owners in _BELONGS.items() if any(asked.values()) else ():
        if given[option] is not None and not any(asked[owner] for owner in owners):
            names = ", ".join(_written(owner) for owner in owners)
            belongs = f"belongs to {names}" if len(owners) == 1 else f"belongs to one of {names}"
            raise SlonikError(f"{_written(option)} {belongs}: without it leave {_written(option)} out")
    questions = TextQuestions(
        attention, target, attribution, pair, label, word, lens, neighbours, None if erase else layer, prefix=prefix,
        texts=texts_of(texts, limit or MANY_TEXTS) if neighbours is not None else (),
    )  # fmt: skip
    if not (heads or questions.asked or like or neurons or erase or heads_on or teacher):
        raise SlonikError(
            "say what to look at: --heads, --attention TEXT, --attribution TEXT, --lens TEXT, --neighbours TEXT, "
            "--like MODEL, --neurons TASK, --erase TASK, --heads-on FILE or --teacher MODEL"
        )
    if teacher is not None:
        if heads or questions.asked or like or neurons or erase or heads_on:
            raise SlonikError("--teacher makes tables and a page of its own: ask for the rest in a command of its own")
        _cost(model, teacher, texts, limit, prefix, data_dir, json_file, html, png)
        return
    if beside is not None and not questions.asked:
        raise SlonikError(
            "--beside shows texts in a second model: give --attention, --attribution, --lens or --neighbours"
        )
    others = (heads, like, neurons, erase, heads_on, neighbours is not None)
    if limit is not None and not (texts or treebank or any(others)):
        raise SlonikError(f"--limit is {limit}, and --attention looks at one text: give --texts or --treebank too")
    loading = {"device": device, "trust_remote_code": trust_remote_code}
    own_layers = heads or attention is not None or neighbours is not None or like or neurons
    encoder = open_transformer(model, **loading) if own_layers else None  # type: ignore[arg-type]
    looked = model if encoder is None else encoder
    sample = texts_of(texts, limit or TEXTS)
    records: list[Record] = []
    if heads:
        records += head_importance(
            looked, sample, orders=split_names(_ORDERS if orders is None else orders, "--orders") or (), prefix=prefix
        ).records
    if attention is not None:
        own = [attention, *sample] if texts else [attention]
        records += attention_of(
            looked, own, treebank=treebank, limit=None if treebank is None else limit, prefix=prefix,
            twin=twin is not False,
        ).records  # fmt: skip
    if like:
        other = open_transformer(like, **loading)  # type: ignore[arg-type]
        many = texts_of(texts, limit or MANY_TEXTS)
        chosen = split_names("cka" if measures is None else measures, "--measures") or ()
        records += similarity(looked, other, many, measures=chosen, prefix=prefix, twin=twin is not False).records
    if neurons:
        records += neurons_of(
            looked, neurons.strip(), data_dir=data_dir, prefix=prefix, limit=limit, twin=twin is not False
        ).records
    if erase:
        erased = erasure(
            model if not trust_remote_code and device is None else open_transformer(model, **loading),  # type: ignore[arg-type]
            erase.strip(), texts_of(texts, limit or TEXTS), data_dir=data_dir, prefix=prefix, limit=limit,
            layers=None if layer is None else [layer],
        )  # fmt: skip
        records += erased.records
        for reason in erased.left_out:
            typer.echo(f"not measured: {reason}", err=True)
    if heads_on is not None:
        records += task_heads(model, heads_on, limit=limit).records
    if questions.asked:
        records += look_at_text(model, questions, encoder=encoder, **loading)  # type: ignore[arg-type]
    if beside is not None:
        records += look_at_text(beside, questions, **loading)  # type: ignore[arg-type]
    print_tables(inspection_tables(records))
    save_records(json_file, records)
    if png is not None:
        for name, plot in inspection_plots(records).items():
            write_bytes(png / f"{name}.png", plot.png)
    if html is not None:
        write_text(html, inspection_page(model, records))


def _cost(
    model: str, teacher: str, texts: Path | None, limit: int | None, prefix: str | None, data_dir: Path | None,
    json_file: Path | None, html: Path | None, png: Path | None,
) -> None:  # fmt: skip
    """What compression cost: sentences, tables, a page."""
    from slonik.core.files import write_bytes, write_text
    from slonik.inspection.compression_cost import compression_cost
    from slonik.inspection.inputs import texts_of
    from slonik.inspection.page import inspection_plots
    from slonik.inspection.similarity import TEXTS

    sample = texts_of(texts, limit or TEXTS)
    cost = compression_cost(model, teacher, sample, data_dir=data_dir, prefix=prefix, limit=limit)
    for sentence in [*cost.sentences, *(f"Not measured: {reason}" for reason in cost.left_out)]:
        typer.echo(sentence)
    print_tables(cost.tables)
    save_records(json_file, cost.records)
    if png is not None:
        for name, plot in inspection_plots(cost.records).items():
            write_bytes(png / f"{name}.png", plot.png)
    if html is not None:
        write_text(html, cost.page)


def _written(option: str) -> str:
    return f"--{option.replace('_', '-')}"
