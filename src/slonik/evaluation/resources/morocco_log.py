"""The published MOROCCO log format: one JSON object a line, about three a second, one file per run.

LOGDIR/MODEL/TASK/SIZE_BATCH_NN.jsonl holds the samples of run NN on SIZE input records in batches of BATCH. A
sample has `timestamp` (seconds), `cpu_usage` (1.0 = one core), `ram` (bytes), `gpu_usage` (fraction) and
`gpu_ram` (bytes), each but the first null where it was not seen. This module reads and writes such files and
finds them in a folder; what follows from them is computed in `morocco_score`.

Source: RussianNLP/MOROCCO, bench/README.md and bench/main.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from slonik.core.errors import SlonikError
from slonik.core.files import write_text

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
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SlonikError(f"{path} is not a readable log: {error}") from None
    samples: list[Sample] = []
    for number, line in enumerate(lines, 1):
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
