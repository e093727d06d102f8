"""Metrics of predicted spans as records: exact-span F1 per label, micro and macro, with intervals and differences.

Intervals are by bootstrap over documents (spans of one text are not independent), and over seeds where a system was
trained with several: values are then means over the seeds. Where predictions come from cross-validation, the folds' own
metrics and their t interval stand in the detail. Macro is the mean over the labels that the gold annotations have. A
tagger never learns that it is measured: `score` reads its predictions, `compare` subtracts two systems.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.data.annotations.document import Document, Span
from slonik.evaluation.statistics import interval, paired_difference, replicates, value_of
from slonik.tagging.breakdowns import by_names, heavy_documents, per_label_of, without_heavy
from slonik.tagging.matching import (
    Comparison,
    PooledF1,
    Tallies,
    compare_spans,
    confusion,
    error_counts,
    error_rows,
    known_spans,
    tally,
)
from slonik.tagging.span_statistics import (
    DIFFERENCES,
    OF_LAYERS,
    by_fold,
    difference_by_fold,
    layers,
    over_seeds,
    reliability_of,
    rounded,
)
from slonik.tagging.tasks import PROTOCOL, SUITE

_RARE = 30  # gold spans


@dataclass(frozen=True)
class TaggerScores:
    """What was measured of one system on some documents.

    Attributes:
        model: its name. task, variant: as in its records. seed: of the bootstrap.
        documents: those that were scored, with gold spans.
        comparisons: one per document.
        runs: counts per document and label, of each training: one, or one per seed. `comparisons` are of the first.
        folds: of each document, for cross-validation.
        records: everything measured.
        notes: sentences that must be read beside the metrics.
    """

    model: str
    task: str
    variant: str
    seed: int
    documents: tuple[Document, ...]
    comparisons: tuple[Comparison, ...]
    runs: tuple[Tallies, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    folds: tuple[int, ...] | None = None

    def errors(self) -> list[dict[str, Any]]:
        """Every mistake with its context, for the error browser."""
        return error_rows(self.documents, self.comparisons)

    def by_document(self) -> list[dict[str, Any]]:
        """Of each document with a mistake: gold, predicted and right spans and F1; those with most mistakes first."""
        rows = []
        for document, (right, wrong, missed) in zip(self.documents, self.runs[0].exact.sum(1).tolist(), strict=True):
            if wrong + missed:
                f1 = 2 * right / (2 * right + wrong + missed)
                rows.append({"document": document.id, "gold": right + missed, "predicted": right + wrong,
                             "right": right, "f1": round(f1, 4)})  # fmt: skip
        return sorted(rows, key=lambda row: (2 * row["right"] - row["gold"] - row["predicted"], row["document"]))

    def record(self, metric: str) -> Record:
        return next(record for record in self.records if record.metric == metric)


def score(
    model: str,
    documents: Sequence[Document],
    predicted: Sequence[Sequence[Span]],
    *,
    task: str,
    variant: str = "",
    folds: Sequence[int] | None = None,
    seed: int = 0,
    seconds: float | None = None,
    facts: Mapping[str, Any] | None = None,
    known_labels: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    nested: bool = False,
    further: Sequence[Sequence[Sequence[Span]]] = (),
    seen_names: Sequence[Collection[str]] | None = None,
) -> TaggerScores:
    """Score predictions.

    Args:
        predicted: spans of each document.
        further: those of the same system trained with other seeds: every value is the mean over the seeds.
        seen_names: for each document the names (`name_key`) that its tagger was trained on.
        folds: the fold of each document whose model tagged it, for cross-validation.
        seconds: how long tagging took.
        facts: of the model: `parameters`, `bytes`, `kind`, `weights_hash`.
        known_labels: labels that the model can give; gold labels outside them are named in a note.
        notes: sentences for the records, before those that are found here.
        nested: the gold spans lie within one another: `f1_inner` and `f1_outer` too, of the spans that lie within
            another one of their own side, and of those that do not.

    Raises:
        SlonikError: no document, or no gold span in any of them.
        ValueError: the sequences differ in length.
    """
    _check(documents)
    outputs = [
        [known_spans(document, spans) for document, spans in zip(documents, one, strict=True)]
        for one in (predicted, *further)
    ]
    predicted = outputs[0]
    compared = [
        [compare_spans(document.spans, spans) for document, spans in zip(documents, one, strict=True)]
        for one in outputs
    ]
    comparisons = compared[0]
    gold = sorted({span.label for document in documents for span in document.spans})
    given = sorted({span.label for one in outputs for spans in one for span in spans} - set(gold))
    runs = [tally(one, [*gold, *given]) for one in compared]
    tallies = runs[0]
    facts = dict(facts or {})
    notes = [*notes, *_notes(gold, given, tallies, known_labels)]
    sample = f"ner {task}"
    heavy = heavy_documents(documents)
    detail: dict[str, Any] = {
        "per_label": per_label_of(runs, len(gold), seed, task),
        "errors": error_counts(comparisons),
        "confusion": confusion(comparisons),
        "notes": notes,
        **({"heavy": without_heavy(runs, documents, heavy, len(gold), seed, sample)} if heavy else {}),
        **({"names": by_names(documents, predicted, seen_names, seed, sample)} if seen_names is not None else {}),
        **(
            {"seeds": len(runs), "f1_of_seeds": [rounded(value_of(PooledF1(run.exact.sum(1)))) for run in runs]}
            if further
            else {}
        ),
        **{name: facts[name] for name in ("kind", "parameters", "bytes") if name in facts},
    }
    if seconds is not None:
        detail["ms_per_text"] = round(1000 * seconds / len(documents), 3)
    hashes = {"data": data_hash(documents), "protocol": sha256_json(PROTOCOL)}
    if "weights_hash" in facts:
        hashes["weights"] = str(facts["weights_hash"])
    records = []
    statistics = over_seeds(runs, len(gold), model) | (layers(documents, predicted) if nested else {})
    reliability = reliability_of(documents, predicted)
    if reliability is not None:
        statistics["calibration_error"] = reliability
    for metric, statistic in statistics.items():
        found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"ner {task}"))
        extra = dict(detail) if metric == "f1_micro" else {}
        if reliability is not None and metric == "calibration_error":
            extra["bins"] = reliability.bins()
        elif folds is not None and metric not in OF_LAYERS:
            extra["folds"] = by_fold(runs, folds, metric, len(gold))
        place = {"suite": SUITE, "task": task, "variant": variant, "model": model, "metric": metric}
        about = {"n": len(documents), "seed": seed, "seconds": seconds, "detail": extra, "hashes": hashes}
        records.append(Record(**place, **found.fields, **about))
    return TaggerScores(
        model, task, variant, seed, tuple(documents), tuple(comparisons), tuple(runs), tuple(records), tuple(notes),
        tuple(folds) if folds is not None else None,
    )  # fmt: skip


def compare(scores: Sequence[TaggerScores], *, every_pair: bool = False) -> list[Record]:
    """Every later system minus the first (or minus every earlier one), micro and macro, on shared documents, paired.

    The bootstrap draws the same documents for both, so replicates subtract; seeds are drawn for each by itself. Where
    both were cross-validated, the detail has the differences by fold, their mean and its t interval.

    Returns:
        Records of the model "B - A" and the metric "difference" (of micro F1) or "f1_macro_difference", with the 95 %
        interval, and in `detail` the two models and the two-sided bootstrap p-value; none for systems without a
        document in common.
    """
    records = []
    for place, other in enumerate(scores):
        for first in scores[: place if every_pair else min(place, 1)]:
            records += _differences(first, other)
    return records


def _differences(first: TaggerScores, other: TaggerScores) -> list[Record]:
    if first.task != other.task:
        return []
    here = {(document.id, document.text): index for index, document in enumerate(first.documents)}
    shared = [
        (here[key], index)
        for index, document in enumerate(other.documents)
        if (key := (document.id, document.text)) in here
    ]
    if not shared:
        return []
    documents = [other.documents[index] for _, index in shared]
    gold = sorted({span.label for document in documents for span in document.spans})
    if not gold:
        return []
    before = [_ordered(run.of([index for index, _ in shared]), gold) for run in first.runs]
    after = [_ordered(run.of([index for _, index in shared]), gold) for run in other.runs]
    folds = [other.folds[index] for _, index in shared] if other.folds is not None else None
    sample = f"ner {other.task}"
    records = []
    for metric, name in DIFFERENCES.items():
        one = over_seeds(before, len(gold), first.model)[metric]
        two = over_seeds(after, len(gold), other.model)[metric]
        detail: dict[str, Any] = {"seeds": [len(before), len(after)]} if len(before) + len(after) > 2 else {}
        if folds is not None and first.folds is not None:
            detail["folds"] = difference_by_fold(before, after, folds, metric, len(gold))
        found = paired_difference(
            value_of(one), replicates(one, seed=other.seed, sample=sample),
            value_of(two), replicates(two, seed=other.seed, sample=sample),
        )  # fmt: skip
        records.append(
            found.record(
                other.model, first.model, metric, metric=name, suite=SUITE, task=other.task, n=len(shared),
                variant=other.variant if other.variant == first.variant else "shared documents", seed=other.seed,
                hashes={"data": data_hash(documents)}, detail=detail,
            )
        )  # fmt: skip
    return records


def _ordered(tallies: Tallies, gold: Sequence[str]) -> Tallies:
    """The same counts with the gold labels of the shared documents first, since macro is the mean over them."""
    rest = [label for label in tallies.labels if label not in gold]
    places = [tallies.labels.index(label) for label in (*gold, *rest)]
    return Tallies((*gold, *rest), tallies.exact[:, places], tallies.overlap[:, places])


def data_hash(documents: Sequence[Document]) -> str:
    """Hash of texts and gold spans, whatever the order of the documents."""
    return sha256_json(
        sorted(
            [document.text, [[span.start, span.end, span.label] for span in document.spans]] for document in documents
        )
    )


def _check(documents: Sequence[Document]) -> None:
    if not documents:
        raise SlonikError("there is no document to score")
    if not any(document.spans for document in documents):
        raise SlonikError(f"none of the {len(documents)} documents has an annotation: F1 needs gold spans")


def _notes(gold: Sequence[str], given: Sequence[str], tallies: Tallies, known: Sequence[str] | None) -> list[str]:
    """What must be read beside the metrics."""
    notes = []
    unknown = sorted(set(gold) - set(known)) if known is not None else []
    if unknown:
        places = [tallies.labels.index(label) for label in unknown]
        count = int(tallies.exact[:, places][:, :, [0, 2]].sum())
        notes.append(
            f"the model knows no {', '.join(unknown)}: their {count} gold spans count as missed; "
            "merge or drop these labels with --mapping if they are not meant"
        )
    if given:
        count = int(tallies.exact[:, len(gold) :, 1].sum())
        notes.append(f"{count} predicted spans have labels that the data lack ({', '.join(given)}): counted as wrong")
    rare = [
        f"{label} ({total})"
        for label, total in zip(gold, tallies.exact[:, : len(gold)][:, :, [0, 2]].sum(axis=(0, 2)), strict=True)
        if total < _RARE
    ]
    if rare:
        notes.append(f"labels with fewer than {_RARE} gold spans, whose F1 says little: {', '.join(rare)}")
    return notes
