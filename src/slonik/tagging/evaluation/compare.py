"""Paired differences between taggers on the documents that both were scored on.

The bootstrap draws the same documents for both, so replicates subtract. A difference is a record of its own, under
the model name "B - A" and the metric "difference" (of micro F1) or "f1_macro_difference".
"""

from __future__ import annotations

from collections.abc import Sequence

from slonik.core.records import Record
from slonik.evaluation.statistics import paired_difference, replicates, value_of
from slonik.tagging.evaluation.run import Evaluation, data_hash, statistic_of
from slonik.tagging.evaluation.tallies import Tallies
from slonik.tagging.evaluation.tasks import SUITE

_METRICS = {"f1_micro": "difference", "f1_macro": "f1_macro_difference"}


def compare(evaluations: Sequence[Evaluation], *, every_pair: bool = False) -> list[Record]:
    """Every later system minus the first (or minus every earlier one), micro and macro, on shared documents.

    Returns:
        Records with the difference as `value`, its 95 % interval, and in `detail` the two models and the two-sided
        bootstrap p-value; none for systems without a document in common.
    """
    records = []
    for place, other in enumerate(evaluations):
        for first in evaluations[: place if every_pair else min(place, 1)]:
            records += _differences(first, other)
    return records


def _differences(first: Evaluation, other: Evaluation) -> list[Record]:
    if first.task != other.task:
        return []
    here = {_key(document.id, document.text): index for index, document in enumerate(first.documents)}
    shared = [
        (here[key], index)
        for index, document in enumerate(other.documents)
        if (key := _key(document.id, document.text)) in here
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
    for metric, name in _METRICS.items():
        one, two = statistic_of(before, metric, len(gold)), statistic_of(after, metric, len(gold))
        found = paired_difference(
            value_of(one), replicates(one, seed=other.seed, sample=sample),
            value_of(two), replicates(two, seed=other.seed, sample=sample),
        )  # fmt: skip
        records.append(
            Record(
                suite=SUITE,
                task=other.task,
                variant=other.variant if other.variant == first.variant else "shared documents",
                model=f"{other.model} - {first.model}",
                metric=name,
                value=found.interval.value,
                low=found.interval.low,
                high=found.interval.high,
                n=len(shared),
                seed=other.seed,
                detail={
                    "model": other.model,
                    "against": first.model,
                    "of": metric,
                    "p_value": found.p_value,
                    "paired": True,
                },
                hashes={"data": data_hash(documents)},
            )
        )
    return records


def _key(name: str, text: str) -> tuple[str, str]:
    return name, text


def _ordered(tallies: Tallies, gold: Sequence[str]) -> Tallies:
    """The same counts with the gold labels of the shared documents first, since macro is the mean over them."""
    rest = [label for label in tallies.labels if label not in gold]
    places = [tallies.labels.index(label) for label in (*gold, *rest)]
    return Tallies((*gold, *rest), tallies.exact[:, places], tallies.overlap[:, places])
