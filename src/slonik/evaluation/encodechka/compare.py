"""Paired differences between encoders that were scored on the same items, task by task and over all tasks at once.

The bootstrap drew the same items for every encoder, so replicates subtract. A difference is a record of its own,
under the model name "B - A" and the metric "difference": nobody can take it for a score of B.
"""

from __future__ import annotations

from collections.abc import Sequence

from slonik.core.records import Record
from slonik.evaluation.encodechka.run import Evaluation
from slonik.evaluation.encodechka.tasks import SUITE
from slonik.evaluation.statistics import paired_difference


def compare(evaluations: Sequence[Evaluation]) -> list[Record]:
    """Every later encoder minus the first, for each task and average that both have.

    Returns:
        Records with the difference as `value`, its 95 % interval, and in `detail` the two models and the two-sided
        bootstrap p-value.
    """
    records = []
    for other in evaluations[1:]:
        first = evaluations[0]
        for key, measured in other.measured.items():
            if key not in first.measured or first.measured[key].record.hashes["data"] != measured.record.hashes["data"]:
                continue
            base = first.measured[key]
            before, after = base.record.value, measured.record.value
            if before is None or after is None or base.values.shape != measured.values.shape:
                continue
            found = paired_difference(before, base.values, after, measured.values)
            records.append(
                Record(
                    suite=SUITE,
                    task=key[1],
                    variant=key[0],
                    model=f"{other.model} - {first.model}",
                    metric="difference",
                    value=found.interval.value,
                    low=found.interval.low,
                    high=found.interval.high,
                    n=measured.record.n,
                    seed=measured.record.seed,
                    detail={
                        "model": other.model,
                        "against": first.model,
                        "of": measured.record.metric,
                        "p_value": found.p_value,
                        "paired": True,
                    },
                    hashes={"data": measured.record.hashes["data"]},
                )
            )
    return records
