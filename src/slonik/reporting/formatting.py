"""How values of metrics are written: scores with four digits, times and rates with three significant ones, bytes in MB.

Every value carries its interval where there is one, in the same unit; cells of records are made here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from slonik.core.records import Record
from slonik.reporting.table import ABSENT, Cell

_THIN = "\u2009"


def score(value: float) -> str:
    """Four digits after the point, one more than leaderboards print, since differences are smaller: 0.8226."""
    return f"{value:.4f}".replace("-", "−")


def duration(seconds: float) -> str:
    """A time for people: 31 s, 12.5 min, 3.53 h."""
    if seconds < 100:
        return f"{significant(seconds)} s"
    return f"{significant(seconds / 60)} min" if seconds < 5400 else f"{significant(seconds / 3600)} h"


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign: +0.0012, −0.0070."""
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits without an exponent: 0.00123, 12.3, 4,560."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits}g}")
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}".replace("-", "−")


def size(value: float) -> str:
    """Bytes for people, in powers of ten: 26.7 MB."""
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def count(value: float) -> str:
    """A large number for people: 21.3 M."""
    return _scaled(value, ("", "k", "M", "G", "T"))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= 999.5 and index < len(units) - 1:
        value, index = value / 1000, index + 1
    return f"{significant(value) if index else f'{value:g}'}{_THIN}{units[index]}".rstrip(_THIN)


def times(value: float) -> str:
    """A ratio: 3.42×."""
    return f"{significant(value)}×"


def percent(value: float) -> str:
    """A fraction as a percentage: 12.3 %."""
    return f"{significant(100 * value)}{_THIN}%"


def share(before: float, after: float) -> str:
    """How `after` compares with `before`, larger over smaller: 4.1× smaller."""
    if min(before, after) <= 0:
        return ""
    ratio = before / after
    if 0.995 < ratio < 1.005:
        return "same"
    return f"{times(ratio)} less" if ratio > 1 else f"{times(1 / ratio)} more"


# Metric -> how its value is written; a metric that is not here is a score.
WRITTEN: dict[str, Callable[[float], str]] = {
    "ms_per_text": significant,
    "cpu_ms_per_text": significant,
    "p50_ms": significant,
    "p95_ms": significant,
    "p99_ms": significant,
    "seconds": significant,
    "init_time": significant,
    "texts_per_second": significant,
    "rps": partial(significant, digits=4),
    "gpu_ram": significant,
    "ram": significant,
    "peak_bytes": size,
    "bytes": size,
    "parameters": count,
    "embedding_parameters": count,
    "encoder_parameters": count,
    "flops_per_text": count,
    "ratio": times,
    "cpu_ratio": times,
    "difference": signed,
}


LESS_IS_BETTER = frozenset(WRITTEN) - {"texts_per_second", "rps", "ratio", "cpu_ratio", "difference"} | {
    "perplexity", "loss", "bits_per_byte", "rmse", "mae", "mse", "ece", "brier", "nll", "calibration_error",
}  # fmt: skip


def write(metric: str, value: float) -> str:
    """`value` in the way that `metric` is written."""
    return WRITTEN.get(metric, score)(value)


def interval(metric: str, low: float | None, high: float | None) -> str:
    """The interval in brackets, "" where there is none; that of a score with three digits."""
    if low is None or high is None:
        return ""
    if metric not in WRITTEN:
        return f"[{low:.3f}, {high:.3f}]".replace("-", "−")
    return f"[{write(metric, low)}, {write(metric, high)}]"


def number_cell(metric: str, value: float | None, low: float | None = None, high: float | None = None) -> Cell:
    """The cell of a value that is no record: value and interval as `metric` is written; a dash for None."""
    if value is None:
        return ABSENT
    return Cell(write(metric, value), interval(metric, low, high), good=-value if metric in LESS_IS_BETTER else value)


def cell(record: Record | None) -> Cell:
    """The cell of one record: value and interval; a dash where there is none; published values as they were printed."""
    if record is None or record.value is None:
        return ABSENT
    if record.detail.get("published"):
        return Cell(f"{record.value:.3f}", good=record.value)
    found = number_cell(record.metric, record.value, record.low, record.high)
    return replace(found, mark="warning") if record.detail.get("warnings") else found


LOWER_IS_BETTER = frozenset(
    {
        "mae",
        "rmse",
        "mse",
        "max_error",
        "ece",
        "ece_before",
        "brier",
        "loss",
        "perplexity",
        "bits_per_byte",
        "error",
        "wer",
        "cer",
    }
)
"""Metrics that are errors."""


def lower_is_better(metric: str) -> bool:
    """Whether a metric is an error, a difference of it (`mae_difference`) too."""
    return metric.removesuffix("_difference") in LOWER_IS_BETTER


def difference_cell(record: Record | None, zero: float = 0.0) -> Cell:
    """A paired difference, marked better or worse where its interval leaves out `zero` (1 for a ratio).

    Of an error, which is the better the lower it is, what lies below is marked better.
    """
    if record is None or record.value is None:
        return ABSENT
    metric = record.metric if record.metric in WRITTEN else "difference"
    found = number_cell(metric, record.value, record.low, record.high)
    if record.low is None or record.high is None:
        return found
    if record.low <= zero <= record.high:
        return found
    return replace(found, mark="better" if (record.low > zero) != _of_error(record) else "worse")


def _of_error(record: Record) -> bool:
    return lower_is_better(record.metric) or lower_is_better(str(record.detail.get("of", "")))
