"""Speed, memory and size: systems side by side with the ratios to one of them, and MOROCCO's measurements.

A system is a model with the engine that runs it. Reads records only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slonik.core.records import Record
from slonik.reporting.formatting import cell, difference_cell, interval, times
from slonik.reporting.table import Cell, Content, Table

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
_RATIO = ("batch_1", "ratio")
# Better, worse, and what is said where the interval holds 1.
_WORDS = {
    "batch_1": ("faster at batch 1", "slower at batch 1", "the speed at batch 1"),
    "best_batch": ("more texts per second", "fewer texts per second", "the texts per second"),
    "cold_start": ("quicker to start", "slower to start", "the speed of starting"),
    "memory": ("less memory", "more memory", "the memory"),
    "size": ("smaller on disk", "larger on disk", "the size"),
}
_PROCESSOR = ("less processor time", "more processor time", "processor time")
_UNSURE = "no sure difference"
# A bootstrap interval of the median of up to five runs is their range, which holds the median less often than 95 %.
_RUNS_FOR_95 = 6


def _trusted(ratio: Record) -> bool:
    return ratio.detail.get("trusted") is not False


def system_name(record: Record) -> str:
    """Name of a system: "model [engine]", or one of them where they are the same."""
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
    found = {(system_name(record), record.task, record.metric): record for record in records}
    names = list(dict.fromkeys(name for name, *_ in found))
    headings = {_RATIO: "times faster"} | COLUMNS
    columns = {key: words for key, words in headings.items() if any((name, *key) in found for name in names)}

    def content(name: str, key: tuple[str, str]) -> Content:
        record = found.get((name, *key))
        if key != _RATIO:
            return cell(record)
        if record is None:
            return "1×"
        return difference_cell(record, zero=1) if _trusted(record) else Cell("not to be trusted", mark="warning")

    notes = _notes(records, machine, threads)
    return Table.grid(
        "Speed and memory", "model [engine]", {name: name for name in names}, columns, content, notes=notes
    )


def _notes(records: Sequence[Record], machine: str, threads: str) -> list[str]:
    notes = []
    references = sorted({str(record.detail["against"]) for record in records if record.metric == "ratio"})
    if references:
        notes.append(f"times faster: against {', '.join(references)}, round by round, at batch 1")
    notes += [f"not to be trusted: {line}" for line in _doubted(records)]
    latency = next((record for record in records if record.metric == "ms_per_text"), None)
    if latency is not None:
        rounds = len(latency.detail.get("runs", []))
        over = (
            f"median of {rounds} rounds with its {level(rounds)} interval" if rounds > 1 else "one round, no interval"
        )
        notes.append(f"{latency.n} texts one by one, {over}; texts/s at each system's best batch size")
    if machine:
        notes.append(f"{threads} thread{'' if threads == '1' else 's'} on {machine}")
    return notes


def _doubted(records: Sequence[Record]) -> list[str]:
    """Of each system whose times by the clock are doubtful: why, and what the processor's time says instead."""
    processor = _processor_ratios(records)
    found = []
    for record in records:
        if (record.task, record.metric) == _RATIO and not _trusted(record):
            name = system_name(record)
            said = "; ".join([record.detail["warnings"][0], *_spent(processor.get(name))])
            found.append(f"how many times faster {name} is: {said}")
    return found


def _processor_ratios(records: Iterable[Record]) -> dict[str, Record]:
    """System -> its ratio of processor time, where that is to be trusted."""
    return {system_name(record): record for record in records if record.metric == "cpu_ratio" and _trusted(record)}


def _spent(ratio: Record | None) -> list[str]:
    """What a ratio of processor time says; nothing where there is none, or it is 1."""
    phrase = _phrase(ratio, _PROCESSOR) if ratio is not None and ratio.value is not None else ""
    return [phrase] if phrase else []


def headlines(records: Iterable[Record]) -> list[str]:
    """One sentence per system that was compared: how many times faster, leaner, smaller it is."""
    found: dict[tuple[str, str], list[str]] = {}
    closeness: dict[str, str] = {}
    doubtful: list[Record] = []
    own = [record for record in records if record.suite == SUITE and record.value is not None]
    processor = _processor_ratios(own)
    for record in own:
        if record.metric == "cosine":
            closeness[system_name(record)] = f"cosine {record.value:.4f} to it"
        if record.metric != "ratio" or record.task not in _WORDS:
            continue
        if not _trusted(record):
            doubtful.append(record)
            continue
        if phrase := _phrase(record):
            found.setdefault((system_name(record), str(record.detail.get("against"))), []).append(phrase)
    for record in doubtful:
        name = system_name(record)
        phrases = found.setdefault((name, str(record.detail.get("against"))), [])
        phrases.append(f"{_WORDS[record.task][2]} is not to be trusted: {record.detail['warnings'][0]}")
        if record.task == "batch_1":
            phrases += _spent(processor.get(name))
    return [
        f"{name} against {against}: {'; '.join([*phrases, *([closeness[name]] if name in closeness else [])])}"
        for (name, against), phrases in found.items()
    ]


def _phrase(record: Record, words: tuple[str, str, str] | None = None) -> str:
    """What one ratio says; "" where it is 1."""
    assert record.value is not None
    if abs(record.value - 1) < _SAME:
        return ""
    better, worse, unsure = words or _WORDS[record.task]
    if record.low is not None and record.high is not None and record.low <= 1 <= record.high:
        return f"{times(record.value)} {interval('ratio', record.low, record.high)} {unsure}, {_UNSURE}"
    value, ends = record.value, (record.low, record.high)
    if value < 1:
        value = 1 / value
        ends = (1 / record.high if record.high else None, 1 / record.low if record.low else None)
    told = better if record.value >= 1 else worse
    return f"{times(value)} {interval('ratio', *ends)} {told}".replace("  ", " ")


def level(runs: int) -> str:
    """How surely the interval of a median of so many runs holds it: "95 %", and less for up to five runs.

    The range of n runs holds their distribution's median unless all n fall on one side of it: 1 - 2^(1 - n).
    """
    return f"{0.95 if runs >= _RUNS_FOR_95 else 1 - 2 ** (1 - runs):.0%}".replace("%", " %")


MOROCCO = "morocco"
_MOROCCO_COLUMNS = {"init_time": "init, s", "rps": "records/s", "gpu_ram": "GPU memory, GiB", "ram": "memory, GiB"}


def morocco_table(records: Iterable[Record]) -> Table:
    """One row per model and task; medians with their 95 % intervals over runs."""
    found = {(record.model, record.task, record.metric): record for record in records if record.suite == MOROCCO}
    fewest = min((one.n for one in found.values() if one.low is not None and one.n), default=0)
    spread = f"median over runs and its {level(fewest)} interval" if fewest else "median over runs"
    return Table.grid(
        "MOROCCO",
        ("model", "task"),
        {place: place for place in sorted({(model, task) for model, task, _ in found})},
        _MOROCCO_COLUMNS,
        lambda place, metric: cell(found.get((*place, metric))),
        notes=[f"{spread}; init and memory from runs on one record, by the published rule"],
    )


def warnings_of(records: Sequence[Record]) -> list[str]:
    """What is doubtful or missing, one sentence each, with the model and task it is about."""
    found = []
    for record in records:
        where = " ".join(part for part in (record.model, record.task, record.metric) if part)
        warnings = list(record.detail.get("warnings", []))
        if record.value is None and record.detail.get("reason") not in warnings:
            warnings.append(record.detail.get("reason", "not measured"))
        if record.metric != "gpu_ram" or record.value is not None:  # without a GPU there is nothing to warn of
            found += [f"{where}: {warning}" for warning in warnings]
    return found
