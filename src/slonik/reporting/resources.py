"""Speed, memory and size of contenders as a table, with the ratios to one of them as the headline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slonik.core.records import Record
from slonik.reporting.figures import cell, interval, times, write
from slonik.reporting.table import ABSENT, Cell, Table, row

SUITE = "resources"
# (task, metric) -> heading.
COLUMNS: dict[tuple[str, str], str] = {
    ("batch_1", "ms_per_text"): "ms per text",
    ("batch_1", "p50_ms"): "p50",
    ("batch_1", "p95_ms"): "p95",
    ("batch_1", "p99_ms"): "p99",
    ("batch_1", "cpu_ms_per_text"): "CPU ms",
    ("best_batch", "texts_per_second"): "texts/s",
    ("cold_start", "seconds"): "cold start, s",
    ("memory", "peak_bytes"): "peak memory",
    ("size", "bytes"): "on disk",
}
_SAME = 0.005  # ratios nearer to 1 than this go without saying
_FASTER = "times faster"
# Better, worse, and what is said where the interval holds 1.
_WORDS = {
    "batch_1": ("faster at batch 1", "slower at batch 1", "the speed at batch 1"),
    "best_batch": ("more texts per second", "fewer texts per second", "the texts per second"),
    "cold_start": ("quicker to start", "slower to start", "the speed of starting"),
    "memory": ("less memory", "more memory", "the memory"),
    "size": ("smaller on disk", "larger on disk", "the size"),
}
_UNSURE = "no sure difference"
# A bootstrap interval of the median of up to five runs is their range, which holds the median less often than 95 %.
_RUNS_FOR_95 = 6


def contender(record: Record) -> str:
    """Name of the contender: "model [engine]", or one of them where they are the same."""
    return record.model if record.variant in ("", record.model) else f"{record.model} [{record.variant}]"


def resources_tables(records: Iterable[Record]) -> list[Table]:
    """One table per machine and number of threads: speeds of two machines do not stand in one table."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.suite == SUITE:
            key = (str(record.detail.get("machine", "")), str(record.detail.get("threads", "")))
            groups.setdefault(key, []).append(record)
    return [_table(found, machine, threads) for (machine, threads), found in groups.items()]


def _table(records: Sequence[Record], machine: str, threads: str) -> Table:
    figures = {(contender(record), record.task, record.metric): record for record in records}
    names = list(dict.fromkeys(contender(record) for record in records))
    columns = {key: heading for key, heading in COLUMNS.items() if any((name, *key) in figures for name in names)}
    ratios = any((name, "batch_1", "ratio") in figures for name in names)
    rows = []
    for name in names:
        cells = [cell(figures.get((name, *key))) for key in columns]
        if ratios:
            cells.insert(0, _ratio_cell(figures.get((name, "batch_1", "ratio"))))
        rows.append(row(name, cells))
    headings = ("model [engine]", *([_FASTER] if ratios else []), *columns.values())
    return Table("Speed and memory", headings, tuple(rows), tuple(_notes(records, machine, threads)))


def _ratio_cell(record: Record | None) -> Cell:
    if record is None:
        return Cell("1×")
    found = cell(record)
    if record.low is None or record.high is None:
        return found
    mark = "better" if record.low > 1 else "worse" if record.high < 1 else ""
    return Cell(found.text, found.spread, mark)  # type: ignore[arg-type]


def _notes(records: Sequence[Record], machine: str, threads: str) -> list[str]:
    notes = []
    references = sorted({str(record.detail["against"]) for record in records if record.metric == "ratio"})
    if references:
        notes.append(f"times faster: against {', '.join(references)}, round by round, at batch 1")
    latency = next((record for record in records if record.metric == "ms_per_text"), None)
    if latency is not None:
        rounds = len(latency.detail.get("runs", []))
        over = (
            f"median of {rounds} rounds with its {level(rounds)} interval" if rounds > 1 else "one round, no interval"
        )
        notes.append(f"{latency.n} texts one by one, {over}; texts/s at each contender's best batch size")
    if machine:
        notes.append(f"{threads} thread{'' if threads == '1' else 's'} on {machine}")
    return notes


def headlines(records: Iterable[Record]) -> list[str]:
    """One sentence per contender that was compared: how many times faster, leaner, smaller it is."""
    found: dict[tuple[str, str], list[str]] = {}
    closeness: dict[str, str] = {}
    for record in records:
        if record.suite != SUITE or record.value is None:
            continue
        if record.metric == "cosine":
            closeness[contender(record)] = f"cosine {record.value:.4f} to it"
        if record.metric != "ratio" or record.task not in _WORDS:
            continue
        if phrase := _phrase(record):
            found.setdefault((contender(record), str(record.detail.get("against"))), []).append(phrase)
    return [
        f"{name} against {against}: {'; '.join([*phrases, *([closeness[name]] if name in closeness else [])])}"
        for (name, against), phrases in found.items()
    ]


def _phrase(record: Record) -> str:
    """What one ratio says; "" where it is 1."""
    assert record.value is not None
    if abs(record.value - 1) < _SAME:
        return ""
    better, worse, unsure = _WORDS[record.task]
    if record.low is not None and record.high is not None and record.low <= 1 <= record.high:
        return f"{times(record.value)} {interval('ratio', record.low, record.high)} {unsure}, {_UNSURE}"
    value, ends = record.value, (record.low, record.high)
    if value < 1:
        value = 1 / value
        ends = (1 / record.high if record.high else None, 1 / record.low if record.low else None)
    words = better if record.value >= 1 else worse
    return f"{times(value)} {interval('ratio', *ends)} {words}".replace("  ", " ")


def level(runs: int) -> str:
    """How surely the interval of a median of so many runs holds it: "95 %", and less for up to five runs.

    The range of n runs holds their distribution's median unless all n fall on one side of it: 1 - 2^(1 - n).
    """
    return f"{0.95 if runs >= _RUNS_FOR_95 else 1 - 2 ** (1 - runs):.0%}".replace("%", " %")


def figure_of(records: Iterable[Record], task: str, metric: str) -> Cell:
    """The cell of the first record of this task and metric; a dash where there is none."""
    found = next((record for record in records if (record.task, record.metric) == (task, metric)), None)
    return cell(found) if found is not None else ABSENT


def written(record: Record) -> str:
    """A record's figure as text."""
    return "–" if record.value is None else write(record.metric, record.value)
