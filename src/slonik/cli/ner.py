"""`slonik evaluate ner TAGGER...`: exact-span F1 with intervals, paired differences, and a browser of every mistake."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    StampPassport,
    TrustRemoteCode,
    add_to_passport,
    announce,
    print_tables,
    save_records,
)

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.data.annotations.document import Document, LabelMapping
    from slonik.tagging.evaluation import Evaluation, NerTask


def ner(
    models: list[str] = typer.Argument(metavar="MODEL...", help="Folders of trained taggers, or hub ids."),
    data_dir: Path | None = typer.Option(
        None, help="Data folder with seccoll/ in it (default: $SLONIK_DATA, or the user's cache folder)."
    ),
    data: Path | None = typer.Option(None, help="Your own annotations: BRAT, CoNLL, JSONL, Parquet (instead)."),
    kind: str | None = typer.Option(None, "--from", help="Format of --data: brat, conll, jsonl, hf (default: guess)."),
    mapping: Path | None = typer.Option(None, help="Recipe whose `mapping` merges and drops labels of --data."),
    json_file: JsonFile = None,
    html: Path | None = typer.Option(None, help="Write a page with tables and every mistake in context."),
    seen: bool = typer.Option(False, help="Score texts too that the tagger was trained on (left out otherwise)."),
    device: Device = None,
    seed: int = typer.Option(0, help="Seed of the bootstrap."),
    passport: StampPassport = True,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Score trained taggers on annotated texts, whole documents, exact spans.

    Example: slonik evaluate ner my-crf my-bilstm --data annotations/ --json ner.json --html errors.html
    """
    from slonik.core.progress import progress_bar
    from slonik.tagging.evaluation import compare, evaluate
    from slonik.tagging.evaluation.tasks import published_records
    from slonik.tagging.models import load_tagger
    from slonik.tagging.report.ner import ner_tables

    material = _read(data_dir, data, kind, mapping)
    evaluations: list[Evaluation] = []
    for model in dict.fromkeys(models):
        tagger = load_tagger(model, device=device, trust_remote_code=trust_remote_code)
        tagger.name = model  # records carry the name that the user gave
        documents, said = _unseen(material.documents, model, seen)
        with progress_bar(f"tagging with {model}", total=len(documents)) as bar:
            found = evaluate(tagger, documents, task=material.task, seed=seed, notes=said, on_texts=bar.advance)
        evaluations.append(found)
        for note in evaluations[-1].notes:
            typer.echo(f"note: {model}: {note}", err=True)
        if passport:
            add_to_passport(model, evaluations[-1].records)
    records = [record for one in evaluations for record in one.records] + compare(evaluations)
    published = published_records(material.known) if material.known else []
    caution = material.known.caution if material.known else ""
    print_tables(ner_tables([*records, *published], caution=caution))
    save_records(json_file, records)
    if html is not None:
        _write_page(html, [*records, *published], evaluations, caution)


@dataclass(frozen=True)
class _Material:
    """What is scored: documents with flat spans, the task's id, and the published task where it is one."""

    documents: list[Document]
    task: str
    known: NerTask | None


def _read(data_dir: Path | None, data: Path | None, kind: str | None, mapping: Path | None) -> _Material:
    from slonik.cli.data import tell_counts
    from slonik.core.errors import SlonikError
    from slonik.core.paths import data_dir as data_folder
    from slonik.data.annotations.document import Counts, read_mapping
    from slonik.tagging.evaluation import SECCOLL

    known = None
    if data is None:
        folder = data_folder(data_dir) / SECCOLL.id
        if not folder.is_dir():
            raise SlonikError(
                f"there is no {folder}: `slonik fetch seccoll` gets the security collection, or name your own "
                "annotations with --data"
            )
        known, data = SECCOLL, folder
    labels = read_mapping(mapping) if mapping is not None or known is None else known.mapping
    counts = Counts()
    documents = _flat(data, kind, labels, counts)
    spans = sum(len(document.spans) for document in documents)
    announce(f"{data}: {len(documents):,} documents, {spans:,} spans")
    tell_counts(counts)
    name = data.resolve().name if data.is_dir() else data.name.partition(".")[0]
    return _Material(documents, known.id if known else name.lower(), known)


def _flat(data: Path, kind: str | None, labels: LabelMapping, counts: object) -> list[Document]:
    from collections import Counter
    from dataclasses import replace

    from slonik.data.annotations.formats import read_documents
    from slonik.data.annotations.tags import flat_spans

    assert isinstance(counts, Counter)
    return [
        replace(document, spans=flat_spans(document, labels.overlaps, counts), annotations=())
        for document in labels.apply(read_documents(data, counts, kind=kind), counts)
    ]


def _unseen(documents: list[Document], model: str, seen: bool) -> tuple[list[Document], tuple[str, ...]]:
    """The documents that the tagger was not trained on, as far as its folder says; and what must be noted."""
    from slonik.tagging.training_texts import read_training_texts, text_key

    known = read_training_texts(model)
    fresh = [document for document in documents if text_key(document.text) not in known]
    met = len(documents) - len(fresh)
    if not met:
        return documents, ()
    if seen or not any(document.spans for document in fresh):
        return documents, (
            f"trained on {met} of these {len(documents)} texts, so the score flatters: cross-validate with "
            "`slonik study ner`, or give other texts",
        )
    return fresh, (f"{met} texts that it was trained on are left out; --seen scores them too",)


def _write_page(path: Path, records: list[Record], evaluations: list[Evaluation], caution: str) -> None:
    from slonik.core.files import write_text
    from slonik.tagging.report.ner_errors import error_page

    errors = {one.model: one.errors() for one in evaluations}
    task = evaluations[0].task
    write_text(path, error_page(records, errors, title=f"Named entities: {task}", caution=caution))
    announce(f"page -> {path}")
