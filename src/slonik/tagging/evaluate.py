"""Measure trained taggers on annotated documents: what `slonik evaluate ner` does.

Texts that a tagger was trained on are left out, as far as its folder says which they are and spans remain. Tables show
published rows beside; a page shows every mistake.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_text
from slonik.core.numbers import check_seed
from slonik.core.progress import progress_bar, shown
from slonik.core.records import Record
from slonik.core.run import Announce, say, silent
from slonik.data.annotations.document import Document, LabelMapping, Span, Tagger, lying_within
from slonik.data.annotations.tags import OUTSIDE
from slonik.evaluation.suite import Evaluation, add_to_passport, several, task_names
from slonik.runtime.tagging.names import NAMES_FILE, Gazetteer
from slonik.tagging.data import Annotated, as_mapping, name_of, read_collection, read_training_texts, task_of, text_key
from slonik.tagging.metrics import TaggerScores, compare, score
from slonik.tagging.models import load_tagger
from slonik.tagging.report import error_page, ner_tables
from slonik.tagging.tasks import SECCOLL, TASKS, NerTask, published_records, task_folder

_TEXTS_AT_A_TIME = 16


def ner(
    models: str | Path | Tagger | Iterable[str | Path | Tagger],
    data: Annotated | None = None,
    *,
    data_dir: str | Path | None = None,
    tasks: str | Sequence[str] | None = None,
    split: str | None = None,
    nested: bool | None = None,
    data_format: str | None = None,
    mapping: str | Path | Mapping[str, Any] | LabelMapping | None = None,
    task: str | None = None,
    seen: bool = False,
    html: str | Path | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
    passport: bool = False,
    progress: bool = False,
    announce: Announce | None = None,
) -> Evaluation:
    """Score trained taggers on annotated texts: whole documents, exact spans, intervals and paired differences.

    Args:
        models: folders of taggers or hub ids, or loaded taggers.
        data: your own annotations; None = a public collection.
        data_dir: the folder that holds it; None = $SLONIK_DATA, or the user's cache folder.
        tasks: which collection ("seccoll", "nerel"); None = seccoll.
        split: of a collection with an official split, the part to score: "test", "dev", "train".
        nested: score all gold spans, also those within one another; None = where the collection or a tagger has such.
        data_format: brat, conll, jsonl, hf; None = guess.
        mapping: labels to merge and drop, or the recipe that says so in `mapping`; of the collection, its own.
        task: of the records about your own; None = the name of the folder or file.
        seen: score texts too that a tagger was trained on, with a note; they are left out otherwise, unless no span is
            left in the others.
        html: write a page with tables and every mistake in context.
        device: of encoders that are loaded here. trust_remote_code: run Python code that comes with one.
        seed: of the bootstrap.
        passport: add the records to the passports of models that are folders.
        progress: show bars and what was read on standard error.
        announce: called with a line about what was read, instead.

    Raises:
        SlonikError: no such model, one that is no tagger, bad annotations, none at all.
        MissingExtra: the packages of a kind of tagger are not installed.
    """
    check_seed(seed)
    announce = announce or (say if progress else silent)
    if data is not None and data_dir is not None:
        raise SlonikError("--data and --data-dir name two collections: give one of them")
    known = _collection(tasks) if data is None else None
    if known is not None:
        data, task = task_folder(known, data_dir, split), task or known.id
        mapping = known.mapping if mapping is None else mapping
    elif split is not None:
        raise SlonikError(f"--split is {split!r}, and --data names the texts themselves: give the folder of that part")
    taggers = list(_opened(models, device, trust_remote_code))
    if nested is None:
        nested = (known is not None and known.nested) or any(getattr(one, "nested", False) for one, _ in taggers)
    collection = read_collection(data, data_format, as_mapping(mapping), nested=nested)
    nested = nested and any(any(lying_within(document.spans)) for document in collection.documents)
    announce(f"{name_of(data)}:")
    collection.tell(announce)
    task = task or task_of(data)
    part = Path(data).name if isinstance(data, str | Path) else ""
    scores, warnings = [], []
    with shown(progress):
        for tagger, folder in taggers:
            documents, notes = unseen(collection.documents, folder, seen=seen)
            if nested and not getattr(tagger, "nested", False):
                notes = (*notes, _flat_note(documents))
            variant = part if known is not None and known.splits else ""
            scores.append(
                evaluate_tagger(tagger, documents, task=task, variant=variant, seed=seed, notes=notes, nested=nested)
            )
            if passport and folder is not None:
                warnings += add_to_passport(folder, scores[-1].records)
    return reported(scores, compare(scores), task, html, published=known is not None, warnings=warnings)


def _opened(
    models: str | Path | Tagger | Iterable[str | Path | Tagger], device: str | None, trust_remote_code: bool
) -> Iterator[tuple[Tagger, str | Path | None]]:
    """The taggers, opened, and their folders."""
    for model in several(models):
        if isinstance(model, str | Path):
            tagger = load_tagger(model, device=device, trust_remote_code=trust_remote_code)
            tagger.name = str(model)  # records carry the name that the user gave
            yield tagger, model
        else:
            yield model, getattr(model, "folder", None)


def _flat_note(documents: Sequence[Document]) -> str:
    inner = sum(sum(lying_within(document.spans)) for document in documents)
    return f"it gives no entities within others: the {inner:,} gold spans that lie within one mostly count as missed"


def _collection(tasks: str | Sequence[str] | None) -> NerTask:
    names = task_names(tasks) or [SECCOLL.id]
    if len(names) != 1:
        raise SlonikError(f"{', '.join(names)}: give one collection of named entities ({', '.join(TASKS)})")
    return lookup(names[0], TASKS, "collection of named entities")


def unseen(
    documents: Sequence[Document], folder: str | Path | None, *, seen: bool = False
) -> tuple[Sequence[Document], tuple[str, ...]]:
    """The documents that a tagger was not trained on, as far as its folder says; and what must be noted.

    Args:
        seen: keep the others too.
    """
    known = read_training_texts(folder) if folder is not None else frozenset()
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


def evaluate_tagger(
    tagger: Tagger,
    documents: Sequence[Document],
    *,
    task: str,
    variant: str = "",
    seed: int = 0,
    notes: Sequence[str] = (),
    nested: bool = False,
) -> TaggerScores:
    """Tag the documents' texts and score the result; how long it took is in the records' `seconds`.

    Args:
        documents: with gold spans, flat ones unless `nested`.
        variant: of the records. notes: sentences for them, before those that are found here.
        nested: the gold spans lie within one another.

    Raises:
        SlonikError: no document, or no gold span in any of them.
    """
    predicted: list[list[Span]] = []
    started = time.perf_counter()
    with progress_bar(f"tagging with {tagger.name}", total=len(documents)) as bar:
        for first in range(0, len(documents), _TEXTS_AT_A_TIME):
            texts = [document.text for document in documents[first : first + _TEXTS_AT_A_TIME]]
            predicted += tagger.tag(texts)
            bar.advance(len(texts))
    seconds = time.perf_counter() - started
    known = trained_names(getattr(tagger, "folder", None))
    return score(
        tagger.name, documents, predicted, task=task, seed=seed, seconds=seconds, facts=tagger.describe(),
        known_labels=tagger.labels, notes=notes, variant=variant, nested=nested,
        seen_names=[known] * len(documents) if known is not None else None,
    )  # fmt: skip


def trained_names(folder: str | Path | None) -> frozenset[str] | None:
    """The names that a tagger's training texts mark, as `name_key` has them; None where its folder does not say."""
    if folder is None or not (Path(folder) / NAMES_FILE).is_file():
        return None
    counts = Gazetteer.open(Path(folder)).counts
    return frozenset(" ".join(key) for key, labels in counts.items() if set(labels) - {OUTSIDE})


def reported(
    scores: Sequence[TaggerScores],
    differences: Sequence[Record],
    task: str,
    html: str | Path | None = None,
    *,
    published: bool = True,
    warnings: Sequence[str] = (),
) -> Evaluation:
    """Records, tables and notes of systems that were scored; the page is written where `html` says.

    Args:
        published: whether the task is the public collection of that name, whose published rows then stand beside.
    """
    known = TASKS.get(task) if published else None
    records = [*(record for one in scores for record in one.records), *differences]
    shown_records = [*records, *(published_records(known) if known else [])]
    words = known.caution if known else ""
    if html is not None:
        errors = {one.model: one.errors() for one in scores}
        documents = {one.model: one.by_document() for one in scores}
        write_text(
            html,
            error_page(shown_records, errors, title=f"Named entities: {task}", caution=words, documents=documents),
        )
    return Evaluation(
        records=tuple(records), tables=tuple(ner_tables(shown_records, caution=words)), warnings=tuple(warnings),
        notes=tuple(f"{one.model}: {note}" for one in scores for note in one.notes),
        report=Path(html) if html is not None else None, seconds=sum(one.records[0].seconds or 0.0 for one in scores),
    )  # fmt: skip
