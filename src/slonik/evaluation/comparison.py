"""Tests of two models on the same items, and of two training recipes over seeds.

McNemar's exact test for right and wrong answers (Dietterich 1998; Dror et al. 2018 name it for accuracy), and
almost stochastic order for scores over seeds (del Barrio et al. 2018; Dror et al. 2019), with the bootstrap of
Ulmer et al. 2022 (deep-significance). The bootstrap of a difference is in `slonik.evaluation.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.records import Record
from slonik.evaluation.statistics import RESAMPLES

_STEPS = 1000  # points at which the two quantile functions are compared
_FEWEST_SEEDS = 2
_FEWEST_SEEDS_IN_RECORDS = 3  # with two, the order of two samples says next to nothing
FEWEST_SEEDS_TO_BE_SURE = 5
"""Of two equal recipes one got a bound below 0.2 in 7 of 100 cases with three seeds, in 5 with five, 2.5 with ten."""
SURE = 0.2
_ALPHA = 0.05


@dataclass(frozen=True)
class McNemar:
    """Outcome of McNemar's test.

    Attributes:
        only_first, only_second: items that one model alone answers rightly.
        p_value: two-sided, exact binomial: how often a fair coin parts the discordant items as unevenly.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's exact test of two models' right and wrong answers to the same items.

    Raises:
        ValueError: other numbers of items.
    """
    pairs = list(zip(first, second, strict=True))
    own = sum(a and not b for a, b in pairs)
    other = sum(b and not a for a, b in pairs)
    total, least = own + other, min(own, other)
    tail = sum(math.comb(total, k) for k in range(least + 1)) / 2**total
    return McNemar(own, other, min(1.0, 2 * tail))


@dataclass(frozen=True)
class StochasticOrder:
    """Whether scores of A are almost stochastically greater than those of B.

    Attributes:
        violation: share by which the order is violated in the samples, 0 (A greater everywhere) to 1.
        epsilon_min: its upper confidence bound: below 0.5 A is almost stochastically dominant; below 0.2 with good
            certainty (the advice of Ulmer et al. 2022).
        p_value: of the hypothesis that the violation is 0.2 or more: the level at which its bound would reach 0.2, and
            never less than the share of ways to part the scores, 1 / C(n + m, n), which no sample can go below.
    """

    violation: float
    epsilon_min: float
    p_value: float = 1.0

    @property
    def is_dominant(self) -> bool:
        """Whether A is called better at the threshold of 0.5, which of equal recipes one in six is."""
        return self.epsilon_min < 0.5


def almost_stochastic_order(first: Sequence[float], second: Sequence[float]) -> StochasticOrder:
    """Almost stochastic order of two samples of scores, one per seed; more is better.

    The violation ratio is int_V (Qa - Qb)^2 dt / int (Qa - Qb)^2 dt over quantiles t, V where Qa(t) < Qb(t); its
    95 % bound subtracts the normal quantile times the bootstrap deviation of the scaled ratio (Dror et al. 2019,
    eq. 5-8).

    Args:
        first, second: scores of A and B over their seeds.

    Raises:
        SlonikError: fewer than two scores on a side.
    """
    a, b = np.sort(np.asarray(first, dtype=np.float64)), np.sort(np.asarray(second, dtype=np.float64))
    if min(len(a), len(b)) < _FEWEST_SEEDS:
        raise SlonikError(f"{len(a)} and {len(b)} scores: almost stochastic order needs at least two seeds of each")
    violation = float(_violations(a[None], b[None])[0])
    rng = np.random.default_rng(derive_seed(0, "aso", len(a), len(b)))
    scale = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    drawn = _violations(_quantiles_drawn(a, rng), _quantiles_drawn(b, rng))
    deviation = float(np.std(scale * (drawn - violation)))
    bound = violation - deviation / scale * NormalDist().inv_cdf(0.05)
    reached = (SURE - violation) * scale
    p_value = 1.0 - NormalDist().cdf(reached / deviation) if deviation else float(reached <= 0)
    return StochasticOrder(violation, min(1.0, max(0.0, bound)), max(p_value, 1.0 / math.comb(len(a) + len(b), len(a))))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, step by step from the least (Holm 1979), in the given order.

    Those that stay below .05 may be called significant together: the chance of any false one is .05 at most.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def _violations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of B pairs of ordered samples, (B, n) and (B, m): the share by which "A greater" is violated, (B,)."""
    points = np.arange(1, _STEPS) / _STEPS
    apart = _quantiles(a, points) - _quantiles(b, points)
    whole = (apart**2).sum(1)
    below = (np.minimum(apart, 0) ** 2).sum(1)
    # equal distributions: neither is greater
    shares: NDArray[np.float64] = np.divide(below, whole, out=np.full(len(whole), 0.5), where=whole > 0)
    return shares


def _quantiles(ordered: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Empirical quantile functions: the least score that at least the share `points` of scores do not exceed."""
    places = np.ceil(points * ordered.shape[1]).astype(int) - 1
    return ordered[:, np.clip(places, 0, ordered.shape[1] - 1)]


def _quantiles_drawn(ordered: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bootstrap samples (RESAMPLES, n), ordered, by inverse transform of uniform numbers."""
    drawn = _quantiles(ordered[None], rng.uniform(size=RESAMPLES * len(ordered)))[0]
    return np.sort(drawn.reshape(RESAMPLES, len(ordered)), axis=1)


def seed_orders(records: Iterable[Record]) -> list[Record]:
    """One record per ordered pair of models, task and metric: epsilon_min, the bound of the violation of "A over B".

    A record over seeds keeps the value of each seed in its `detail` under "seeds"; two models on the same data are
    then two samples of scores.

    Returns:
        Records with the metric "aso"; below 0.5 the first model is almost stochastically greater in these seeds. Pairs
        on other data, or with fewer than three seeds on a side, are left out. `detail["sure"]`: whether the violation
        is below 0.2 at the level .05, corrected by Holm over the tasks and metrics of the pair (`detail["p_holm"]`),
        with five seeds or more on either side.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        seeds = record.detail.get("seeds")
        if isinstance(seeds, Mapping) and len(seeds) >= _FEWEST_SEEDS_IN_RECORDS and record.layer is None:
            key = (record.suite, record.task, record.variant, record.metric, record.hashes.get("data", ""))
            groups.setdefault(key, []).append(record)
    orders = [_order(first, second) for found in groups.values() for first, second in permutations(found, 2)]
    families: dict[tuple[str, str], list[int]] = {}
    for place, record in enumerate(orders):
        families.setdefault((record.suite, record.model), []).append(place)
    for places in families.values():
        for place, p_value in zip(places, holm([orders[one].detail["p_value"] for one in places]), strict=True):
            record = orders[place]
            sure = p_value < _ALPHA and min(record.detail["seeds_of_both"]) >= FEWEST_SEEDS_TO_BE_SURE
            detail = {**record.detail, "p_holm": p_value, "sure": sure, "comparisons": len(places)}
            orders[place] = record.model_copy(update={"detail": detail})
    return orders


def _order(first: Record, second: Record) -> Record:
    own, other = (list(map(float, record.detail["seeds"].values())) for record in (first, second))
    found = almost_stochastic_order(own, other)
    return Record(
        suite=first.suite, task=first.task, variant=first.variant, model=f"{first.model} over {second.model}",
        metric="aso" if first.metric in ("accuracy", "mean", "matthews") else f"{first.metric}_aso",
        value=found.epsilon_min, n=min(len(own), len(other)),
        detail={
            "model": first.model, "against": second.model, "of": first.metric, "violation": found.violation,
            "dominant": found.is_dominant, "p_value": found.p_value, "seeds_of_both": [len(own), len(other)],
        },
        hashes={"data": first.hashes.get("data", "")},
    )  # fmt: skip
