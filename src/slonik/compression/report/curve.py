"""Agreement with the teacher against training compute, and what the curve says about going on.

The remaining gap (1 - agreement) of a distilled student falls roughly as a power of compute while the learning
rate is high, and faster as it decays to 0; so the forecast is made from the later half of one run, in words that
say so. A forecast is an extrapolation, never a measurement.

Source of the form: Kaplan et al. 2020 (loss as a power of compute).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slonik.reporting.formatting import count, duration, significant

_FEWEST = 4
_FLAT = 0.02  # exponent
_HOPELESS = 1000.0  # times the compute so far, for half of the gap


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation during training.

    Attributes:
        compute: what was spent up to there: seconds, texts, tokens or FLOPs, one unit for the whole curve.
        metrics: name -> value in 0..1, e.g. {"agreement": .97}.
    """

    compute: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class PowerLaw:
    """gap = scale * compute ** -exponent, fitted on logarithms.

    Attributes:
        error: root mean square of the fit's residuals in log10: 0.1 is a factor of 1.26.
    """

    scale: float
    exponent: float
    error: float

    def compute_for(self, gap: float) -> float:
        """Compute at which the fitted gap is `gap`; inf for a curve that does not fall, or hardly at all."""
        if self.exponent <= 0:
            return math.inf
        try:
            return math.pow(self.scale / gap, 1 / self.exponent)
        except OverflowError:
            return math.inf


def fit(points: Sequence[CurvePoint], metric: str) -> PowerLaw | None:
    """The power law of 1 - metric over the later half of the curve; None where there are too few points."""
    known = [
        (point.compute, 1 - point.metrics[metric])
        for point in points
        if point.compute > 0 and metric in point.metrics and 0 < 1 - point.metrics[metric] < 1
    ]
    later = known[len(known) // 2 :] if len(known) >= 2 * _FEWEST else known
    if len(later) < _FEWEST or len({spent for spent, _ in later}) < 2:
        return None
    x, y = np.log10([spent for spent, _ in later]), np.log10([gap for _, gap in later])
    slope, intercept = np.polyfit(x, y, 1)
    error = float(np.sqrt(np.mean((np.polyval([slope, intercept], x) - y) ** 2)))
    return PowerLaw(float(10**intercept), float(-slope), error)


def forecast(points: Sequence[CurvePoint], metric: str, unit: str) -> str:
    """What the curve says the rest would cost, in one or two sentences."""
    law = fit(points, metric)
    if law is None:
        return f"Too few evaluations of {metric} to say what more training would bring."
    last = points[-1]
    gap = 1 - last.metrics[metric]
    start = f"{metric} ended at {last.metrics[metric]:.4f} after {_amount(last.compute, unit)}."
    if gap <= 0:
        return f"{start} There is no gap left to close."
    half = law.compute_for(gap / 2)
    times = half / last.compute
    if law.exponent < _FLAT or times > _HOPELESS:
        return f"{start} The later half of the curve is flat: more training of this kind would bring little."
    return (
        f"{start} Over the later half the remaining gap fell as compute^−{law.exponent:.2f}; if that went on, half of "
        f"the gap ({gap / 2:.4f}) would cost {_amount(half, unit)}, {significant(times)} times what was spent "
        f"(an extrapolation; the fit is off by a factor of {10**law.error:.2f})."
    )


def _amount(value: float, unit: str) -> str:
    if unit == "seconds":
        return duration(value)
    return f"{count(float(significant(value).replace(',', '')))} {unit}"
