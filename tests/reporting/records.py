"""Records of a made-up original and its student, for tests of reports."""

from __future__ import annotations

from typing import Any

from slonik.core.records import Record

SCORES = {"sts": (0.82, 0.81), "ti": (0.95, 0.951), "mean_s5": (0.7845, 0.78)}


def record(task: str, value: float | None, **fields: Any) -> Record:
    """A record of suite encodechka, variant compatible, unless said otherwise."""
    given: dict[str, Any] = {"suite": "encodechka", "variant": "compatible", "model": "m", "metric": "accuracy"}
    return Record(**{**given, "task": task, "value": value, **fields})


def scores(model: str, side: int) -> list[Record]:
    """Scores of the original (0) or the student (1), with intervals."""
    return [
        record(task, pair[side], model=model, low=pair[side] - 0.01, high=pair[side] + 0.01, n=100)
        for task, pair in SCORES.items()
    ]


def resources(model: str, factor: float, engine: str = "torch", **detail: Any) -> list[Record]:
    """Costs of a model; `factor` 1 = the original."""
    base = {
        ("size", "parameters"): 117_600_000, ("size", "bytes"): 470_000_000, ("size", "flops_per_text"): 1.4e9,
        ("batch_1", "ms_per_text"): 28.8, ("memory", "peak_bytes"): 1.2e9,
    }  # fmt: skip
    told = {"threads": 1, "machine": "a machine", "tokens": 32, "runs": [1, 2, 3], **detail}
    found = [
        record(task, value * factor, suite="resources", variant=engine, model=model, metric=metric, detail=told)
        for (task, metric), value in base.items()
    ]
    rate = record(
        "best_batch", 40 / factor, suite="resources", variant=engine, model=model, metric="texts_per_second",
        low=38 / factor, high=42 / factor, detail=told,
    )  # fmt: skip
    return [*found, rate]


def differences(student: str, original: str) -> list[Record]:
    """Paired differences, as an evaluation writes them."""
    detail = {"model": student, "against": original, "of": "accuracy"}
    found = []
    for task, (before, after) in SCORES.items():
        change = after - before
        ends = {"low": change - 0.002, "high": change + 0.002}
        name = f"{student} - {original}"
        found.append(record(task, change, model=name, metric="difference", detail=detail, **ends))
    return found


def published(model: str = "cointegrated/rubert-tiny2") -> list[Record]:
    """A row that others measured."""
    detail = {"published": True, "source": "a leaderboard"}
    return [record(task, 0.75, model=model, metric="published", detail=detail) for task in SCORES]
