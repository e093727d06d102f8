"""How far two people, or a person and a tagger, agree on the entities of the same texts: `slonik data agreement`.

Does: pair documents by id and text, or by text alone; count spans that both give exactly (F1 is symmetric: neither
side is gold), those that overlap with one label, Cohen's kappa of words (which label, or none), per label and over all,
with intervals by bootstrap over documents; list what one marks and the other does not, and which labels differ.
Does not: say who is right. Kappa over all words is high where most words are no entity: it is also given over the words
that either marks.

Source: Cohen 1960; Hripcsak & Rothschild 2005 (F1 where what was not marked cannot be counted).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.core.run import Result
from slonik.data.annotations.document import Counts, Document, LabelMapping, flatten
from slonik.data.annotations.tags import tokenize, tokens_of
from slonik.evaluation.statistics import Array, Statistic, interval, replicates, value_of
from slonik.reporting.formatting import cell, number_cell
from slonik.reporting.table import Content, Table
from slonik.tagging.data import Annotated, as_mapping, name_of, read_collection, task_of
from slonik.tagging.matching import PooledF1, compare_spans, confusion, tally

SUITE = "annotators"
_CHANGED = "of these have one id and other words"
_UNKNOWN = "spans where one of the two has not annotated"


@dataclass(frozen=True, kw_only=True)
class Agreement(Result):
    """How two annotations of the same texts agree.

    Attributes:
        records: `f1`, `f1_overlap`, `kappa`, `kappa_marked` with intervals; the detail of `f1` has the labels.
        tables: for the terminal.
        documents: how many were paired.
        left_out: what was not compared, in words -> how often.
    """

    tables: tuple[Table, ...] = ()
    documents: int = 0
    left_out: Counts = field(default_factory=Counts)


class Kappa:
    """Cohen's kappa of words, resampled by document: a `Statistic`.

    Args:
        pairs: (D, K, K) words by the label of one and of the other; K - 1 stands for none.
        marked: leave out words that neither marks.
    """

    def __init__(self, pairs: NDArray[np.int64], *, marked: bool = False) -> None:
        self._pairs = pairs.astype(np.float64)
        if marked:
            self._pairs = self._pairs.copy()
            self._pairs[:, -1, -1] = 0
        self.n = len(pairs)

    def resampled(self, counts: Array) -> Array:
        """Values (B,); NaN where there are no words, 1 where both say one thing throughout."""
        table = np.tensordot(counts, self._pairs, axes=1)  # (B, K, K)
        total = table.sum((1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            share = table / total[:, None, None]
            agreed = np.trace(share, axis1=1, axis2=2)
            chance = (share.sum(2) * share.sum(1)).sum(1)
            found: Array = np.where(chance < 1, (agreed - chance) / (1 - chance), np.where(agreed == 1, 1.0, 0.0))
        return np.where(total > 0, found, np.nan)


def agreement(
    first: Annotated,
    second: Annotated,
    *,
    data_format: str | None = None,
    mapping: str | Path | Mapping[str, Any] | LabelMapping | None = None,
    seed: int = 0,
) -> Agreement:
    """Compare two annotations of the same texts.

    Args:
        first, second: files, folders, documents or rows, as `read_collection` takes them.
        data_format: of files; None = guess.
        mapping: labels to merge and drop on both sides, or the recipe that says so.
        seed: of the bootstrap.

    Raises:
        SlonikError: bad annotations, no text in common, nothing marked on either side, or a seed below 0.
    """
    if seed < 0:
        raise SlonikError(f"the seed is {seed}: give 0 or more")
    rules = as_mapping(mapping)
    sides = [read_collection(one, data_format, rules, nested=True, bare=True) for one in (first, second)]
    left_out = Counts()
    for name, side in zip((name_of(first), name_of(second)), sides, strict=True):
        left_out.update({f"{sentence} ({name})": count for sentence, count in side.counts.items() if count})
    rules.count_unmet({*sides[0].met, *sides[1].met}, left_out)
    pairs = _pairs(sides[0].documents, sides[1].documents, left_out)
    if not pairs:
        changed = next((sentence for sentence in left_out if sentence.startswith(_CHANGED)), None)
        raise SlonikError(
            f"{name_of(first)} and {name_of(second)} have no text in common: agreement needs one text annotated twice"
            + (f"; {left_out[changed]} {changed} Line ends and spaces count, too" if changed else "")
        )
    marks = [sum(len(pair[side].spans) for pair in pairs) for side in (0, 1)]
    if not any(marks):
        raise SlonikError(
            f"neither {name_of(first)} nor {name_of(second)} marks anything in the texts that both have"
            + (f" ({left_out[_UNKNOWN]} {_UNKNOWN} are left out)" if left_out[_UNKNOWN] else "")
            + ": there is nothing to agree on"
        )
    for name, count in zip((name_of(first), name_of(second)), marks, strict=True):
        if not count:
            left_out[f"texts, all that both have, in which {name} marks nothing: F1 and kappa are 0"] = len(pairs)
    labels = sorted({span.label for pair in pairs for one in pair for span in one.spans})
    comparisons = [compare_spans(one.spans, other.spans) for one, other in pairs]
    tallies = tally(comparisons, labels)
    words = np.stack([_words(one, other, labels) for one, other in pairs])
    task = task_of(first)
    statistics: dict[str, Statistic] = {
        "f1": PooledF1(tallies.exact.sum(1)), "f1_overlap": PooledF1(tallies.overlap.sum(1)),
        "kappa": Kappa(words), "kappa_marked": Kappa(words, marked=True),
    }  # fmt: skip
    detail = {
        "per_label": {label: _of_label(tallies.exact[:, n], words, n, seed, task) for n, label in enumerate(labels)},
        "confusion": confusion(comparisons),
        "left_out": dict(left_out),
    }
    model = f"{name_of(first)} and {name_of(second)}"
    records = tuple(
        Record(
            suite=SUITE, task=task, model=model, metric=metric, n=len(pairs), seed=seed,
            detail=detail if metric == "f1" else {}, **_ends(statistic, seed, task),
        )
        for metric, statistic in statistics.items()
    )  # fmt: skip
    return Agreement(
        records=records, tables=tuple(_tables(records)), documents=len(pairs), left_out=left_out,
    )  # fmt: skip


def _ends(statistic: Statistic, seed: int, task: str) -> dict[str, float]:
    return interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"annotators {task}")).fields


def _of_label(counts: NDArray[np.int64], words: NDArray[np.int64], place: int, seed: int, task: str) -> dict[str, Any]:
    """F1 of one label's spans, and kappa of "has this label or not", with intervals."""
    right, second, first = counts.sum(0).tolist()
    rest = [n for n in range(words.shape[1]) if n != place]
    both = words[:, place, place]
    one, other = words[:, place][:, rest].sum(1), words[:, rest, place].sum(1)
    neither = words[:, rest][:, :, rest].sum((1, 2))
    table = np.stack([np.stack([both, one], 1), np.stack([other, neither], 1)], 1)
    return {
        "first": right + first, "second": right + second, "both": right,
        "f1": _ends(PooledF1(counts), seed, task), "kappa": _ends(Kappa(table), seed, task),
    }  # fmt: skip


def _pairs(first: Sequence[Document], second: Sequence[Document], left_out: Counts) -> list[tuple[Document, Document]]:
    """Documents of the same id and text; else of the same text. What finds no partner is counted."""
    waiting: dict[str, list[Document]] = defaultdict(list)
    for document in second:
        waiting[document.text].append(document)
    pairs = []
    for document in first:
        found = waiting.get(document.text, [])
        partner = next((one for one in found if one.id == document.id), found[0] if found else None)
        if partner is None:
            left_out["texts that only the first has"] += 1
        else:
            found.remove(partner)
            pairs.append((document, partner))
    if rest := sum(map(len, waiting.values())):
        left_out["texts that only the second has"] += rest
    ids = {document.id for document in first} & {one.id for found in waiting.values() for one in found}
    if ids:
        left_out[f"{_CHANGED} (for example {min(ids)}): was a text changed?"] += len(ids)
    return [(_outside(one, other, left_out), _outside(other, one, left_out)) for one, other in pairs]


def _outside(document: Document, other: Document, left_out: Counts) -> Document:
    """The document without spans in stretches that one of the two has not annotated."""
    unknown = (*document.unknown, *other.unknown)
    kept = tuple(
        one for one in document.spans if not any(one.start < end and start < one.end for start, end in unknown)
    )
    if len(kept) < len(document.spans):
        left_out[_UNKNOWN] += len(document.spans) - len(kept)
    return replace(document, spans=kept)


def _words(one: Document, other: Document, labels: Sequence[str]) -> NDArray[np.int64]:
    """(K, K) words by their label on either side; of nested spans the longest says it."""
    words = tokenize(one.text)
    sides = []
    for document in (one, other):
        row = np.full(len(words), len(labels))
        first = 0
        for span in flatten(document.spans):
            own = tokens_of(span, words, first)
            row[own.start : own.stop] = labels.index(span.label)
            first = own.start
        sides.append(row)
    table = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    np.add.at(table, (sides[0], sides[1]), 1)
    return table


def _tables(records: Sequence[Record]) -> list[Table]:
    by_metric = {record.metric: record for record in records}
    per_label: dict[str, Any] = by_metric["f1"].detail["per_label"]
    columns = {"first": "first", "second": "second", "both": "both", "f1": "F1", "kappa": "kappa of words"}
    columns |= {"f1_overlap": "F1, any overlap", "kappa_marked": "kappa of marked words"}

    def content(label: str, column: str) -> Content:
        if label == "":
            if column in by_metric:
                return cell(by_metric[column])
            return f"{sum(one[column] for one in per_label.values()):,}"
        value = per_label[label].get(column, "")
        return number_cell("f1", value["value"], value["low"], value["high"]) if isinstance(value, dict) else str(value)

    rows = {"": "all", **{label: label for label in per_label}}
    notes = ["95 % intervals by bootstrap over documents", "F1 of equal spans: neither side is taken for gold"]
    tables = [Table.grid(f"Agreement on {by_metric['f1'].n:,} texts", "label", rows, columns, content, notes=notes)]
    against: Counter[tuple[str, str]] = Counter()
    for one, row in by_metric["f1"].detail["confusion"].items():
        against.update({(one, other): count for other, count in row.items() if one != other})
    lines = [(one, other, f"{count:,}") for (one, other), count in against.most_common(12)]
    if lines:
        tables.append(Table.of("Where they differ", ("first", "second", "spans"), lines))
    return tables
