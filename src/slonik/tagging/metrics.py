"""Metrics of predicted spans as records: exact-span F1 per label, micro and macro, with intervals and differences.

Intervals are by bootstrap over documents (spans of one text are not independent); where predictions come from
cross-validation, the folds' own metrics and their t interval stand in the detail. Macro is the mean over the labels
that the gold annotations have. Gold spans are flat when they come here. A tagger never learns that it is measured:
`score` reads its predictions, `compare` subtracts two systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.data.annotations.document import Document, Span
from slonik.evaluation.statistics import Array, MacroF1, Statistic, interval, paired_difference, replicates, value_of
from slonik.tagging.matching import (
    Comparison,
    PooledF1,
    Tallies,
    compare_spans,
    confusion,
    error_counts,
    error_rows,
    tally,
)
from slonik.tagging.tasks import PROTOCOL, SUITE

_DIFFERENCES = {"f1_micro": "difference", "f1_macro": "f1_macro_difference"}
_RARE = 30  # gold spans


@dataclass(frozen=True)
class TaggerScores:
    """What was measured of one system on some documents.

    Attributes:
        model: its name. task, variant: as in its records. seed: of the bootstrap.
        documents: those that were scored, with gold spans.
        comparisons: one per document.
        tallies: counts per document and label.
        records: everything measured.
        notes: sentences that must be read beside the metrics.
    """

    model: str
    task: str
    variant: str
    seed: int
    documents: tuple[Document, ...]
    comparisons: tuple[Comparison, ...]
    tallies: Tallies
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    def errors(self) -> list[dict[str, Any]]:
        """Every mistake with its context, for the error browser."""
        return error_rows(self.documents, self.comparisons)

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
) -> TaggerScores:
    """Score predictions.

    Args:
        predicted: spans of each document.
        folds: the fold of each document whose model tagged it, for cross-validation.
        seconds: how long tagging took.
        facts: of the model: `parameters`, `bytes`, `kind`, `weights_hash`.
        known_labels: labels that the model can give; gold labels outside them are named in a note.
        notes: sentences for the records, before those that are found here.

    Raises:
        SlonikError: no document, or no gold span in any of them.
        ValueError: the sequences differ in length.
    """
    _check(documents)
    comparisons = [compare_spans(document.spans, spans) for document, spans in zip(documents, predicted, strict=True)]
    gold = sorted({span.label for document in documents for span in document.spans})
    given = sorted({span.label for spans in predicted for span in spans} - set(gold))
    tallies = tally(comparisons, [*gold, *given])
    facts = dict(facts or {})
    notes = [*notes, *_notes(gold, given, tallies, known_labels)]
    detail: dict[str, Any] = {
        "per_label": _per_label(tallies, len(gold), seed, task),
        "errors": error_counts(comparisons),
        "confusion": confusion(comparisons),
        "notes": notes,
        **{name: facts[name] for name in ("kind", "parameters", "bytes") if name in facts},
    }
    if seconds is not None:
        detail["ms_per_text"] = round(1000 * seconds / len(documents), 3)
    hashes = {"data": data_hash(documents), "protocol": sha256_json(PROTOCOL)}
    if "weights_hash" in facts:
        hashes["weights"] = str(facts["weights_hash"])
    records = []
    for metric, statistic in _statistics(tallies, len(gold)).items():
        found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"ner {task}"))
        extra = dict(detail) if metric == "f1_micro" else {}
        if folds is not None:
            extra["folds"] = _by_fold(tallies, folds, metric, len(gold))
        place = {"suite": SUITE, "task": task, "variant": variant, "model": model, "metric": metric}
        about = {"n": len(documents), "seed": seed, "seconds": seconds, "detail": extra, "hashes": hashes}
        records.append(Record(**place, **found.fields, **about))
    return TaggerScores(
        model, task, variant, seed, tuple(documents), tuple(comparisons), tallies, tuple(records), tuple(notes)
    )


def compare(scores: Sequence[TaggerScores], *, every_pair: bool = False) -> list[Record]:
    """Every later system minus the first (or minus every earlier one), micro and macro, on shared documents, paired.

    The bootstrap draws the same documents for both, so replicates subtract.

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
    before = _ordered(first.tallies.of([index for index, _ in shared]), gold)
    after = _ordered(other.tallies.of([index for _, index in shared]), gold)
    sample = f"ner {other.task}"
    records = []
    for metric, name in _DIFFERENCES.items():
        one, two = _statistics(before, len(gold))[metric], _statistics(after, len(gold))[metric]
        found = paired_difference(
            value_of(one), replicates(one, seed=other.seed, sample=sample),
            value_of(two), replicates(two, seed=other.seed, sample=sample),
        )  # fmt: skip
        records.append(
            found.record(
                other.model, first.model, metric, metric=name, suite=SUITE, task=other.task, n=len(shared),
                variant=other.variant if other.variant == first.variant else "shared documents", seed=other.seed,
                hashes={"data": data_hash(documents)},
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


def _statistics(tallies: Tallies, gold_labels: int) -> dict[str, Statistic]:
    pooled, loose = tallies.exact.sum(axis=1), tallies.overlap.sum(axis=1)
    return {
        "f1_micro": PooledF1(pooled),
        "f1_macro": MacroF1(tallies.exact[:, :gold_labels].transpose(0, 2, 1)),
        "precision_micro": PooledF1(pooled, "precision"),
        "recall_micro": PooledF1(pooled, "recall"),
        "f1_overlap": PooledF1(loose),
    }


def _per_label(tallies: Tallies, gold_labels: int, seed: int, task: str) -> dict[str, dict[str, float | int | None]]:
    found: dict[str, dict[str, float | int | None]] = {}
    for index, label in enumerate(tallies.labels):
        counts, loose = tallies.exact[:, index], tallies.overlap[:, index]
        statistic = PooledF1(counts)
        ends = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"ner {task}"))
        right, wrong, missed = (int(total) for total in counts.sum(axis=0))
        found[label] = {
            "f1": _rounded(ends.value if index < gold_labels else None),
            "low": _rounded(ends.low if index < gold_labels else None),
            "high": _rounded(ends.high if index < gold_labels else None),
            "precision": _rounded(right / (right + wrong) if right + wrong else None),
            "recall": _rounded(right / (right + missed) if right + missed else None),
            "f1_overlap": _rounded(value_of(PooledF1(loose))),
            "gold": right + missed,
            "predicted": right + wrong,
        }
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _by_fold(tallies: Tallies, folds: Sequence[int], metric: str, gold_labels: int) -> dict[str, Any]:
    """The metric of each fold, their mean, and its 95 % t interval where there are two folds or more.

    Folds share training texts, so this interval is a little too narrow (Bengio & Grandvalet 2004).
    """
    places = np.asarray(folds)
    values = {}
    for fold in sorted(set(folds)):
        part = tallies.of(np.flatnonzero(places == fold).tolist())
        here = np.flatnonzero(part.exact[:, :gold_labels][:, :, [0, 2]].sum(axis=(0, 2)))  # labels that the fold has
        if metric == "f1_macro":
            values[str(fold)] = value_of(MacroF1(part.exact[:, here].transpose(0, 2, 1))) if len(here) else float("nan")
        else:
            values[str(fold)] = value_of(_statistics(part, gold_labels)[metric])
    found: dict[str, Any] = {"values": {fold: round(value, 4) for fold, value in values.items() if np.isfinite(value)}}
    finite: Array = np.array([value for value in values.values() if np.isfinite(value)])
    if len(finite) > 1:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite)))
        mean = float(finite.mean())
        found |= {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}
    return found


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
