"""Tables of scores: a row per model, a column per task, an interval in every cell; differences, ranks, categories.

Works for any suite whose records are fractions (encodechka, Russian SuperGLUE, NER, agreement). Published rows are
shown as such, missing tasks stay empty and are never imputed. Probing, with a value per layer, has its own form.

Who leads is shown under every rule of aggregation side by side. A rank that differs from the mean's is marked: there
the order hangs on the rule, not on the models. Models that were measured here and published rows are ranked apart, as
their items differ.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from slonik.core.records import Record
from slonik.reporting.formatting import WRITTEN, cell, difference_cell, lower_is_better, number_cell
from slonik.reporting.ranking import Ranking, borda, copeland, disagreement, dowdall, mean_rank, minimax, ranks
from slonik.reporting.table import ABSENT, Cell, Content, Row, Table

NOT_SCORES = frozenset({"resources", "morocco", "inspection"})
SHOWN_WHOLE = frozenset({"russian_superglue"})  # suites whose published rows show every task, measured here or not
AVERAGES = ("mean_s5", "mean_s", "mean_sw", "score")
DIFFERENCE = "difference"
MEAN = "mean"  # metric of a task with two metrics
ORDER = "aso"  # almost stochastic order of two models over their seeds
_TITLES = {
    "encodechka": "encodechka",
    "russian_superglue": "Russian SuperGLUE",
    "probing": "RuSentEval",
    "ner": "NER",
    "agreement": "Agreement with the original",
    "mteb": "MTEB",
}
_ENOUGH_TO_RANK = 3  # models, and tasks
_RULES = (
    "Borda: share of rivals beaten; Dowdall: sum of 1 / rank; Copeland: duels won minus lost; minimax: the worst duel"
)


def is_difference(record: Record) -> bool:
    """Whether a record is a paired difference of two models rather than a value of one."""
    return record.metric == DIFFERENCE or record.metric.endswith("_difference") or "against" in record.detail


def is_published(record: Record) -> bool:
    """Whether a record was read somewhere, not measured here."""
    return bool(record.detail.get("published"))


def is_fraction(record: Record) -> bool:
    """Whether a record is a score, more being better: no time or size (encodechka's speed task), and no error."""
    if lower_is_better(record.metric):
        return False
    return record.metric not in WRITTEN and record.detail.get("of") not in WRITTEN


def title_of(suite: str, variant: str) -> str:
    """A table's title: the suite, and the variant of its protocol."""
    name = _TITLES.get(suite, suite.replace("_", " "))
    return f"{name}, {variant}" if variant else name


def columns_of(records: Sequence[Record]) -> list[tuple[str, str]]:
    """(task, metric) of every column: tasks in the order of the records, times and averages last."""
    own = [record for record in records if not is_published(record) or record.suite in SHOWN_WHOLE]
    keys = list(dict.fromkeys(map(_task_and_metric, own or records)))
    rank = {name: index for index, name in enumerate(AVERAGES, 1)}
    return sorted(keys, key=lambda key: (rank.get(key[0], 0), key[1] in WRITTEN))


def heading(key: tuple[str, str], keys: Sequence[tuple[str, str]]) -> str:
    """A column's heading: the task, and the metric where a task has several."""
    task, metric = key
    return f"{task} {metric}" if sum(other == task for other, _ in keys) > 1 else task


def pair_name(record: Record) -> str:
    """The two models of a difference, the minuend first."""
    against = record.detail.get("against")
    return f"{record.model} − {against}" if against and str(against) not in record.model else record.model


def _task_and_metric(record: Record) -> tuple[str, str]:
    return record.task, record.metric


def _grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def record_table(
    title: str,
    records: Iterable[Record],
    *,
    row: Callable[[Record], str] = lambda record: record.model,
    column: Callable[[Record], Hashable] = _task_and_metric,
    columns: Mapping[Any, str] | None = None,
    corner: str = "model",
    cell: Callable[[Record | None], Content] = cell,
    notes: Iterable[str] = (),
) -> Table:
    """A table of records: a row per model, a column per task and metric; published and baseline rows are marked.

    Args:
        row: name of the row that a record stands in.
        column: key of its column.
        columns: key -> heading; None = tasks in the order of the records, times and averages last.
        cell: what is written for a record, and for none. The last record of a place counts.
    """
    found = list(records)
    if columns is None:
        keys = columns_of(found)
        columns = {key: heading(key, keys) for key in keys}
    places = {(row(record), is_published(record), column(record)): record for record in found}
    rows = _grouped(found, lambda record: (row(record), is_published(record)))
    return Table.grid(
        title,
        corner,
        {place: place[0] for place in rows},
        columns,
        lambda place, key: cell(places.get((*place, key))),
        notes=notes,
        published={place for place in rows if place[1]},
        baselines={place for place, own in rows.items() if all(record.detail.get("baseline") for record in own)},
    )


def score_tables(records: Iterable[Record]) -> list[Table]:
    """Tables of every suite and variant that hold scores, in the order of the records."""
    own = [record for record in records if record.suite not in NOT_SCORES and not is_difference(record)]
    tables = []
    for (suite, variant), found in _grouped(own, lambda record: (record.suite, record.variant)).items():
        if any(record.layer is not None for record in found):
            tables += _layer_tables(title_of(suite, variant), found)
        else:
            tables.append(_score_table(title_of(suite, variant), found))
    return tables


def _score_table(title: str, records: Sequence[Record]) -> Table:
    keys = columns_of(records)
    measured = [record for record in records if not is_published(record)]
    published = [record for record in records if is_published(record)]
    notes = ["95 % intervals by bootstrap over test items"] if any(r.low is not None for r in measured) else []
    if published:
        sources = sorted({str(record.detail.get("source", "published")) for record in published})
        notes.append(f"rows in italics were not measured here ({'; '.join(sources)})")
    notes += _missing(measured, keys)
    columns = {key: heading(key, keys) for key in keys}
    table = record_table(title, [*measured, *_under(keys, published)], columns=columns, notes=notes)
    return _with_ranks(table, measured, keys)


def _under(keys: Sequence[tuple[str, str]], published: Sequence[Record]) -> list[Record]:
    """Published records, copied under metrics of `keys` where the source names a task's metric otherwise."""
    found = list(published)
    for own in _grouped(published, lambda record: record.model).values():
        known = set(map(_task_and_metric, own))
        for task, metric in keys:
            other = next((record for record in own if record.task == task), None)
            if other is not None and (task, metric) not in known:
                found.append(other.model_copy(update={"metric": metric}))
    return found


def _missing(records: Sequence[Record], keys: Sequence[tuple[str, str]]) -> list[str]:
    models: dict[str, list[str]] = {}
    for model, found in _grouped(records, lambda record: record.model).items():
        own = {_task_and_metric(record) for record in found if record.value is not None}
        lacking = ", ".join(heading(key, keys) for key in keys if key not in own)
        if lacking:
            models.setdefault(lacking, []).append(model)
    return [
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not measured on {lacking}"
        for lacking, names in models.items()
    ]


def _with_ranks(table: Table, records: Sequence[Record], keys: Sequence[tuple[str, str]]) -> Table:
    """Borda and Copeland columns, where there are enough models and tasks for a ranking to mean something."""
    halved = {task for task, metric in keys if metric == MEAN}  # a task with two metrics counts once
    tasks = [
        f"{task} {metric}"
        for task, metric in keys
        if task not in AVERAGES and metric not in WRITTEN and (metric == MEAN or task not in halved)
    ]
    scores: dict[str, dict[str, float]] = {}
    for record in records:
        if record.value is not None and is_fraction(record):
            scores.setdefault(record.model, {})[f"{record.task} {record.metric}"] = record.value
    scores = whole_models({model: {t: v for t, v in found.items() if t in tasks} for model, found in scores.items()})
    tasks = [task for task in tasks if any(task in found for found in scores.values())]
    if min(len(scores), len(tasks)) < _ENOUGH_TO_RANK:
        return table
    rules = [borda(scores, tasks), copeland(scores, tasks)]
    rows = []
    for line in table.rows:
        points = [None if line.published else rule.points.get(line.cells[0].text) for rule in rules]
        rows.append(Row((*line.cells, *map(_points, points)), line.published, line.baseline))
    warning = disagreement([mean_rank(scores, tasks), *rules])
    rules_note = f"Borda: share of rivals beaten, over {len(tasks)} tasks; Copeland: duels won minus lost"
    notes = (*table.notes, f"{rules_note}; of models that have all of them")
    columns = (*table.columns, *(rule.rule for rule in rules))
    return Table(table.title, columns, tuple(rows), (*notes, *([warning] if warning else [])))


def _points(value: float | None) -> Cell:
    return ABSENT if value is None else Cell(f"{value:.2f}" if value % 1 else f"{value:.0f}", good=value)


def _layer_tables(title: str, records: Sequence[Record]) -> list[Table]:
    """One table per task: a row per model, a column per layer; values over all layers come first."""
    tables = []
    for task, metric in columns_of(records):
        found = [record for record in records if _task_and_metric(record) == (task, metric)]
        columns: dict[int | None, str] = {None: "all"} if any(record.layer is None for record in found) else {}
        columns |= {layer: f"layer {layer}" for layer in sorted({r.layer for r in found if r.layer is not None})}
        tables.append(
            record_table(f"{title}: {task}, {metric}", found, column=lambda record: record.layer, columns=columns)
        )
    return tables


def difference_tables(records: Iterable[Record]) -> list[Table]:
    """Paired differences: one table per suite and variant, a row per pair of models, a column per task."""
    own = [
        record
        for record in records
        if is_difference(record)
        and record.suite not in NOT_SCORES
        and not record.metric.endswith(ORDER)
        and record.detail.get("of") not in WRITTEN
    ]
    note = "paired bootstrap over the same test items; coloured where the 95 % interval leaves out 0"
    return [
        record_table(
            f"{title_of(*place)}: differences", found, row=pair_name, corner="pair", cell=difference_cell, notes=[note]
        )
        for place, found in _grouped(own, lambda record: (record.suite, record.variant)).items()
    ]


def order_tables(records: Iterable[Record]) -> list[Table]:
    """Almost stochastic order over seeds: a row per ordered pair of models, a column per task."""
    own = [record for record in records if record.metric.endswith(ORDER) and record.value is not None]
    note = (
        "epsilon_min: below 0.5 the first model was better in these seeds, as one of two equal recipes is in one case "
        "of six; coloured where that is sure: violation below 0.2 at the level .05, corrected over tasks (Holm), from "
        "five seeds of each"
    )
    tables = []
    for suite, found in _grouped(own, lambda record: record.suite).items():
        keys = list(dict.fromkeys(map(_task_and_metric, found)))
        title = f"{title_of(suite, '')}: almost stochastic order over seeds"
        columns = {key: heading(key, keys) for key in keys}
        tables.append(record_table(title, found, columns=columns, corner="pair", cell=_order_cell, notes=[note]))
    return tables


def _order_cell(record: Record | None) -> Cell:
    if record is None or record.value is None:
        return ABSENT
    seeds = "/".join(map(str, record.detail.get("seeds_of_both", ())))
    return Cell(f"{record.value:.2f}", f"({seeds} seeds)", "better" if record.detail.get("sure") else "")


def rank_tables(records: Iterable[Record]) -> list[Table]:
    """Rank tables of every suite and variant with at least three models and three tasks.

    Differences, averages and layers do not count; published rows have a table of their own.
    """
    own = [
        record
        for record in records
        if record.layer is None and record.value is not None and not is_difference(record) and is_fraction(record)
    ]
    groups = _grouped(own, lambda record: (record.suite, record.variant, is_published(record)))
    tables = []
    for (suite, variant, published), found in groups.items():
        kind = "published rows" if published else "measured here"
        table = _rank_table(f"{title_of(suite, variant)}: {kind}, ranked", found)
        if table is not None:
            tables.append(table)
    return tables


def scores_of(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Model -> task -> its score, a task with two metrics by their mean; averages over tasks are left out."""
    halved = {(r.suite, r.task, r.variant, r.model) for r in records if r.metric == MEAN}
    scores: dict[str, dict[str, float]] = {}
    for r in records:
        counts = r.metric == MEAN or (r.suite, r.task, r.variant, r.model) not in halved
        if r.task not in AVERAGES and r.value is not None and counts:
            scores.setdefault(r.model, {})[r.task] = float(r.value)
    return scores


def whole_models(scores: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Models that have every task that the fullest model has, with these tasks alone.

    What a model lacks can neither raise nor lower it: it is not ranked over tasks at all.
    """
    tasks = max((set(found) for found in scores.values()), key=len, default=set())
    return {
        model: {task: score for task, score in found.items() if task in tasks}
        for model, found in scores.items()
        if tasks <= set(found)
    }


def rankings_of(scores: dict[str, dict[str, float]]) -> list[Ranking]:
    """The five rules over all tasks that any model has."""
    tasks = list(dict.fromkeys(task for found in scores.values() for task in found))
    return [rule(scores, tasks) for rule in (mean_rank, borda, dowdall, copeland, minimax)]


def _rank_table(title: str, records: Sequence[Record]) -> Table | None:
    every = scores_of(records)
    scores = whole_models(every)
    tasks = next((set(found) for found in scores.values()), set())
    if min(len(scores), len(tasks)) < _ENOUGH_TO_RANK:
        return None
    rules = rankings_of(scores)
    placed = [ranks(rule) for rule in rules]
    order = sorted(scores, key=lambda model: (placed[0].get(model, len(scores) + 1), placed[1][model], model))
    warning = disagreement(rules)
    return Table.grid(
        title,
        "model",
        {model: model for model in order},
        {number: rule.rule for number, rule in enumerate(rules)},
        lambda model, number: _rank_cell(rules[number], placed[number], model, placed[0].get(model)),
        notes=[
            _RULES, f"over {len(tasks)} tasks; marked: a rank other than the mean's", *([warning] if warning else []),
            *([f"{len(every) - len(scores)} lack one of them and are not ranked"] if len(every) > len(scores) else []),
        ],
        published=order if is_published(records[0]) else (),
    )  # fmt: skip


def _rank_cell(rule: Ranking, placed: dict[str, int], model: str, by_mean: int | None) -> Cell:
    if model not in placed:
        return ABSENT
    spread = f"({rule.points[model]:.3f})"
    if by_mean is not None and placed[model] != by_mean:
        return Cell(str(placed[model]), spread, "warning")
    return Cell(str(placed[model]), spread, "best" if placed[model] == 1 else "")


def category_tables(records: Iterable[Record]) -> list[Table]:
    """One table per suite, variant, task and metric whose records have `detail.categories`: a row per category.

    A category with one class has a correlation of 0 by convention, hence the number of items beside.
    """
    own = [record for record in records if record.detail.get("categories") and not is_published(record)]
    groups = _grouped(own, lambda record: (record.suite, record.variant, record.task, record.metric))
    note = "95 % intervals by bootstrap; with one class only the correlation is 0 by convention"
    tables = []
    for (suite, variant, task, metric), found in groups.items():
        parts = [record.detail["categories"] for record in found]
        lines = []
        for name in dict.fromkeys(name for part in parts for name in part):
            count = next(part[name]["n"] for part in parts if name in part)
            places = [part.get(name, {}) for part in parts]
            cells = [number_cell(metric, one.get("value"), one.get("low"), one.get("high")) for one in places]
            lines.append((name, count, *cells))
        columns = ("category", "items", *(record.model for record in found))
        title = f"{title_of(suite, variant)}: {task} by category, {metric}"
        tables.append(Table.of(title, columns, lines, [note]))
    return tables
