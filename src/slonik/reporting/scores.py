"""Score tables: one per suite and variant, a row per model, a column per task, an interval in every cell.

Works for any suite whose records are fractions (encodechka, Russian SuperGLUE, NER, agreement). Published rows are
shown as such, missing tasks stay empty and are never imputed. Probing, with a figure per layer, has its own form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slonik.core.records import Record
from slonik.reporting.figures import WRITTEN, cell, interval, signed
from slonik.reporting.ranking import borda, copeland, disagreement, mean_rank
from slonik.reporting.table import ABSENT, Cell, Row, Table, row

NOT_SCORES = frozenset({"resources", "morocco", "inspection"})
SHOWN_WHOLE = frozenset({"russian_superglue"})  # suites whose published rows show every task, measured here or not
AVERAGES = ("mean_s5", "mean_s", "mean_sw", "score")
DIFFERENCE = "difference"
MEAN = "mean"  # metric of a task with two figures
ORDER = "aso"  # almost stochastic order of two models over their seeds
_TITLES = {
    "encodechka": "encodechka",
    "russian_superglue": "Russian SuperGLUE",
    "probing": "RuSentEval",
    "ner": "NER",
    "agreement": "Agreement with the original",
}
_ENOUGH_TO_RANK = 3


def is_difference(record: Record) -> bool:
    """Whether a record is a paired difference of two models rather than a figure of one."""
    return record.metric == DIFFERENCE or record.metric.endswith("_difference") or "against" in record.detail


def is_published(record: Record) -> bool:
    """Whether a record was read somewhere, not measured here."""
    return bool(record.detail.get("published"))


def is_fraction(record: Record) -> bool:
    """Whether a record is a score, more being better, rather than a time or a size (encodechka's speed task)."""
    return record.metric not in WRITTEN and record.detail.get("of") not in WRITTEN


def title_of(suite: str, variant: str) -> str:
    """A table's title: the suite, and the variant of its protocol."""
    name = _TITLES.get(suite, suite.replace("_", " "))
    return f"{name}, {variant}" if variant else name


def score_tables(records: Iterable[Record]) -> list[Table]:
    """Tables of every suite and variant that hold scores, in the order of the records."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.suite not in NOT_SCORES and not is_difference(record):
            groups.setdefault((record.suite, record.variant), []).append(record)
    return [
        table
        for (suite, variant), found in groups.items()
        for table in (_layer_tables if any(r.layer is not None for r in found) else _one)(suite, variant, found)
    ]


def main_metric(record: Record, records: Iterable[Record]) -> str:
    """The metric that a record's task counts by: the mean of its figures where that is among the records."""
    same = (record.suite, record.task, record.variant, record.model)
    metrics = {r.metric for r in records if (r.suite, r.task, r.variant, r.model) == same}
    return MEAN if MEAN in metrics else record.metric


def columns_of(records: Sequence[Record]) -> list[tuple[str, str]]:
    """(task, metric) of every column: tasks in the order of the records, times and averages last."""
    own = [record for record in records if not is_published(record) or record.suite in SHOWN_WHOLE]
    keys = list(dict.fromkeys((record.task, record.metric) for record in own))
    keys = keys or list(dict.fromkeys((record.task, record.metric) for record in records))
    rank = {name: index for index, name in enumerate(AVERAGES, 1)}
    return sorted(keys, key=lambda key: (rank.get(key[0], 0), key[1] in WRITTEN))


def heading(key: tuple[str, str], keys: Sequence[tuple[str, str]]) -> str:
    """A column's heading: the task, and the metric where a task has several."""
    task, metric = key
    return f"{task} {metric}" if sum(other == task for other, _ in keys) > 1 else task


def _one(suite: str, variant: str, records: Sequence[Record]) -> list[Table]:
    keys = columns_of(records)
    measured = [record for record in records if not is_published(record)]
    published = [record for record in records if is_published(record)]
    rows = [*_rows(measured, keys, False), *_rows(published, keys, True)]
    notes = ["95 % intervals by bootstrap over test items"] if any(r.low is not None for r in measured) else []
    if published:
        sources = sorted({str(record.detail.get("source", "published")) for record in published})
        notes.append(f"rows in italics were not measured here ({'; '.join(sources)})")
    notes += _missing(measured, keys)
    headings = ("model", *(heading(key, keys) for key in keys))
    table = Table(title_of(suite, variant), headings, tuple(rows), tuple(notes))
    return [_with_ranks(table, measured, keys)]


def _rows(records: Sequence[Record], keys: Sequence[tuple[str, str]], published: bool) -> list[Row]:
    figures = {(record.model, record.task, record.metric): record for record in records}
    models = dict.fromkeys(record.model for record in records)
    rows = []
    for model in models:
        cells = []
        for task, metric in keys:
            found = figures.get((model, task, metric))
            if found is None and published:  # published rows may name the metric otherwise
                found = next((r for r in records if r.model == model and r.task == task), None)
            cells.append(cell(found))
        rows.append(row(model, cells, published=published))
    return rows


def _missing(records: Sequence[Record], keys: Sequence[tuple[str, str]]) -> list[str]:
    models: dict[str, list[str]] = {}
    for model in dict.fromkeys(record.model for record in records):
        own = {(record.task, record.metric) for record in records if record.model == model and record.value is not None}
        lacking = ", ".join(heading(key, keys) for key in keys if key not in own)
        if lacking:
            models.setdefault(lacking, []).append(model)
    return [
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not measured on {lacking}"
        for lacking, names in models.items()
    ]


def _with_ranks(table: Table, records: Sequence[Record], keys: Sequence[tuple[str, str]]) -> Table:
    """Borda and Copeland columns, where there are enough models and tasks for a ranking to mean something."""
    halved = {task for task, metric in keys if metric == MEAN}  # a task with two figures counts once
    tasks = [
        (task, metric)
        for task, metric in keys
        if task not in AVERAGES and metric not in WRITTEN and (metric == MEAN or task not in halved)
    ]
    scores: dict[str, dict[str, float]] = {}
    for record in records:
        if record.value is not None and is_fraction(record):
            scores.setdefault(record.model, {})[f"{record.task} {record.metric}"] = record.value
    names = [f"{task} {metric}" for task, metric in tasks]
    if len(scores) < _ENOUGH_TO_RANK or len(names) < _ENOUGH_TO_RANK:
        return table
    rules = [borda(scores, names), copeland(scores, names)]
    rows = tuple(
        Row((*line.cells, *(_points(rule.points.get(line.cells[0].text)) for rule in rules)), line.published)
        if not line.published
        else Row((*line.cells, *(ABSENT for _ in rules)), True)
        for line in table.rows
    )
    doubt = disagreement([mean_rank(scores, names), *rules])
    notes = (*table.notes, "Borda: share of rivals beaten, over tasks; Copeland: duels won minus lost")
    return Table(
        table.title, (*table.columns, *(rule.rule for rule in rules)), rows, (*notes, *([doubt] if doubt else []))
    )


def _points(value: float | None) -> Cell:
    return ABSENT if value is None else Cell(f"{value:.2f}" if value % 1 else f"{value:.0f}")


def _layer_tables(suite: str, variant: str, records: Sequence[Record]) -> list[Table]:
    """One table per task: a row per model, a column per layer; figures over all layers come first."""
    tables = []
    for task, metric in columns_of(records):
        found = [record for record in records if (record.task, record.metric) == (task, metric)]
        layers = sorted({record.layer for record in found if record.layer is not None})
        whole = any(record.layer is None for record in found)
        figures = {(record.model, record.layer): record for record in found}
        keys: list[int | None] = [*([None] if whole else []), *layers]
        rows = tuple(
            row(model, [cell(figures.get((model, layer))) for layer in keys])
            for model in dict.fromkeys(record.model for record in found)
        )
        headings = ("model", *("all" if layer is None else f"layer {layer}" for layer in keys))
        tables.append(Table(f"{title_of(suite, variant)}: {task}, {metric}", headings, rows))
    return tables


def difference_cell(record: Record | None) -> Cell:
    """A paired difference, green or red where its interval leaves out 0."""
    if record is None or record.value is None:
        return ABSENT
    spread = interval(DIFFERENCE, record.low, record.high)
    mark = ""
    if record.low is not None and record.high is not None:
        mark = "better" if record.low > 0 else "worse" if record.high < 0 else ""
    return Cell(signed(record.value), spread, mark)  # type: ignore[arg-type]


def difference_tables(records: Iterable[Record]) -> list[Table]:
    """Paired differences: one table per suite and variant, a row per pair of models, a column per task."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.metric.endswith(ORDER) or record.detail.get("of") in WRITTEN:
            continue
        if record.suite not in NOT_SCORES and is_difference(record):
            groups.setdefault((record.suite, record.variant), []).append(record)
    tables = []
    for (suite, variant), found in groups.items():
        keys = columns_of(found)
        figures = {(pair_name(record), record.task, record.metric): record for record in found}
        rows = tuple(
            row(name, [difference_cell(figures.get((name, *key))) for key in keys])
            for name in dict.fromkeys(pair_name(record) for record in found)
        )
        headings = ("pair", *(heading(key, keys) for key in keys))
        note = "paired bootstrap over the same test items; coloured where the 95 % interval leaves out 0"
        tables.append(Table(f"{title_of(suite, variant)}: differences", headings, rows, (note,)))
    return tables


def pair_name(record: Record) -> str:
    """The two models of a difference, the minuend first."""
    against = record.detail.get("against")
    return f"{record.model} − {against}" if against and str(against) not in record.model else record.model
