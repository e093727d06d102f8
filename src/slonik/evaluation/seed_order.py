"""Almost stochastic order of every two models that were trained with several seeds, from their result records.

A record over seeds keeps the figure of each seed in its `detail` under "seeds"; two models on the same data are then
two samples of scores. Source: see `slonik.evaluation.russian_superglue.significance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations

from slonik.core.records import Record
from slonik.evaluation.russian_superglue.significance import almost_stochastic_order

METRIC = "aso"
_FEWEST_SEEDS = 3  # with two, the order of two samples says next to nothing


def seed_orders(records: Iterable[Record]) -> list[Record]:
    """One record per ordered pair of models, task and metric: epsilon_min, the bound of the violation of "A over B".

    Returns:
        Records with the metric "aso"; below 0.5 the first model is almost stochastically greater. Pairs on other
        data, or with fewer than three seeds on a side, are left out.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        seeds = record.detail.get("seeds")
        if isinstance(seeds, Mapping) and len(seeds) >= _FEWEST_SEEDS and record.layer is None:
            key = (record.suite, record.task, record.variant, record.metric, record.hashes.get("data", ""))
            groups.setdefault(key, []).append(record)
    return [_order(first, second) for found in groups.values() for first, second in permutations(found, 2)]


def _order(first: Record, second: Record) -> Record:
    own, other = (list(map(float, record.detail["seeds"].values())) for record in (first, second))
    found = almost_stochastic_order(own, other)
    return Record(
        suite=first.suite, task=first.task, variant=first.variant, model=f"{first.model} over {second.model}",
        metric=METRIC if first.metric in ("accuracy", "mean", "matthews") else f"{first.metric}_{METRIC}",
        value=found.epsilon_min, n=min(len(own), len(other)),
        detail={
            "model": first.model, "against": second.model, "of": first.metric, "violation": found.violation,
            "dominant": found.is_dominant, "seeds_of_both": [len(own), len(other)],
        },
        hashes={"data": first.hashes.get("data", "")},
    )  # fmt: skip
