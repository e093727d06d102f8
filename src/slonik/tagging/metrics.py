"""Metrics of predicted spans as records: exact-span F1 per label, micro and macro, with intervals and differences.

Intervals are by bootstrap over documents (spans of one text are not independent), and over seeds where a system was
trained with several: values are then means over the seeds. Where predictions come from cross-validation, the folds' own
metrics and their t interval stand in the detail. Macro is the mean over the labels that the gold annotations have. A
tagger never learns that it is measured: `score` reads its predictions, `compare` subtracts two systems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.records import Record
from slonik.data.annotations.document import Document, Span, lying_within
from slonik.data.annotations.tags import tokenize
from slonik.evaluation.statistics import Array, MacroF1, Statistic, interval, paired_difference, replicates, value_of
from slonik.tagging.matching import (
    CalibrationError,
    Comparison,
    DocumentF1,
    PooledF1,
    Tallies,
    compare_spans,
    confusion,
    error_counts,
    error_rows,
    known_spans,
    tally,
)
from slonik.tagging.tasks import PROTOCOL, SUITE

_DIFFERENCES = {"f1_micro": "difference", "f1_macro": "f1_macro_difference"}
_RARE = 30  # gold spans
_HEAVY = 0.15  # share of a label's spans in one document
_LEAST_SPANS, _LEAST_DOCUMENTS = 10, 5


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
        "per_label": _per_label(runs, len(gold), seed, task),
        "errors": error_counts(comparisons),
        "confusion": confusion(comparisons),
        "notes": notes,
        **({"heavy": _without(runs, documents, heavy, len(gold), seed, sample)} if heavy else {}),
        **({"names": _by_names(documents, predicted, seen_names, seed, sample)} if seen_names is not None else {}),
        **(
            {"seeds": len(runs), "f1_of_seeds": [_rounded(value_of(PooledF1(run.exact.sum(1)))) for run in runs]}
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
    statistics = _over_seeds(runs, len(gold), model) | (_layers(documents, predicted) if nested else {})
    reliability = _reliability(documents, predicted)
    if reliability is not None:
        statistics["calibration_error"] = reliability
    for metric, statistic in statistics.items():
        found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"ner {task}"))
        extra = dict(detail) if metric == "f1_micro" else {}
        if reliability is not None and metric == "calibration_error":
            extra["bins"] = reliability.bins()
        elif folds is not None and metric not in _OF_LAYERS:
            extra["folds"] = _by_fold(runs, folds, metric, len(gold))
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
    for metric, name in _DIFFERENCES.items():
        one = _over_seeds(before, len(gold), first.model)[metric]
        two = _over_seeds(after, len(gold), other.model)[metric]
        detail: dict[str, Any] = {"seeds": [len(before), len(after)]} if len(before) + len(after) > 2 else {}
        if folds is not None and first.folds is not None:
            detail["folds"] = _difference_by_fold(before, after, folds, metric, len(gold))
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


def _statistics(tallies: Tallies, gold_labels: int) -> dict[str, Statistic]:
    pooled, loose = tallies.exact.sum(axis=1), tallies.overlap.sum(axis=1)
    return {
        "f1_micro": PooledF1(pooled),
        "f1_macro": MacroF1(tallies.exact[:, :gold_labels].transpose(0, 2, 1)),
        "precision_micro": PooledF1(pooled, "precision"),
        "recall_micro": PooledF1(pooled, "recall"),
        "f1_overlap": PooledF1(loose),
        "f1_documents": DocumentF1(pooled),
    }


class OverSeeds:
    """The mean of one statistic over trainings with different seeds; replicates draw documents, and seeds too.

    Args:
        statistics: of each training, over the same documents.
        key: of what decides which seeds are drawn: two systems share no seeds.
    """

    def __init__(self, statistics: Sequence[Statistic], key: str) -> None:
        self._statistics = statistics
        self._rng = np.random.default_rng(derive_seed(0, "seeds", key))
        self.n = statistics[0].n

    def resampled(self, counts: Array) -> Array:
        """Values (B,); of one row, which is no resample, the plain mean."""
        values = np.stack([one.resampled(counts) for one in self._statistics], 1)  # (B, S)
        if len(counts) == 1:
            plain: Array = values.mean(1)
            return plain
        drawn = self._rng.integers(0, values.shape[1], values.shape)
        found: Array = np.take_along_axis(values, drawn, 1).mean(1)
        return found


def _over_seeds(runs: Sequence[Tallies], gold_labels: int, model: str) -> dict[str, Statistic]:
    every = [_statistics(run, gold_labels) for run in runs]
    if len(every) == 1:
        return every[0]
    return {metric: OverSeeds([one[metric] for one in every], f"{model} {metric}") for metric in every[0]}


def _reliability(documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> CalibrationError | None:
    """How confidence and right spans agree; None where a span has no confidence, or none was predicted."""
    if not any(predicted) or any(span.confidence is None for spans in predicted for span in spans):
        return None
    gold = [set(document.spans) for document in documents]
    return CalibrationError(
        [[span.confidence or 0.0 for span in spans] for spans in predicted],
        [[span in own for span in spans] for spans, own in zip(predicted, gold, strict=True)],
    )


def heavy_documents(documents: Sequence[Document]) -> list[tuple[str, int, int, int]]:
    """(label, document, its spans, all spans) where one of several documents holds much of a label.

    Much is `_HEAVY` of its spans and `_LEAST_SPANS` or more, of a label that `_LEAST_DOCUMENTS` documents have: such a
    list of names says how well a tagger reads that list.
    """
    counts = [Counter(span.label for span in document.spans) for document in documents]
    total: Counter[str] = sum(counts, Counter())
    found = []
    for label in sorted(total):
        holders = [index for index, own in enumerate(counts) if own[label]]
        if len(holders) < _LEAST_DOCUMENTS:
            continue
        found += [
            (label, index, counts[index][label], total[label])
            for index in holders
            if counts[index][label] >= max(_LEAST_SPANS, _HEAVY * total[label])
        ]
    return found


def _without(
    runs: Sequence[Tallies], documents: Sequence[Document], heavy: Sequence[tuple[str, int, int, int]],
    gold_labels: int, seed: int, sample: str,
) -> dict[str, Any]:  # fmt: skip
    """Metrics without the documents that hold much of a label, beside which documents these are."""
    gone = {index for _, index, _, _ in heavy}
    kept = [index for index in range(len(documents)) if index not in gone]
    parts = [run.of(kept) for run in runs]
    found: dict[str, Any] = {
        "documents": [
            {"label": label, "document": documents[index].id, "spans": own, "of": total}
            for label, index, own, total in heavy
        ]
    }
    if not kept or not parts[0].exact.any():
        return found
    for metric, statistic in _over_seeds(parts, gold_labels, "without").items():
        if metric in _DIFFERENCES:
            ends = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"{sample} without"))
            found[metric] = {name: _rounded(value) for name, value in ends.fields.items()}
    for label in sorted({label for label, *_ in heavy}):
        place = runs[0].labels.index(label)
        values = [value_of(PooledF1(part.exact[:, place])) for part in parts]
        found.setdefault("per_label", {})[label] = _rounded(float(np.mean(values)))
    return found


def name_key(words: str) -> str:
    """A name as it is known again: its words in lower case, a space between."""
    return " ".join(words[start:end].lower() for start, end in tokenize(words))


def names_in(documents: Iterable[Document]) -> frozenset[str]:
    """The names that documents mark."""
    return frozenset(name_key(one.text[span.start : span.end]) for one in documents for span in one.spans)


def _by_names(
    documents: Sequence[Document], predicted: Sequence[Sequence[Span]], seen: Sequence[Collection[str]], seed: int,
    sample: str,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Counts, F1 and recall with intervals of names that the training texts mark, and of those that they do not."""
    counts = np.zeros((2, len(documents), 3), dtype=np.int64)
    for row, (document, spans, known) in enumerate(zip(documents, predicted, seen, strict=True)):
        sides = [set(document.spans), set(spans)]
        for side, (one, other) in enumerate((sides, sides[::-1])):
            for span in one:
                new = name_key(document.text[span.start : span.end]) not in known
                if span not in other:
                    counts[int(new), row, 2 - side] += 1
                elif side == 0:
                    counts[int(new), row, 0] += 1
    found = {}
    for place, name in enumerate(("seen", "unseen")):
        right, wrong, missed = counts[place].sum(0).tolist()
        found[name] = {"gold": right + missed, "predicted": right + wrong, "right": right}
        metrics: tuple[Literal["f1", "recall", "precision"], ...] = ("f1", "recall", "precision")
        for metric in metrics:
            statistic = PooledF1(counts[place], metric)
            ends = interval(value_of(statistic), replicates(statistic, seed=seed, sample=sample))
            values = {part: _rounded(value) for part, value in ends.fields.items()}
            found[name][metric] = values if np.isfinite(ends.value) else None
    return found


_OF_LAYERS = ("f1_inner", "f1_outer")


def _layers(documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> dict[str, Statistic]:
    """F1 of the spans that lie within another one, and of the others, on either side."""
    counts = np.zeros((2, len(documents), 3), dtype=np.int64)
    for row, (document, spans) in enumerate(zip(documents, predicted, strict=True)):
        gold, given = _by_layer(document.spans), _by_layer(spans)
        for layer in (0, 1):
            right = len(gold[layer] & given[layer])
            counts[layer, row] = right, len(given[layer]) - right, len(gold[layer]) - right
    found: dict[str, Statistic] = {"f1_outer": PooledF1(counts[0])}
    return found | ({"f1_inner": PooledF1(counts[1])} if counts[1].any() else {})


def _by_layer(spans: Sequence[Span]) -> tuple[set[Span], set[Span]]:
    """(spans within no other, spans within another)."""
    layers: tuple[set[Span], set[Span]] = (set(), set())
    for span, within in zip(spans, lying_within(spans), strict=True):
        layers[within].add(span)
    return layers


def _per_label(
    runs: Sequence[Tallies], gold_labels: int, seed: int, task: str
) -> dict[str, dict[str, float | int | None]]:
    """Per label its metrics; of several seeds the counts are those of the first, F1 and its interval of all."""
    found: dict[str, dict[str, float | int | None]] = {}
    for index, label in enumerate(runs[0].labels):
        counts, loose = runs[0].exact[:, index], runs[0].overlap[:, index]
        every = [PooledF1(run.exact[:, index]) for run in runs]
        statistic: Statistic = every[0] if len(every) == 1 else OverSeeds(every, label)
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


def _fold_values(runs: Sequence[Tallies], folds: Sequence[int], metric: str, gold_labels: int) -> dict[int, float]:
    """Fold -> the metric on its documents, the mean over seeds; NaN where it has no span."""
    places = np.asarray(folds)
    values = {}
    for fold in sorted(set(folds)):
        part = [run.of(np.flatnonzero(places == fold).tolist()) for run in runs]
        here = np.flatnonzero(part[0].exact[:, :gold_labels][:, :, [0, 2]].sum(axis=(0, 2)))  # labels that the fold has
        if metric == "f1_macro":
            found = [value_of(MacroF1(one.exact[:, here].transpose(0, 2, 1))) if len(here) else np.nan for one in part]
        else:
            found = [value_of(_statistics(one, gold_labels)[metric]) for one in part]
        values[fold] = float(np.mean(found))
    return values


def _difference_by_fold(
    before: Sequence[Tallies], after: Sequence[Tallies], folds: Sequence[int], metric: str, gold_labels: int
) -> dict[str, Any]:
    """The paired difference of each fold, their mean and its t interval."""
    first = _fold_values(before, folds, metric, gold_labels)
    second = _fold_values(after, folds, metric, gold_labels)
    return _with_mean({fold: second[fold] - first[fold] for fold in first})


def _by_fold(runs: Sequence[Tallies], folds: Sequence[int], metric: str, gold_labels: int) -> dict[str, Any]:
    """The metric of each fold, their mean, and its 95 % t interval where there are two folds or more.

    Folds share training texts, so this interval is a little too narrow (Bengio & Grandvalet 2004).
    """
    return _with_mean(_fold_values(runs, folds, metric, gold_labels))


def _with_mean(values: Mapping[int, float]) -> dict[str, Any]:
    """Values by fold; their mean and its 95 % t interval where there are two or more."""
    found: dict[str, Any] = {
        "values": {str(fold): round(value, 4) for fold, value in values.items() if np.isfinite(value)}
    }
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
