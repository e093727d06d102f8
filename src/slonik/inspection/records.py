"""Findings as result records of the suite "inspection", which `slonik.inspection.report.inspection` draws.

`layer` counts from 1 (0 = embeddings); a head is the task "head_NN", counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.records import Record
from slonik.inspection.attention import Figure
from slonik.inspection.heads import CurvePoint, Scores, rank_correlations
from slonik.inspection.neurons import Neurons
from slonik.inspection.probing_tasks.noise import wilson
from slonik.inspection.similarity import cka_interval, layer_similarity
from slonik.inspection.syntax import SyntaxHead

SUITE = "inspection"


def head_records(model: str, scores: Mapping[str, Scores], curves: Sequence[CurvePoint], texts: int) -> list[Record]:
    """Importance of every head by every order, rank correlations of the orders, and the masking curves."""
    records = []
    for order, layers in scores.items():
        for index, layer in enumerate(layers, 1):
            for head, value in enumerate(layer):
                records.append(_record(f"head_{head:02d}", order, model, "importance", value, layer=index, n=texts))
    for (first, second), value in rank_correlations(scores).items():
        known = None if math.isnan(value) else value
        record = _record(f"heads_against_{second}", first, model, "rank_correlation", known, n=texts)
        records.append(record.model_copy(update={"detail": {"against": second}}))
    for point in curves:
        record = _record(f"without_{point.removed:03d}_heads", point.order, model, "masked_loss", point.loss, n=texts)
        detail = {"removed": point.removed, "share": point.share}
        records.append(record.model_copy(update={"low": point.low, "high": point.high, "detail": detail}))
    return records


def attention_records(model: str, figures: Iterable[Figure], texts: int) -> list[Record]:
    """Every figure of every head with its interval over texts; one text alone has none."""
    return [
        _record(f"head_{f.head:02d}", "attention", model, f.name, f.value, layer=f.layer, n=texts).model_copy(
            update={"low": f.low, "high": f.high} if texts > 1 else {}
        )
        for f in figures
    ]


def syntax_records(model: str, found: Iterable[SyntaxHead]) -> list[Record]:
    """The best head of every relation and direction."""
    records = []
    for head in found:
        task = f"syntax_{head.relation}_to_{head.direction}"
        record = _record(task, "attention", model, "syntax_share", head.share, layer=head.layer, n=head.n)
        detail = {"relation": head.relation, "direction": head.direction, "head": head.head,
                  "offset_share": head.offset_share}  # fmt: skip
        variant = {"low": head.low, "high": head.high, "detail": detail, "variant": "syntax"}
        records.append(record.model_copy(update=variant))
    return records


def similarity_records(
    model: str,
    against: str,
    first: Sequence[NDArray[np.floating]],
    second: Sequence[NDArray[np.floating]],
    measures: Sequence[str],
) -> list[Record]:
    """Similarity of every two layers; linear CKA with its interval for the most alike layer of each."""
    records = []
    for measure in measures:
        grid = layer_similarity(first, second, measure)
        for row, line in enumerate(grid):
            best = int(line.argmax())
            for column, value in enumerate(line):
                record = _record(f"layer_{row}", measure, model, "similarity", float(value), layer=column,
                                 n=len(first[0]))  # fmt: skip
                update: dict[str, Any] = {"detail": {"against": against}}
                if measure == "cka" and column == best:
                    _, low, high = cka_interval(first[row], second[column])
                    update |= {"low": low, "high": high}
                records.append(record.model_copy(update=update))
    return records


def neuron_records(model: str, task: str, found: Neurons, n: int) -> list[Record]:
    """Accuracies with the top and bottom neurons, alone and taken out; Wilson's intervals over test sentences."""
    figures = {"all": found.accuracy}
    for name in ("top", "bottom", "without_top", "without_bottom"):
        figures |= {f"{name}_{k}": value for k, value in getattr(found, name).items()}
    records = []
    for name, value in figures.items():
        low, high = wilson(value * n, n)
        record = _record(task, "neurons", model, f"{name}_neurons", value, n=n)
        record = record.model_copy(update={"low": low, "high": high})
        if name == "all":
            detail = {"nonzero": found.nonzero, "by_layer": found.by_layer.tolist(), "counted": found.counted}
            record = record.model_copy(update={"detail": detail})
        records.append(record)
    return records


def _record(
    task: str, variant: str, model: str, metric: str, value: float | None, *, layer: int | None = None,
    n: int | None = None,
) -> Record:  # fmt: skip
    number = None if value is None else float(value)
    return Record(suite=SUITE, task=task, variant=variant, model=model, metric=metric, value=number, layer=layer, n=n,
                  seed=0)  # fmt: skip
