"""A sweep's results: one Parquet file with a row for each run and metric, and the table that is made of it.

The best setting is that with the best mean over seeds of the metric that chose the checkpoints, a metric of the
development set; whatever else was measured is in the file and chooses nothing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import new_file
from slonik.reporting.table import Table

FILE = "sweep.parquet"
DEVELOPMENT, MEASURED = "development", "measured"
DONE, FAILED, OPEN = "done", "failed", "open"


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One metric of one run, or a run without any.

    Attributes:
        run: its name. command: of slonik. setting: "key=value, key=value". settings: the same as JSON.
        seed: of the run, where seeds were swept.
        state: "done", "failed" or "open". sentence: why it failed.
        role: "development" for the metric that chooses, "measured" for everything else; None without a metric.
        suite, task, variant, metric, value, low, high, n: as in a result record.
        higher_is_better: of the development metric.
        seconds: of the run. out: its folder.
    """

    run: str
    command: str
    setting: str
    settings: str
    seed: int | None
    state: str
    sentence: str = ""
    role: str | None = None
    suite: str | None = None
    task: str | None = None
    variant: str | None = None
    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    higher_is_better: bool | None = None
    seconds: float | None = None
    out: str = ""


def check_parquet() -> None:
    """Refuse a Python without pyarrow, before any run.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra("the table of a sweep", "parquet", "pyarrow") from None


def write_sweep(path: Path, rows: Iterable[SweepRow]) -> None:
    """Write the rows, whole or not at all.

    Raises:
        SlonikError: a full disk. MissingExtra: pyarrow is not installed.
    """
    check_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, whole, flag = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    kinds = {"seed": whole, "value": number, "low": number, "high": number, "n": whole, "seconds": number}
    schema = pa.schema([(one.name, kinds.get(one.name, text)) for one in fields(SweepRow)])
    place = schema.get_field_index("higher_is_better")
    schema = schema.set(place, pa.field("higher_is_better", flag))
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    with new_file(path) as temporary:
        pq.write_table(table, temporary)


def is_sweep(path: Path) -> bool:
    """Whether it is a sweep's file, or a folder with one."""
    return path.suffix == ".parquet" or (path.is_dir() and (path / FILE).is_file())


def read_sweep(path: Path) -> list[SweepRow]:
    """The rows of a sweep's file, or of the one in a folder.

    Raises:
        SlonikError: it cannot be read, or is no sweep's.
        MissingExtra: pyarrow is not installed.
    """
    check_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / FILE if path.is_dir() else path
    try:
        content = pq.read_table(file).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SlonikError(f"{file} cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from None
    wanted = {one.name for one in fields(SweepRow)}
    if content and set(content[0]) != wanted:
        raise SlonikError(f"{file} is no file of slonik sweep: give its {FILE}, files of --json, or checkpoints")
    return [SweepRow(**row) for row in content]


@dataclass(frozen=True)
class Setting:
    """The runs of one setting over seeds.

    Attributes:
        command: of slonik. setting: what was set. settings: the same by key.
        metric: the development metric; None where no run tells of one. higher_is_better: of it.
        values: of the runs that are done, by seed.
        done, failed, open: how many runs.
    """

    command: str
    setting: str
    settings: dict[str, Any]
    metric: str | None
    higher_is_better: bool
    values: tuple[float, ...]
    done: int
    failed: int
    open: int

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def settings_of(rows: Sequence[SweepRow]) -> list[Setting]:
    """Rows by setting, in their order.

    Raises:
        SlonikError: runs that were chosen by different metrics.
    """
    names = dict.fromkeys((row.command, row.setting, row.settings) for row in rows)
    metrics = dict.fromkeys((row.metric, row.higher_is_better) for row in rows if row.role == DEVELOPMENT)
    if len(metrics) > 1:
        raise SlonikError(
            f"runs of this sweep were chosen by different metrics ({', '.join(str(name) for name, _ in metrics)}): "
            "sweep them apart"
        )
    metric, higher = next(iter(metrics), (None, True))
    found = []
    for command, setting, settings in names:
        own = [row for row in rows if (row.command, row.setting) == (command, setting)]
        states = {row.run: row.state for row in own}
        values = tuple(row.value for row in own if row.role == DEVELOPMENT and row.value is not None)
        counts = [sum(state == wanted for state in states.values()) for wanted in (DONE, FAILED, OPEN)]
        found.append(Setting(command, setting, json.loads(settings), metric, higher is not False, values, *counts))
    return found


def best_setting(settings: Sequence[Setting]) -> Setting | None:
    """The setting with the best mean over seeds on the development set; None where there is none.

    Only settings with as many finished runs as the most have are compared: a mean of fewer seeds is luckier.
    """
    most = max((len(one.values) for one in settings), default=0)
    full = [one for one in settings if one.values and len(one.values) == most]
    return max(full, key=lambda one: (one.mean or 0.0) * (1 if one.higher_is_better else -1), default=None)


def sweep_tables(rows: Sequence[SweepRow]) -> list[Table]:
    """Settings side by side, and the runs that failed with their sentences."""
    settings = settings_of(rows)
    best = best_setting(settings)
    metric = next((one.metric for one in settings if one.metric), None)
    command = next((one.command for one in settings), "")
    measured = f"{metric}, mean over seeds" if metric else "metric"
    columns = ("setting", measured, "sd", "from", "to", "runs", "failed", "open", "")
    lines = [
        (
            one.setting or "as the recipe", _number(one.mean), _number(one.spread),
            _number(min(one.values, default=None)), _number(max(one.values, default=None)), one.done, one.failed,
            one.open, "best" if one is best and len(settings) > 1 else "",
        )
        for one in settings
    ]  # fmt: skip
    tables = [Table.of(f"Sweep of slonik {command}, development set", columns, lines)]
    failed = dict.fromkeys((row.run, row.sentence) for row in rows if row.state == FAILED)
    if failed:
        tables.append(Table.of("Runs that failed", ("run", "why"), list(failed)))
    return tables


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
