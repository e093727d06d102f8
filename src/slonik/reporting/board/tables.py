"""Figures into tables: a row per model, a column per task, a table per suite and variant, and one overview of all.

Speeds of two machines never share a table. Who published or reported a row is part of the row. Every column says what
it is (metric, items, protocol), every cell how it was made (prefix, pooling, engine, seed). Ranks are ranges; rows that
lack a task are not ranked over tasks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slonik.core.records import Record
from slonik.reporting.board.apart import interval_is_wrong, score_is_beyond
from slonik.reporting.board.ranks import borda_points, copeland_points, mean_ranges, places, rank_ranges
from slonik.reporting.board.reading import Figure
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
_LESS_KINDS = {"ms", "s", "gib", "bytes", "count"}
_HOW = ("prefix", "query_prefix", "document_prefix", "pooling", "classifier", "selected_on", "split", "threads", "url",
        "first_stage", "scaled", "mteb_version", "revision", "prompt")  # fmt: skip
_EXTRA = ("per_label", "categories", "confusion", "labels", "unseen_classes")
WRONG_INTERVAL, BEYOND, WARNED = 1, 2, 4  # flags of a cell
MEAN_KEY, BORDA_KEY, COPELAND_KEY, COVERED_KEY, MORE_KEY = (
    "= mean",
    "= Borda",
    "= Copeland",
    "= tasks",
    "= mean of more",
)
_Summary = tuple[int, str, float, float, float, tuple[int, int]]  # row, key, value, low, high, range of ranks
OVERVIEW = "overview"


@dataclass
class Column:
    """A column of a table.

    Attributes:
        key: its name in links; unique in its table.
        label: its heading.
        kind: how its values are written: "score", "ms", "s", "rate", "gib", "bytes", "count", "ratio", "number",
            "points", "share".
        less: less is better.
        role: "task", "average" (an average that the suite defines), "summary" (over the tasks here), "cost".
        shown: whether it is shown where nobody has chosen columns.
        about: what it is, for people.
    """

    key: str
    label: str
    kind: str = "score"
    less: bool = False
    role: str = "task"
    shown: bool = True
    about: str = ""


@dataclass
class Cell:
    """One value in a table; `rank` is the range of ranks in its column among rows of its standing, (0, 0) = none."""

    row: int
    column: int
    value: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    how: int = 0
    flags: int = 0
    rank: tuple[int, int] = (0, 0)


@dataclass
class BoardTable:
    """One table of the board.

    Attributes:
        rows: (model, qualifier, standing, by).
        notes: what a reader has to know, a sentence each.
        paired: (row, row, column) -> (difference first minus second, low, high, p-value) on the same items.
        extra: (row, column, name, content): per-label tables, confusion and the like.
    """

    id: str
    title: str
    suite: str
    variant: str = ""
    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paired: dict[tuple[int, int, int], tuple[float, float, float, float]] = field(default_factory=dict)
    extra: list[tuple[int, int, str, Any]] = field(default_factory=list)


class Hows:
    """What is said of how cells were made, each said once: a cell has its number."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}

    def number(self, figure: Figure) -> int:
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


def board_tables(figures: Sequence[Figure], hows: Hows) -> list[BoardTable]:
    """Every suite and variant that has figures, in order; a suite's machine is part of it where it measures speed."""
    groups: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    for figure in figures:
        value = figure.record.value
        if (value is not None and math.isfinite(value)) or is_difference(figure.record):
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
    methods = _rank_columns(table)
    _summarise(table)
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
                metric in _LESS or kind in _LESS_KINDS,
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


def _standing(row: tuple[str, str, str, str]) -> bool:
    return row[2] == "published"


def _rank_columns(table: BoardTable) -> list[str]:
    """Give every cell its range of ranks; sentences that say by which tests."""
    by_column: dict[tuple[int, bool], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        by_column[cell.column, _standing(table.rows[cell.row])].append(cell)
    paired: dict[int, dict[tuple[int, int], float]] = defaultdict(dict)
    for (first, second, column), (*_, p_value) in table.paired.items():
        paired[column][first, second] = p_value
    methods: dict[str, list[str]] = defaultdict(list)
    for (column, _), cells in by_column.items():
        values, low, high = (np.full(len(table.rows), np.nan) for _ in range(3))
        for cell in cells:
            values[cell.row] = cell.value
            if not cell.flags & WRONG_INTERVAL:
                low[cell.row], high[cell.row] = cell.low, cell.high
        found = rank_ranges(values, low, high, paired[column], less=table.columns[column].less)
        if not found.method:
            continue
        for cell in cells:
            cell.rank = int(found.low[cell.row]), int(found.high[cell.row])
        methods[found.method].append(table.columns[column].label)
    return [
        f"Ranks are ranges: who is not surely better or worse shares them (all pairs of a column, Holm's correction at "
        f"5 %; by {method})" + (f" in {', '.join(labels)}" if len(methods) > 1 and len(labels) < 8 else "")
        for method, labels in methods.items()
    ]


def _summarise(table: BoardTable) -> None:
    """Columns over the tasks, before all others: how many a row has; of rows that have all, mean, Borda, Copeland.

    What counts is what the fullest measured row has; where published rows have more, their mean over more tasks is a
    column of its own: no two means over other tasks stand in one column.
    """
    tasks = _counted_tasks(table)
    if len(tasks) < 2:
        return
    held: dict[int, dict[int, Cell]] = defaultdict(dict)
    for cell in table.cells:
        if cell.column in tasks:
            held[cell.row][cell.column] = cell
    groups = {kind: [row for row in held if _standing(table.rows[row]) == kind] for kind in (False, True)}
    cores = [core for rows in groups.values() if len(core := _core(rows, held)) > 1]
    if not cores:
        return
    core, *more = cores
    new: list[_Summary] = [
        (row, COVERED_KEY, len(set(found) & set(core)) / len(core), np.nan, np.nan, (0, 0))
        for row, found in held.items()
    ]
    for kind, rows in groups.items():
        whole = [row for row in rows if set(core) <= set(held[row])]
        new += _summary_cells(whole, core, held) if whole else []
        if lacking := len(rows) - len(whole):
            table.notes.append(
                f"{lacking} of {len(rows)} {'published' if kind else 'measured'} rows lack one of {len(core)} tasks, "
                "so they are not ranked over them"
            )
    labels = ", ".join(table.columns[column].label for column in core)
    table.notes.insert(
        0, f"Mean, Borda (share of rivals beaten) and Copeland (duels won minus lost) are over: {labels}"
    )
    keys = {MEAN_KEY: f"mean of {len(core)} tasks"}
    for other in more:
        if not set(other) <= set(core):
            whole = [row for row in held if set(other) <= set(held[row])]
            cells = _summary_cells([row for row in whole if _standing(table.rows[row])], other, held)
            new += [(cell[0], MORE_KEY, *cell[2:]) for cell in cells if cell[1] == MEAN_KEY]
            keys[MORE_KEY] = f"mean of {len(other)} tasks"
    _put_before(table, new, keys)


def _counted_tasks(table: BoardTable) -> list[int]:
    """Columns that count as a task: its mean of two metrics where there is one, else its first metric."""
    first: dict[tuple[str, str], int] = {}
    for number, column in enumerate(table.columns):
        if column.role != "task" or column.less or not column.shown:
            continue
        task, *rest = column.key.split(":")
        place = (task, rest[1] if len(rest) > 1 else "")
        if place not in first or (rest and rest[0] == MEAN):
            first[place] = number
    return sorted(first.values())


def _core(rows: Sequence[int], held: Mapping[int, Mapping[int, Cell]]) -> list[int]:
    """The tasks that the fullest row has; of several as full, those that most rows have."""
    best: tuple[int, int, list[int]] = (0, 0, [])
    for tasks in sorted({tuple(sorted(held[row])) for row in rows}):
        whole = sum(set(tasks) <= set(held[row]) for row in rows)
        if (len(tasks), whole) > best[:2]:
            best = len(tasks), whole, list(tasks)
    return best[2]


def _summary_cells(whole: Sequence[int], core: Sequence[int], held: Mapping[int, Mapping[int, Cell]]) -> list[_Summary]:
    scores = np.array([[held[row][column].value for column in core] for row in whole])
    widths = np.array([[held[row][column].high - held[row][column].low for column in core] for row in whole])
    means, low, high, ranks = mean_ranges(scores, widths / 3.92)
    cells = []
    for number, row in enumerate(whole):
        rank = (int(ranks.low[number]), int(ranks.high[number])) if ranks.method else (0, 0)
        cells.append((row, MEAN_KEY, float(means[number]), float(low[number]), float(high[number]), rank))
    if len(whole) < 2:
        return cells
    for key, points in ((BORDA_KEY, borda_points(scores)), (COPELAND_KEY, copeland_points(scores))):
        for row, value, place in zip(whole, points, places(points), strict=True):
            cells.append((row, key, float(value), np.nan, np.nan, (int(place), int(place))))
    return cells


def _put_before(table: BoardTable, new: Sequence[_Summary], means: Mapping[str, str]) -> None:
    """Put the columns of the summary before all others.

    Args:
        means: key of a mean -> its heading.
    """
    about = "Mean over tasks, of rows that have all of them"
    made = {key: Column(key, label, role="summary", about=about) for key, label in means.items()} | {
        BORDA_KEY: Column(BORDA_KEY, "Borda", "share", role="summary", about="Share of rivals beaten, over tasks"),
        COPELAND_KEY: Column(COPELAND_KEY, "Copeland", "points", role="summary", about="Duels won minus duels lost"),
        COVERED_KEY: Column(COVERED_KEY, "tasks", "share", role="summary", about="Share of the counted tasks it has"),
    }
    order = (MEAN_KEY, BORDA_KEY, COPELAND_KEY, COVERED_KEY, MORE_KEY)
    used = [key for key in order if any(one[1] == key for one in new)]
    shift = len(used)
    table.columns = [made[key] for key in used] + table.columns
    for cell in table.cells:
        cell.column += shift
    table.paired = {(a, b, column + shift): found for (a, b, column), found in table.paired.items()}
    table.extra = [(row, column + shift, name, content) for row, column, name, content in table.extra]
    for row, key, value, low, high, rank in new:
        table.cells.append(Cell(row, used.index(key), value, low, high, rank=rank, how=-1))


_OVERVIEW_COSTS = ("ms per text", "texts/s", "peak memory", "on disk")


def overview_table(tables: Sequence[BoardTable]) -> BoardTable:
    """One row per model: the main figure of every suite, and its costs on each machine."""
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
    board.rows = list(rows)
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
