"""Ranks of a table's columns as ranges, and columns that sum up its tasks: mean, Borda, Copeland, how many a row has.

Published rows are ranked apart from measured ones. Rows that lack a task are not ranked over tasks, and two means over
other tasks never stand in one column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from slonik.reporting.board.cells import (
    BORDA_KEY,
    COPELAND_KEY,
    COVERED_KEY,
    MEAN_KEY,
    MORE_KEY,
    WRONG_INTERVAL,
    BoardTable,
    Cell,
    Column,
)
from slonik.reporting.board.ranks import borda_points, copeland_points, mean_ranges, places, rank_ranges
from slonik.reporting.scores import MEAN

_Summary = tuple[int, str, float, float, float, tuple[int, int]]  # row, key, value, low, high, range of ranks


def _standing(row: tuple[str, str, str, str]) -> bool:
    return row[2] == "published"


def rank_columns(table: BoardTable) -> list[str]:
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


def summarise(table: BoardTable) -> None:
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
