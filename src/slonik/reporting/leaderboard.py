"""Who leads, under every rule of aggregation side by side: the mean over tasks, Borda, Dowdall, Copeland, minimax.

A rank that differs from the mean's is marked: there the order hangs on the rule, not on the models. Models that were
measured here and published rows are ranked apart, as their items differ. Reads records only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slonik.core.records import Record
from slonik.reporting.ranking import Ranking, borda, copeland, disagreement, dowdall, mean_rank, minimax, ranks
from slonik.reporting.scores import (
    AVERAGES,
    ORDER,
    heading,
    is_difference,
    is_fraction,
    is_published,
    main_metric,
    title_of,
)
from slonik.reporting.table import ABSENT, Cell, Row, Table, row

_FEWEST_MODELS = 3
_FEWEST_TASKS = 3
_RULES = (
    "Borda: share of rivals beaten; Dowdall: sum of 1 / rank; Copeland: duels won minus lost; minimax: the worst duel"
)


def rank_tables(records: Iterable[Record]) -> list[Table]:
    """Rank tables of every suite and variant with at least three models and three tasks.

    Differences, averages and layers do not count; published rows have a table of their own.
    """
    groups: dict[tuple[str, str, bool], list[Record]] = {}
    for record in records:
        if record.layer is None and record.value is not None and not is_difference(record) and is_fraction(record):
            groups.setdefault((record.suite, record.variant, is_published(record)), []).append(record)
    tables = []
    for (suite, variant, published), found in groups.items():
        table = _table(
            f"{title_of(suite, variant)}: {'published rows' if published else 'measured here'}, ranked", found
        )
        if table is not None:
            tables.append(table)
    return tables


def order_tables(records: Iterable[Record]) -> list[Table]:
    """Almost stochastic order over seeds: a row per ordered pair of models, a column per task."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.metric.endswith(ORDER) and record.value is not None:
            groups.setdefault(record.suite, []).append(record)
    tables = []
    for suite, found in groups.items():
        keys = list(dict.fromkeys((record.task, record.metric) for record in found))
        figures = {(record.model, record.task, record.metric): record for record in found}
        rows = tuple(
            row(model, [_order_cell(figures.get((model, *key))) for key in keys])
            for model in dict.fromkeys(record.model for record in found)
        )
        columns = ("pair", *(heading(key, keys) for key in keys))
        title = f"{title_of(suite, '')}: almost stochastic order over seeds"
        tables.append(
            Table(title, columns, rows, ("epsilon_min: below 0.5 the first model is better, below 0.2 surely",))
        )
    return tables


def _order_cell(record: Record | None) -> Cell:
    if record is None or record.value is None:
        return ABSENT
    seeds = "/".join(map(str, record.detail.get("seeds_of_both", ())))
    return Cell(f"{record.value:.2f}", f"({seeds} seeds)", "better" if record.value < 0.5 else "")


def scores_of(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Model -> task -> its figure, a task with two figures by their mean; averages over tasks are left out."""
    scores: dict[str, dict[str, float]] = {}
    for record in records:
        if record.task in AVERAGES or record.value is None or record.metric != main_metric(record, records):
            continue
        scores.setdefault(record.model, {})[record.task] = float(record.value)
    return scores


def rankings_of(scores: dict[str, dict[str, float]]) -> list[Ranking]:
    """The five rules over all tasks that any model has."""
    tasks = list(dict.fromkeys(task for found in scores.values() for task in found))
    return [rule(scores, tasks) for rule in (mean_rank, borda, dowdall, copeland, minimax)]


def _table(title: str, records: Sequence[Record]) -> Table | None:
    scores = scores_of(records)
    tasks = {task for found in scores.values() for task in found}
    scores = {model: found for model, found in scores.items() if len(found) >= _FEWEST_TASKS}
    if len(scores) < _FEWEST_MODELS or len(tasks) < _FEWEST_TASKS:
        return None
    rules = rankings_of(scores)
    placed = [ranks(rule) for rule in rules]
    order = sorted(scores, key=lambda model: (placed[0].get(model, len(scores) + 1), placed[1][model], model))
    published = is_published(records[0])
    rows = []
    for model in order:
        cells = [_cell(rule, place, model, placed[0].get(model)) for rule, place in zip(rules, placed, strict=True)]
        rows.append(Row((Cell(model), *cells), published))
    doubt = disagreement(rules)
    notes = [_RULES, f"over {len(tasks)} tasks; marked: a rank other than the mean's", *([doubt] if doubt else [])]
    return Table(title, ("model", *(rule.rule for rule in rules)), tuple(rows), tuple(notes))


def _cell(rule: Ranking, placed: dict[str, int], model: str, by_mean: int | None) -> Cell:
    if model not in placed:
        return ABSENT
    mark = "doubt" if by_mean is not None and placed[model] != by_mean else "best" if placed[model] == 1 else ""
    return Cell(str(placed[model]), f"({rule.points[model]:.3f})", mark)  # type: ignore[arg-type]
