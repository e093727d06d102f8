"""MOROCCO's logs, read and written, and what follows from them by the published rule: start, speed and memory.

LOGDIR/MODEL/TASK/SIZE_BATCH_NN.jsonl holds the samples of run NN on SIZE input records in batches of BATCH: one JSON
object a line, about three a second. A sample has `timestamp` (seconds), `cpu_usage` (1.0 = one core), `ram` (bytes),
`gpu_usage` (fraction) and `gpu_ram` (bytes), each but the first null where it was not seen.

    init_time = median over runs on one record of (last - first timestamp)
    gpu_ram   = median over those runs of the greatest gpu_ram: the model's size, not the peak of a big batch
    rps       = median over runs on many records of input_size / (last - first timestamp - init_time)

`ram` follows `gpu_ram`'s rule, for models that run without a GPU. The published rule knows no spread: quartiles
and intervals are ours, and so is the flag on a run whose time without initialisation is under ten sampling
periods, since the quotient then measures the sampling. The interval of rps takes init_time as given.

Source: RussianNLP/MOROCCO, bench/main.py (format and rule) and bench/README.md (1 record in batches of 1, 2000 in
batches of 32, five runs each). Commands are run and watched by `morocco_run`.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_text
from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.evaluation.statistics import median_interval, quartiles
from slonik.text.lines import numbered_lines

SUITE = "morocco"
SMALL = (1, 1)  # (input size, batch size)
BIG = (2000, 32)
TRUSTED_PERIODS = 10
_PUBLISHED_RUNS = 5
_GIB = 2**30
_RULE = {
    "init_time": "median of the time of runs on one record",
    "gpu_ram": "median over runs on one record of the greatest gpu_ram",
    "rps": "median over big runs of input_size / (time - init_time)",
}

RUN_FILE = "run.json"  # beside our own logs: what they are of
_NAME = re.compile(r"(\d+)_(\d+)_(\d+)\.jsonl")
_FIELDS = ("timestamp", "cpu_usage", "ram", "gpu_usage", "gpu_ram")


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment of a run; None = not seen."""

    timestamp: float
    cpu_usage: float | None = None
    ram: float | None = None
    gpu_usage: float | None = None
    gpu_ram: float | None = None


@dataclass(frozen=True)
class Log:
    """The samples of one run.

    Attributes:
        model, task: names of the two folders above the file.
        input_size, batch_size, repeat: from the file's name.
        samples: in order of time, at least one.
    """

    path: Path
    model: str
    task: str
    input_size: int
    batch_size: int
    repeat: int
    samples: tuple[Sample, ...]

    @property
    def total_time(self) -> float:
        """Seconds from the first sample to the last."""
        return self.samples[-1].timestamp - self.samples[0].timestamp

    @property
    def period(self) -> float:
        """Median seconds between samples; 0 where there is one sample only."""
        moments = [sample.timestamp for sample in self.samples]
        return median(after - before for before, after in pairwise(moments)) if moments[1:] else 0

    def peak(self, field: str) -> float | None:
        """The greatest value of `ram` or `gpu_ram`; None where it was never seen."""
        seen = [value for sample in self.samples if (value := getattr(sample, field)) is not None]
        return max(seen, default=None)


def log_name(input_size: int, batch_size: int, repeat: int) -> str:
    """The file name of a run, e.g. 2000_32_01.jsonl."""
    return f"{input_size}_{batch_size}_{repeat:02d}.jsonl"


def write_log(path: str | Path, samples: Iterable[Sample]) -> None:
    """Write the samples of one finished run, atomically."""
    write_text(path, "".join(json.dumps(asdict(sample)) + "\n" for sample in samples))


def find_logs(folder: str | Path, wanted: Iterable[tuple[int, int]]) -> list[Path]:
    """Log files below `folder` whose (input size, batch size) is one of `wanted`, sorted.

    Raises:
        SlonikError: no such folder, or no such log in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SlonikError(f"there is no folder {root}: give the folder that holds MODEL/TASK/SIZE_BATCH_NN.jsonl")
    sizes = set(wanted)
    names = {path: match for path in sorted(root.rglob("*.jsonl")) if (match := _NAME.fullmatch(path.name))}
    found = [path for path, match in names.items() if (int(match[1]), int(match[2])) in sizes]
    if not found:
        patterns = " or ".join(f"{size}_{batch}_NN.jsonl" for size, batch in sorted(sizes))
        there = f" ({len(names)} logs of other sizes are there)" if names else ""
        raise SlonikError(f"no log {patterns} below {root}{there}: expected MODEL/TASK/SIZE_BATCH_NN.jsonl")
    return found


def read_log(path: str | Path) -> Log:
    """Read one log file.

    Raises:
        SlonikError: an empty file, a line that is not a sample, or a clock that goes back; the line is named.
    """
    place = Path(path).resolve()
    match = _NAME.fullmatch(place.name)
    if match is None:
        raise SlonikError(f"{path} is not named SIZE_BATCH_NN.jsonl, so its input size is unknown")
    samples: list[Sample] = []
    for number, line in numbered_lines(Path(path)):
        if not line.strip():
            continue
        sample = _sample(line, f"line {number} of {path}")
        if samples and sample.timestamp < samples[-1].timestamp:
            raise SlonikError(f"line {number} of {path}: the clock goes back, so no time can be told; run it again")
        samples.append(sample)
    if not samples:
        raise SlonikError(f"{path} holds no sample: remove it, or run it again")
    size, batch, repeat = (int(part) for part in match.groups())
    return Log(Path(path), place.parent.parent.name, place.parent.name, size, batch, repeat, tuple(samples))


def _sample(line: str, where: str) -> Sample:
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        shown = line if len(line) <= 40 else line[:40] + "..."
        raise SlonikError(f"{where} is not JSON ({shown!r}): remove the log, or run it again") from None
    if not isinstance(content, dict) or "timestamp" not in content:
        raise SlonikError(f"{where} is not a sample: an object with {', '.join(_FIELDS)} is expected")
    moment = _number(content["timestamp"], "timestamp", where)
    if moment is None:
        raise SlonikError(f"{where} has no timestamp: a number of seconds is expected")
    return Sample(moment, **{field: _number(content.get(field), field, where) for field in _FIELDS[1:]})


def _number(value: object, field: str, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise SlonikError(f"{where}: {field} is {value!r}, a number of at least 0 is expected")
    return value


def score(folder: str | Path, *, big: tuple[int, int] | None = None) -> list[Record]:
    """Records of every MODEL/TASK below `folder`: metrics init_time (s), gpu_ram and ram (GiB), rps.

    Args:
        folder: holds MODEL/TASK/SIZE_BATCH_NN.jsonl; logs of other sizes than 1_1 and `big` are not read.
        big: (input size, batch size) of the long runs; None = what the run.json beside our own logs says, and the
            published 2000 in batches of 32 where there is none.

    Returns:
        Sorted by model and task. A value that the logs cannot give has value None and the reason in
        `detail["reason"]`; warnings about a value are sentences in `detail["warnings"]`.

    Raises:
        SlonikError: no such logs, or a broken one.
    """
    stated = {path.parent: size for path in Path(folder).rglob(RUN_FILE) if (size := _stated_size(path))}
    wanted = {SMALL, big or BIG} | (set(stated.values()) if big is None else set())
    groups: dict[Path, list[Log]] = defaultdict(list)
    for path in find_logs(folder, wanted):
        groups[path.parent].append(read_log(path))
    named: dict[tuple[str, str], Path] = {}
    for place, logs in groups.items():
        if named.setdefault((logs[0].model, logs[0].task), place) != place:
            raise SlonikError(
                f"{named[logs[0].model, logs[0].task]} and {place} are both called {logs[0].model}/{logs[0].task}: "
                "score them one by one, or rename one"
            )
    found = [
        record for place, logs in groups.items() for record in _score_task(logs, big or stated.get(place, BIG))
    ]  # fmt: skip
    return sorted(found, key=lambda record: (record.model, record.task))


def read_run_file(path: Path) -> dict[str, Any]:
    """What a `run.json` says; nothing where there is none that is sound."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stated_size(path: Path) -> tuple[int, int] | None:
    sizes = [read_run_file(path).get(name) for name in ("input_size", "batch_size")]
    return (sizes[0], sizes[1]) if isinstance(sizes[0], int) and isinstance(sizes[1], int) else None


def _score_task(logs: Sequence[Log], big: tuple[int, int]) -> list[Record]:
    small_logs = [log for log in logs if (log.input_size, log.batch_size) == SMALL]
    big_logs = [log for log in logs if (log.input_size, log.batch_size) == big]
    return [
        _of_small_runs(logs[0], small_logs, "init_time", [run.total_time for run in small_logs]),
        *(_of_small_runs(logs[0], small_logs, field, _peaks(small_logs, field)) for field in ("gpu_ram", "ram")),
        _rate(logs[0], small_logs, big_logs, big),
    ]


def _peaks(logs: Sequence[Log], field: str) -> list[float]:
    """GiB of each run that saw any."""
    return [peak / _GIB for run in logs if (peak := run.peak(field)) is not None]


def _record(log: Log, metric: str, value: float | None, ends: tuple[float, float] | None, detail: Any) -> Record:
    low, high = ends if ends and value is not None else (None, None)
    # The rule's hash, so that values of another rule are never put in one table with these.
    hashes = {"protocol": sha256_json(_RULE)}
    runs = detail.get("runs")
    return Record(
        suite=SUITE, task=log.task, model=log.model, metric=metric, value=value, low=low, high=high,
        n=len(runs) if runs is not None else 0, seconds=detail.pop("seconds", None), detail=detail, hashes=hashes,
    )  # fmt: skip


def _of_small_runs(log: Log, small: Sequence[Log], metric: str, values: Sequence[float]) -> Record:
    if not values:
        reason = f"no sample of these runs has {metric}" if small else "no run on one record (1_1_NN.jsonl)"
        return _record(log, metric, None, None, {"reason": reason})
    detail = _spread(values)
    if len(values) < len(small):
        detail["warnings"] = [f"{len(small) - len(values)} of {len(small)} runs have no {metric}"]
    return _record(log, metric, median(values), median_interval(values), detail)


def _rate(log: Log, small: Sequence[Log], big: Sequence[Log], size: tuple[int, int]) -> Record:
    if not small or not big:
        missing = "1_1_NN.jsonl" if not small else f"{size[0]}_{size[1]}_NN.jsonl"
        return _record(log, "rps", None, None, {"reason": f"no log {missing}"})
    init = median(run.total_time for run in small)
    left = [run.total_time - init for run in big]
    rates = [size[0] / time if time > 0 else float("inf") for time in left]
    if median(rates) == float("inf"):
        reason = f"runs on {size[0]} records took no longer ({min(left):+.2f} s) than those on one: give it more"
        return _record(log, "rps", None, None, {"reason": reason, "warnings": [reason]})
    # Given init_time: with five runs its own bootstrap is the range, and one cold start in it makes rps boundless.
    ends = median_interval(rates) if max(rates) < float("inf") else None
    detail = _spread([rate for rate in rates if rate != float("inf")])
    detail |= {"input_size": size[0], "batch_size": size[1], "seconds": sum(run.total_time for run in big)}
    if warnings := _warnings(left, big):
        detail["warnings"] = warnings
    return _record(log, "rps", median(rates), ends, detail)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    low, high = quartiles(values)
    return {"q25": low, "q75": high, "runs": [round(value, 6) for value in values]}


def _warnings(left: Sequence[float], big: Sequence[Log]) -> list[str]:
    """Sentences about big runs that are too short to trust, or far from the others."""
    found = []
    short = [
        (time, run.period) for time, run in zip(left, big, strict=True) if time < TRUSTED_PERIODS * run.period
        or len(run.samples) < 3
    ]  # fmt: skip
    if short:
        found.append(
            f"{len(short)} of {len(big)} runs too short to trust: {min(time for time, _ in short):.2f} s without "
            f"initialisation, {TRUSTED_PERIODS} sampling periods of {short[0][1]:.2f} s are needed; "
            "give it more records"
        )
    middle = median(left)
    odd = [time for time in left if time > 1.5 * middle or time < middle / 1.5]
    if odd and not short:
        found.append(f"{len(odd)} of {len(big)} runs took more than 1.5 times longer or shorter than the median")
    if len(big) == 1:
        found.append("only 1 run: there is no interval")
    elif len(big) < _PUBLISHED_RUNS:
        # The interval of so few is their range, which misses the median when all runs fall on one side of it.
        found.append(f"only {len(big)} runs: their interval holds the median with {1 - 2 ** (1 - len(big)):.0%}")
    return found
