"""`slonik evaluate ner TAGGER...`: exact-span F1 with intervals, paired differences, and a browser of every mistake."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    StampPassport,
    TrustRemoteCode,
    announce,
    file_to_write,
    save_records,
    show_evaluation,
)
from slonik.cli.numbers import SEED


def ner(
    models: list[str] = typer.Argument(metavar="MODEL...", help="Folders of trained taggers, or hub ids."),
    data_dir: Path | None = typer.Option(
        None, help="Data folder with seccoll/ or nerel/ in it (default: $SLONIK_DATA, or the user's cache folder)."
    ),
    tasks: str | None = typer.Option(None, "--task", "--tasks", help="seccoll (default) or nerel, in the data folder."),
    split: str | None = typer.Option(None, help="nerel: test (default), dev or train."),
    nested: bool | None = typer.Option(
        None, "--nested/--no-nested", help="Score entities within others too (default: where there are such)."
    ),
    data: Path | None = typer.Option(None, help="Your own annotations: BRAT, CoNLL, JSONL, Parquet (instead)."),
    kind: str | None = typer.Option(None, "--from", help="Format of --data: brat, conll, jsonl, hf (default: guess)."),
    mapping: Path | None = typer.Option(None, help="Recipe whose `mapping` merges and drops labels of --data."),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(
        None, help="Write a page with tables and every mistake in context.", callback=file_to_write
    ),
    seen: bool = typer.Option(False, help="Score texts too that the tagger was trained on (left out otherwise)."),
    device: Device = None,
    seed: int = typer.Option(0, help="Seed of the bootstrap.", **SEED),
    passport: StampPassport = True,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Score trained taggers on annotated texts, whole documents, exact spans.

    Examples:

        slonik evaluate ner my-crf my-bilstm --data annotations/ --json ner.json --html errors.html

        slonik evaluate ner my-nested --task nerel --split dev --data-dir data
    """
    from slonik.tagging.evaluate import ner as evaluate_ner

    found = evaluate_ner(
        models, data, data_dir=data_dir, tasks=tasks, split=split, nested=nested, data_format=kind,
        mapping=mapping, seen=seen, html=html, device=device,
        seed=seed, passport=passport, trust_remote_code=trust_remote_code, announce=announce,
    )  # fmt: skip
    show_evaluation(found)
    save_records(json_file, found.records)
    if html is not None:
        announce(f"page -> {html}")
