"""`slonik inspect MODEL`: what heads do and how much they matter, whose layers are alike, which neurons carry what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import Device, JsonFile, TrustRemoteCode, print_tables, save_records, split_names

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.models.encoder import TorchEncoder


def register(app: typer.Typer) -> None:
    """Add the `inspect` command."""
    app.command("inspect")(inspect)


def inspect(
    model: str = typer.Argument(help="Folder, hub id, or embedded:NAME."),
    heads: bool = typer.Option(False, "--heads", help="Importance of every head by several criteria; masking curve."),
    attention: str | None = typer.Option(None, help="Attention on this TEXT: interactive page with --html, metrics."),
    like: str | None = typer.Option(None, help="Similarity of the layers to those of this model, on --texts."),
    neurons: str | None = typer.Option(None, help="Rank neurons for this probing task (its file in --data-dir)."),
    texts: Path | None = typer.Option(None, help="Texts to look at (default: a hundred Russian sentences of our own)."),
    limit: int = typer.Option(64, help="Take at most this many of the texts."),
    treebank: Path | None = typer.Option(None, help="With --attention: which heads follow the syntax of this CoNLL-U."),
    orders: str = typer.Option("gate,fisher,taylor,magnitude,left_out,random", help="With --heads: which criteria."),
    measures: str = typer.Option("cka", help="With --like: cka, maxcorr, linreg, svcca, pwcca; comma-separated."),
    prefix: str | None = typer.Option(None, help="Text before every text (default: the model's own)."),
    data_dir: Path | None = typer.Option(None, help="With --neurons: data folder with rusenteval/ in it."),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(None, help="Write a page to this file."),
    png: Path | None = typer.Option(None, help="Write the plots to this folder."),
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Look inside a model: heads, attention, similarity of layers, neurons; any of them together.

    Example: slonik inspect embedded:multilingual-e5-small --attention "Слон идёт домой." --html attention.html
    """
    from slonik.core.errors import SlonikError
    from slonik.evaluation.resources.measure import bench_texts

    if not (heads or attention is not None or like or neurons):
        raise SlonikError("say what to look at: --heads, --attention TEXT, --like MODEL or --neurons TASK")
    if limit < 2:
        raise SlonikError(f"--limit is {limit}: give 2 or more")
    if attention is not None and not attention.strip():
        raise SlonikError("--attention has no text to look at")
    encoder = _load(model, device, trust_remote_code)
    sample = bench_texts(texts, limit=limit)
    records: list[Record] = []
    if heads:
        records += _heads(encoder, model, sample, prefix, _split(orders, "--orders"))
    if attention is not None:
        records += _attention(encoder, model, [attention, *sample] if texts else [attention], prefix, treebank)
    if like:
        other = _load(like, device, trust_remote_code)
        records += _like(encoder, model, other, like, sample, prefix, _split(measures, "--measures"))
    if neurons:
        records += _neurons(encoder, model, neurons, data_dir)
    _write(encoder, model, records, attention, prefix, json_file, html, png)


def _load(model: str, device: str | None, trust_remote_code: bool) -> TorchEncoder:
    from slonik.core.errors import SlonikError
    from slonik.models import load
    from slonik.models.kinds import is_checkpoint

    if not is_checkpoint(model):
        raise SlonikError(f"{model} is no transformer: it has no layers and heads to look into")
    return load(model, device=device, trust_remote_code=trust_remote_code)


def _heads(encoder: TorchEncoder, model: str, texts: list[str], prefix: str | None, orders: list[str]) -> list[Record]:
    from slonik.inspection.heads import Heads
    from slonik.inspection.records import head_records

    found = Heads(encoder, texts, prefix=prefix)
    scores = {order: found.scores(order) for order in orders}
    curves = [point for order, layers in scores.items() for point in found.curve(order, layers)]
    return head_records(model, scores, curves, len(texts))


def _attention(
    encoder: TorchEncoder, model: str, texts: list[str], prefix: str | None, treebank: Path | None
) -> list[Record]:
    from slonik.data.conllu import read_conllu
    from slonik.inspection.attention import attention_figures
    from slonik.inspection.records import attention_records, syntax_records
    from slonik.inspection.syntax import syntax_heads

    records = attention_records(model, attention_figures(encoder, texts, prefix=prefix), len(texts))
    if treebank is not None:
        records += syntax_records(model, syntax_heads(encoder, read_conllu(treebank), prefix=prefix or ""))
    return records


def _like(
    encoder: TorchEncoder, model: str, other: TorchEncoder, like: str, texts: list[str], prefix: str | None,
    measures: list[str],
) -> list[Record]:  # fmt: skip
    from slonik.inspection.records import similarity_records

    first, second = (one.encode_layers(texts, ["mean"], prefix=prefix)["mean"] for one in (encoder, other))
    return similarity_records(model, like, list(first), list(second), measures)


def _neurons(encoder: TorchEncoder, model: str, task: str, data_dir: Path | None) -> list[Record]:
    from slonik.core.paths import data_dir as data_folder
    from slonik.inspection.neurons import rank_neurons
    from slonik.inspection.probing import read_tasks
    from slonik.inspection.records import neuron_records

    data = read_tasks(data_folder(data_dir), [task.strip().lower()])[0][0]
    train, test = (list(encoder.encode_layers(s.texts, ["mean"])["mean"]) for s in (data.train, data.test))
    found = rank_neurons(train, data.train.labels, test, data.test.labels)
    return neuron_records(model, data.task.id, found, len(data.test))


def _write(
    encoder: TorchEncoder, model: str, records: list[Record], text: str | None, prefix: str | None,
    json_file: Path | None, html: Path | None, png: Path | None,
) -> None:  # fmt: skip
    from slonik.core.files import write_bytes, write_text
    from slonik.inspection.report.inspection import inspection_page, inspection_plots, inspection_tables

    print_tables(inspection_tables(records))
    save_records(json_file, records)
    if png is not None:
        for name, plot in inspection_plots(records).items():
            write_bytes(png / f"{name}.png", plot.png)
    if html is not None:
        page = inspection_page(model, records) if text is None else _view(encoder, model, records, text, prefix)
        write_text(html, page)


def _view(encoder: TorchEncoder, model: str, records: list[Record], text: str, prefix: str | None) -> str:
    """The interactive page of one text, the tables under it."""
    from slonik.inspection.hooks import batches, look_inside
    from slonik.inspection.report.head_view import head_view
    from slonik.inspection.report.inspection import inspection_plots, inspection_tables
    from slonik.reporting.page import figure, section, table

    ids, mask = next(batches(encoder, [text], 1, prefix))
    inside = look_inside(encoder.model, ids, mask)
    tokens = [_shown(encoder, int(number)) for number in ids[0]]
    plots = [section(name.replace("-", ": "), figure(plot)) for name, plot in inspection_plots(records).items()]
    tables = [section(found.title, table(found)) for found in inspection_tables(records)]
    weights: list[Any] = [layer[0].float().cpu().numpy() for layer in inside.attentions]
    return head_view(model, text, tokens, weights, extra="\n".join([*plots, *tables]))


def _shown(encoder: TorchEncoder, number: int) -> str:
    """A token as people read it: byte-level ones decoded where they are whole letters."""
    token = encoder.tokenizer.id_to_token(number) or f"<{number}>"
    decoded = encoder.tokenizer.decode([number], skip_special_tokens=False).strip()
    return token if not decoded or "\ufffd" in decoded or token.startswith(("##", "▁")) else decoded


def _split(names: str, option: str) -> list[str]:
    from slonik.core.errors import SlonikError

    found = split_names(names)
    if found is None:
        raise SlonikError(f"{option} names none: give one at least")
    return found
