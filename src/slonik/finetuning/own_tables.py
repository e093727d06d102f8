"""What is told of answers to labelled rows: a table per label, who is taken for whom, learning curves.

No model is run here but the linear heads of learning curves, over vectors that the caller has. How rows are read and
models opened is in `own_evaluation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slonik.core.hashing import derive_seed
from slonik.core.records import Record
from slonik.evaluation.logistic import fit_logistic
from slonik.evaluation.statistics import interval, replicates, value_of
from slonik.finetuning.items import Item
from slonik.finetuning.metrics import Metrics, baseline_answers, metrics_of
from slonik.reporting.table import Cell, Table
from slonik.text.answers import thresholds
from slonik.text.task_config import TaskConfig

_MOST_LABELS = 25  # of a confusion matrix; of more the commonest confusions are named
_MOST_CONFUSIONS = 20


@dataclass(frozen=True)
class Answered:
    """What one model answered.

    Attributes:
        name: of the model. answers: per item, in the shape of the task's outputs.
        config: the task with what this model has of its own (thresholds).
        baseline: whether it is one.
    """

    name: str
    answers: list[Any]
    config: TaskConfig
    baseline: bool = False
    metrics: Metrics = field(default_factory=dict)


def label_tables(found: Sequence[Answered], items: Sequence[Item], config: TaskConfig) -> list[Table]:
    """Per label, and who is taken for whom."""
    if config.target not in ("single", "multi"):
        return []
    tables = []
    for one in (one for one in found if not one.baseline):
        right, given = _flags(items, one, config)
        lines = []
        for place, name in enumerate(config.labels):
            hits, wanted, said = (
                float(x) for x in ((right & given)[:, place].sum(), right[:, place].sum(), given[:, place].sum())
            )
            shares = (
                hits / said if said else None,
                hits / wanted if wanted else None,
                2 * hits / (wanted + said) if wanted + said else None,
            )
            lines.append(
                (name, int(wanted), int(said), *(None if share is None else f"{share:.3f}" for share in shares))
            )
        tables.append(
            Table.of(f"{one.name}: per label", ("label", "rows", "given", "precision", "recall", "F1"), lines)
        )
        if config.target == "single":
            tables.append(_confusions(one, right.argmax(1), given.argmax(1), config.labels))
    return tables


def _flags(items: Sequence[Item], one: Answered, config: TaskConfig) -> tuple[np.ndarray, np.ndarray]:
    """(N, L) right, (N, L) given."""
    table = np.stack([np.asarray(answer) for answer in one.answers])
    if config.target == "multi":
        return np.array([item.label for item in items]) > 0.5, table > thresholds(one.config)
    eye = np.eye(len(config.labels), dtype=bool)
    return eye[[int(item.label) for item in items]], eye[table.argmax(1)]


def _confusions(one: Answered, right: np.ndarray, given: np.ndarray, labels: Sequence[str]) -> Table:
    counts = Counter(zip(right.tolist(), given.tolist(), strict=True))
    present = sorted({*right.tolist(), *given.tolist()})
    if len(present) > _MOST_LABELS:
        wrong = [(pair, count) for pair, count in counts.most_common() if pair[0] != pair[1]][:_MOST_CONFUSIONS]
        lines = [(labels[a], labels[b], count) for (a, b), count in wrong]
        return Table.of(f"{one.name}: commonest confusions", ("right", "given", "rows"), lines)

    def cell(row: int, column: int) -> Cell:
        count = counts.get((row, column), 0)
        return Cell(
            str(count) if count else "·", mark="better" if row == column and count else "worse" if count else ""
        )

    names = {place: labels[place] for place in present}
    return Table.grid(f"{one.name}: confusion matrix", "right \\ given", names, names, cell)


Curves = dict[str, dict[int, Metrics]]


def learning_curves(
    vectors: Mapping[str, np.ndarray],
    items: Sequence[Item],
    fit: Sequence[Item],
    config: TaskConfig,
    sizes: Sequence[int],
    seed: int,
) -> Curves:
    """Model -> number of training rows -> metrics: a linear head over vectors, and TF-IDF.

    Args:
        vectors: encoder -> (fit and items, D). sizes: numbers of training rows, drawn by seed, the small ones within
            the large ones.
    """
    if not sizes:
        return {}
    wanted = sorted({min(size, len(fit)) for size in sizes})
    order = np.random.default_rng(derive_seed(seed, "learning curve", len(fit))).permutation(len(fit))
    found: Curves = {}
    for model, table in vectors.items():
        for size in wanted:
            chosen = order[:size]
            answers = linear_answers(table[chosen], [fit[n] for n in chosen], table[len(fit) :], config)
            found.setdefault(model, {})[size] = metrics_of(items, answers, config)
    for size in wanted:
        some = [fit[n] for n in order[:size]]
        if len({int(item.label) for item in some}) < 2:
            continue
        if (words := baseline_answers(some, items, config).get("tfidf")) is not None:
            found.setdefault("tfidf", {})[size] = metrics_of(items, words, config)
    return found


def curve_lines(curves: Curves) -> dict[str, dict[int, float]]:
    """Model -> number of training rows -> its first metric."""
    return {
        model: {size: value_of(next(iter(m.values()))) for size, m in sizes.items()} for model, sizes in curves.items()
    }


def curve_records(common: Mapping[str, Any], curves: Curves, seed: int) -> Iterator[Record]:
    """A record per model, number of training rows and metric; the number is the variant."""
    for model, sizes in curves.items():
        for size, metrics in sizes.items():
            for metric, statistic in metrics.items():
                drawn_ = replicates(statistic, seed=seed, sample=str(common["task"]))
                bounds = interval(value_of(statistic), drawn_, n=statistic.n)
                detail = {"training_rows": size} | bounds.told
                yield Record(**common, variant=f"{size} rows", model=model, metric=metric, n=statistic.n, detail=detail,
                             **bounds.fields)  # fmt: skip


def curve_tables(curves: Curves) -> list[Table]:
    """One table of the first metric by training rows; none without a curve."""
    lines = curve_lines(curves)
    if not lines:
        return []
    sizes = sorted({size for values in lines.values() for size in values})
    rows = [
        (model, *(f"{values[size]:.3f}" if size in values else None for size in sizes))
        for model, values in lines.items()
    ]
    return [Table.of("Learning curve: accuracy by training rows", ("model", *map(str, sizes)), rows)]


def linear_answers(known: np.ndarray, fit: Sequence[Item], asked: np.ndarray, config: TaskConfig) -> list[Any]:
    """Probabilities (L,) per row: a logistic regression of known vectors (n, D), over asked ones (N, D)."""
    labels = [int(item.label) for item in fit]
    table = np.zeros((len(asked), len(config.labels)), dtype=np.float32)
    if len(set(labels)) < 2:
        table[:, labels[0]] = 1.0
        return list(table)
    model = fit_logistic(known, [f"{label:06d}" for label in labels])
    table[:, [int(name) for name in model.classes]] = model.probabilities(asked)
    return list(table)
