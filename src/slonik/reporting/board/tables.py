"""Figures into tables: a row per model, a column per task, a table per suite and variant, and one overview of all.

Speeds of two machines never share a table. Who published or reported a row is part of the row. Every column says what
it is (metric, items, protocol), every cell how it was made (prefix, pooling, engine, seed). Ranks are ranges; rows that
lack a task are not ranked over tasks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slonik.core.records import Record
from slonik.reporting.board.apart import interval_is_wrong, score_is_beyond
from slonik.reporting.board.cells import BEYOND, MEAN_KEY, WARNED, WRONG_INTERVAL, BoardTable, Cell, Column
from slonik.reporting.board.reading import Figure
from slonik.reporting.board.standings import rank_columns, summarise
from slonik.reporting.resources import COLUMNS as RESOURCE_HEADINGS
from slonik.reporting.scores import AVERAGES, MEAN, is_difference

_ORDER = ("encodechka", "mteb", "russian_superglue", "ner", "retrieval", "probing", "own", "resources", "morocco")
_TITLES = {
    "encodechka": "encodechka",
    "mteb": "ruMTEB",
    "russian_superglue": "Russian SuperGLUE",
    "ner": "Named entities",
    "retrieval": "Retrieval",
    "probing": "Probing",
    "own": "Own data",
    "resources": "Speed and memory",
    "morocco": "MOROCCO",
    "agreement": "Agreement with the original",
    "adapt": "Adaptation",
    "character": "Character",
}
_KINDS = {
    "ms_per_text": "ms", "cpu_ms_per_text": "ms", "p50_ms": "ms", "p95_ms": "ms", "p99_ms": "ms", "seconds": "s",
    "init_time": "s", "texts_per_second": "rate", "rps": "rate", "gpu_ram": "gib", "ram": "gib", "peak_bytes": "bytes",
    "bytes": "bytes", "parameters": "count", "embedding_parameters": "count", "encoder_parameters": "count",
    "flops_per_text": "count", "ratio": "ratio", "cpu_ratio": "ratio", "perplexity": "number", "loss": "number",
    "bits_per_byte": "number",
}  # fmt: skip
_LESS = {
    "perplexity", "loss", "bits_per_byte", "rmse", "mae", "mse", "ece", "min_error", "error", "error_rate", "nll",
    "calibration_error", "brier",
}  # fmt: skip
_FALL = ("adapt", "change")  # of bits per byte
_LESS_KINDS = {"ms", "s", "gib", "bytes", "count"}
_HOW = ("prefix", "interval", "main_metric", "query_prefix", "document_prefix", "pooling", "classifier", "selected_on",
        "split", "threads", "url", "first_stage", "scaled", "mteb_version", "revision", "prompt")  # fmt: skip
_EXTRA = ("per_label", "categories", "confusion", "labels", "unseen_classes")
OVERVIEW = "overview"


class Hows:
    """What is said of how cells were made, each said once: a cell has its number."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}

    def number(self, figure: Figure) -> int:
        """The number of what is said of a figure, a new one where it was not said before."""
        record = figure.record
        told = {name: record.detail[name] for name in _HOW if record.detail.get(name) not in (None, "", [], {})}
        if record.detail.get("prefix") == "":
            told["prefix"] = "none"
        if record.suite == "resources":
            told["engine"] = record.variant
        told |= {name: digest[:12] for name, digest in record.hashes.items() if isinstance(digest, str)}
        if record.seed is not None:
            told["seed"] = record.seed
        told["read from"] = figure.source
        if figure.by:
            told["by"] = figure.by
        if warnings := record.detail.get("warnings"):
            told["warnings"] = warnings if isinstance(warnings, str) else "; ".join(map(str, warnings))
        key = tuple((name, str(value)) for name, value in told.items())
        if key not in self._numbers:
            self._numbers[key] = len(self.all)
            self.all.append({name: value if isinstance(value, int | float) else str(value) for name, value in key})
        return self._numbers[key]


def shown_figure(figure: Figure) -> bool:
    """Whether a figure has a cell of its own in a table: a value, and of one model."""
    value = figure.record.value
    return value is not None and math.isfinite(value) and not is_difference(figure.record)


def board_tables(figures: Sequence[Figure], hows: Hows) -> list[BoardTable]:
    """Every suite and variant that has figures, in order; a suite's machine is part of it where it measures speed."""
    groups: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    for figure in figures:
        if shown_figure(figure) or is_difference(figure.record):
            groups[figure.record.suite, _place(figure.record)].append(figure)
    _published_beside(groups)
    known = {suite: number for number, suite in enumerate(_ORDER)}
    tables = []
    for (suite, place), found in sorted(groups.items(), key=lambda one: (known.get(one[0][0], 99), one[0][0])):
        if any(not is_difference(figure.record) for figure in found):
            tables.append(_table(suite, place, found, hows))
    _name_apart(tables)
    return tables


def _place(record: Record) -> str:
    if record.suite == "resources":
        machine, threads = record.detail.get("machine", ""), record.detail.get("threads", "")
        return f"{machine}; {threads} thread{'s' if str(threads) != '1' else ''}" if machine else "machine not stated"
    return record.variant


def _published_beside(groups: dict[tuple[str, str], list[Figure]]) -> None:
    """Sizes have no machine: they stand in the tables of those machines on which the model was timed."""
    for key, found in list(groups.items()):
        if key[0] == "resources" and all(figure.record.task == "size" for figure in found):
            others = [other for other in groups if other[0] == "resources" and other != key]
            for other in others:
                timed = {figure.model for figure in groups[other]}
                groups[other] += [figure for figure in found if figure.model in timed]
            homeless = [f for f in found if not any(f.model in {g.model for g in groups[o]} for o in others)]
            if homeless:
                groups[key] = homeless
            else:
                del groups[key]


def _name_apart(tables: list[BoardTable]) -> None:
    """Ids for links, made of titles; unique."""
    seen: set[str] = set()
    for table in tables:
        plain = "".join(c if c.isalnum() else "-" for c in f"{table.suite} {table.variant}".lower()).strip("-")
        name, number = plain[:60], 2
        while name in seen:
            name, number = f"{plain[:57]}-{number}", number + 1
        seen.add(name)
        table.id = name


def _table(suite: str, place: str, figures: Sequence[Figure], hows: Hows) -> BoardTable:
    title = _TITLES.get(suite, suite.replace("_", " ").capitalize())
    table = BoardTable("", title, suite, place)
    scores = [figure for figure in figures if not is_difference(figure.record)]
    keys = _columns(table, scores)
    rows: dict[tuple[str, str, str, str], int] = {}
    taken: dict[tuple[int, int], Cell] = {}
    for figure in scores:
        record, engine = figure.record, ""
        if suite == "resources" and record.variant:
            engine = record.variant
        qualifier = ", ".join(part for part in (engine, figure.qualifier) if part)
        row = rows.setdefault((figure.model, qualifier, figure.standing, figure.by), len(rows))
        column = keys[_column_key(figure, keys)]
        cell = Cell(
            row, column, float(record.value or 0), _number(record.low), _number(record.high), record.n or 0,
            hows.number(figure),
            WRONG_INTERVAL * interval_is_wrong(figure) | BEYOND * score_is_beyond(figure)
            | WARNED * bool(record.detail.get("warnings")),
        )  # fmt: skip
        if (row, column) in taken:
            continue  # the same figure of two splits of one file; `apart` has told of it
        taken[row, column] = cell
        table.extra += [(row, column, name, record.detail[name]) for name in _EXTRA if record.detail.get(name)]
    table.rows, table.cells = list(rows), list(taken.values())
    _add_paired(table, [figure for figure in figures if is_difference(figure.record)], rows, keys)
    methods = rank_columns(table)
    summarise(table)
    table.notes += methods
    return table


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


_Key = tuple[str, str, int | None, str]  # task, metric, layer, part


def _columns(table: BoardTable, figures: Sequence[Figure]) -> dict[_Key, int]:
    """Make the table's columns: tasks in the order of the records, the suite's own averages last."""
    own = [figure for figure in figures if figure.standing != "published"] or list(figures)
    sample: dict[_Key, Figure] = {}
    for figure in own:
        sample.setdefault((figure.record.task, figure.record.metric, figure.record.layer, figure.part), figure)
    known = {key[0] for key in sample}
    for figure in figures:
        if figure.record.task not in known:  # published and nothing else
            sample.setdefault((figure.record.task, figure.record.metric, figure.record.layer, figure.part), figure)
    rank = {name: index for index, name in enumerate(AVERAGES, 1)}
    ordered = sorted(sample, key=lambda key: (rank.get(key[0], 0), _KINDS.get(key[1], "") != "", key[2] or 0))
    last = {(key[0], key[1]): max(k[2] or 0 for k in sample if k[:2] == key[:2]) for key in sample if key[2]}
    metrics: dict[str, set[str]] = defaultdict(set)
    for task, metric, *_ in sample:
        metrics[task].add(metric)
    for key in ordered:
        task, metric, layer, part = key
        record = sample[key].record
        if table.suite == "resources":
            label = RESOURCE_HEADINGS.get((task, metric), f"{task} {metric}".replace("_", " "))
        elif len(metrics[task]) > 1:
            label = f"{task} {metric}"
        else:
            label = task
        label += (f" layer {layer}" if layer is not None else "") + (f" ({part})" if part else "")
        kind = _KINDS.get(metric, "score")
        if metric not in _KINDS and record.detail.get("of") in _KINDS:
            kind = _KINDS[str(record.detail["of"])]
        table.columns.append(
            Column(
                ":".join(str(bit) for bit in (task, metric, layer, part) if bit not in (None, "")),
                label,
                kind,
                metric in _LESS or metric.endswith("loss") or kind in _LESS_KINDS or (table.suite, metric) == _FALL,
                "cost" if kind != "score" else "average" if task in AVERAGES else "task",
                layer is None or layer == last[task, metric],
                _about(table.suite, record, part),
            )
        )
    return {key: number for number, key in enumerate(ordered)}


def _column_key(figure: Figure, keys: Mapping[_Key, int]) -> _Key:
    record = figure.record
    key = (record.task, record.metric, record.layer, figure.part)
    if key in keys:
        return key
    # published figures name a task's metric otherwise, or know of no parts
    ours = [other for other in keys if other[0] == record.task]
    return next((other for other in ours if other[1] in (record.metric, MEAN)), ours[0])


def _about(suite: str, record: Record, part: str) -> str:
    told = [f"{_TITLES.get(suite, suite)} {record.task}: {record.metric}"]
    if record.detail.get("split"):
        told.append(f"split {record.detail['split']}")
    told += [f"{name} {str(digest)[:12]}" for name, digest in record.hashes.items() if name in ("data", "protocol")]
    if record.n:
        told.append(f"{record.n:,} items")
    return ", ".join(told)


def _add_paired(
    table: BoardTable,
    figures: Iterable[Figure],
    rows: Mapping[tuple[str, str, str, str], int],
    keys: Mapping[_Key, int],
) -> None:
    """Paired differences under the two rows and the column that they are of."""
    by_model: dict[str, list[int]] = defaultdict(list)
    for (model, _, standing, _), row in rows.items():
        if standing != "published":
            by_model[model].append(row)
    by_task: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (task, metric, layer, _), column in keys.items():
        if layer is None:
            by_task[task, metric].append(column)
    for figure in figures:
        record = figure.record
        first, second = str(record.detail.get("model", "")), str(record.detail.get("against", ""))
        p_value, columns = record.detail.get("p_value"), by_task.get((record.task, str(record.detail.get("of"))), [])
        if p_value is None or record.value is None or len(columns) != 1:
            continue
        if len(by_model[first]) == len(by_model[second]) == 1:
            place = (by_model[first][0], by_model[second][0], columns[0])
            ends = (_number(record.low), _number(record.high))
            table.paired[place] = (float(record.value), *ends, float(p_value))


_MANY, _FEW = 40, 4  # in an overview of so many rows, columns that fewer have are shown on request
_OVERVIEW_COSTS = ("ms per text", "texts/s", "peak memory", "on disk")


def overview_table(tables: Sequence[BoardTable], names: Iterable[str] = ()) -> BoardTable:
    """One row per model: the main figure of every suite, and its costs on each machine.

    Args:
        names: models that have a row, figures or not.
    """
    board = BoardTable(OVERVIEW, "Overview", OVERVIEW)
    rows: dict[tuple[str, str, str, str], int] = {}
    for table in tables:
        for number in _main_columns(table):
            column = table.columns[number]
            name = table.title if table.suite != "resources" else _machine_name(table.variant)
            variant = f", {table.variant}" if table.variant and table.suite != "resources" else ""
            board.columns.append(
                Column(
                    f"{table.id}:{column.key}", f"{name}{variant}: {column.label}", column.kind, column.less,
                    column.role, True, column.about,
                )
            )  # fmt: skip
            for cell in table.cells:
                if cell.column == number:
                    model, qualifier, standing, by = table.rows[cell.row]
                    row = rows.setdefault((model, qualifier, standing, by), len(rows))
                    board.cells.append(
                        Cell(row, len(board.columns) - 1, cell.value, cell.low, cell.high, cell.n, cell.how,
                             cell.flags, cell.rank)
                    )  # fmt: skip
    present = {row[0] for row in rows}
    board.rows = [*rows, *((name, "", "measured", "") for name in names if name not in present)]
    if len(board.rows) > _MANY:
        filled = Counter(cell.column for cell in board.cells)
        for number, column in enumerate(board.columns):
            column.shown = filled[number] >= _FEW
    board.notes = [
        "One figure of each suite; its table has the others. Figures of different suites are not added up.",
        "Ranks are those of the tables that the figures are from.",
    ]
    return board


def _machine_name(variant: str) -> str:
    return variant.split(",")[0].split(";")[0] or "Speed"


def _main_columns(table: BoardTable) -> list[int]:
    if table.suite in ("resources", "morocco"):
        return [n for n, column in enumerate(table.columns) if column.label in _OVERVIEW_COSTS or column.key == "rps"]
    averages = [n for n, column in enumerate(table.columns) if column.role == "average"]
    if averages:
        count = {n: sum(cell.column == n for cell in table.cells) for n in averages}
        return [max(averages, key=lambda n: count[n])]
    summary = [n for n, column in enumerate(table.columns) if column.key == MEAN_KEY]
    tasks = [n for n, column in enumerate(table.columns) if column.role == "task"]
    return summary or tasks[:1]
