"""`slonik evaluate probing MODEL...`: what every layer knows, in the form of RuSentEval, with baselines beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    TrustRemoteCode,
    add_to_passport,
    announce_task,
    given,
    print_tables,
    save_records,
    split_names,
)

if TYPE_CHECKING:
    from slonik.core.records import Record


def probing(
    models: list[str] = typer.Argument(help="Folders, hub ids, embedded:NAME; baselines are always in the table."),
    data_dir: Path | None = typer.Option(None, help="Data folder with rusenteval/ in it (default: $SLONIK_DATA)."),
    tasks: str | None = typer.Option(None, help="Comma-separated names (default: all whose files are there)."),
    probes: str = typer.Option("logistic", help="Comma-separated: logistic, mlp (the original's second), mdl."),
    poolings: str = typer.Option("mean", help="Comma-separated: mean (the original's), cls, last."),
    prefix: str = typer.Option("", help="Text before every sentence."),
    limit: int | None = typer.Option(None, help="At most this many sentences per task."),
    seeds: int = typer.Option(3, help="Seeds of control labels, networks and description lengths."),
    control: bool = typer.Option(True, help="Probe control tasks too, for selectivity."),
    baselines: bool = typer.Option(True, help="Majority, length, TF-IDF, BPE and word vectors beside the models."),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(None, help="Write a page with tables and heat maps to this file."),
    dtype: str | None = typer.Option(None, help="float32 (default), bfloat16, float16 or autocast."),
    device: Device = None,
    cache: bool = typer.Option(True, help="Keep vectors of all layers on disk, and reuse them."),
    passport: bool = typer.Option(True, help="Add the best-layer records to the passport of a MODEL that is a folder."),
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Probe every layer on RuSentEval's tasks: accuracy, best layer and how sure it is, selectivity, baselines.

    Example: slonik evaluate probing embedded:multilingual-e5-small --tasks gapping --html gapping.html
    """
    import slonik
    from slonik.core.paths import data_dir as data_folder
    from slonik.inspection.probing import Options, baseline_records, compare, probe, published_records, read_tasks
    from slonik.inspection.probing.baselines import NAMES

    found, missing = read_tasks(data_folder(data_dir), split_names(tasks), limit=limit)
    for note in [note for data in found for note in data.notes]:
        typer.echo(f"note: {note}", err=True)
    options = Options(
        probes=tuple(split_names(probes) or ()), poolings=tuple(split_names(poolings) or ()), seeds=tuple(range(seeds)),
        prefix=prefix, limit=limit, control=control, use_cache=cache,
    )  # fmt: skip
    loading: dict[str, Any] = given({"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code or None})
    done = []
    for model in (name for name in dict.fromkeys(models) if name not in NAMES):  # those are in the table anyway
        encoder = slonik.load(model, **loading)
        encoder.name = model
        done.append(probe(encoder, found, options, partial(announce_task, model)))
        typer.echo(
            f"{model}: vectors {done[-1].encoding_seconds:.1f} s ({done[-1].encoded} texts encoded, "
            f"{done[-1].reused} from the cache), probes {done[-1].probing_seconds:.1f} s"
        )
        if passport:
            add_to_passport(model, [record for record in done[-1].records if record.layer is None])
    records = [record for probing in done for record in probing.records] + compare(done)
    if baselines:
        records += baseline_records(found, partial(announce_task, "baselines"))
    records += published_records(found)
    _write(records, missing, json_file, html)


def _write(records: list[Record], missing: list[str], json_file: Path | None, html: Path | None) -> None:
    from slonik.core.files import write_text
    from slonik.inspection.report.probing import probing_page, probing_tables

    print_tables(probing_tables(records))
    if missing:
        typer.echo(f"not probed, as their files are not there: {', '.join(missing)} (`slonik fetch rusenteval`)")
    save_records(json_file, records)
    if html is not None:
        write_text(html, probing_page(records))
