"""Paired differences between encoders that were scored on the same items, task by task and over all tasks at once.

The bootstrap drew the same items for every encoder, so replicates subtract. A difference is a record of its own,
under the model name "B - A" and the metric "difference": nobody can take it for a score of B. Speeds differ only where
the two were timed in turns: times that were taken minutes apart compare loads of the machine.

`export_judge` holds exported files to their fp32 file that way: export itself judges by cosines of 500 texts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from slonik import runtime
from slonik.core.errors import SlonikError
from slonik.core.paths import data_dir as data_folder
from slonik.core.records import Record
from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.evaluation.encodechka.scoring import SpeedBeside
from slonik.evaluation.encodechka.tasks import AVERAGES, SUITE
from slonik.evaluation.resources.in_turns import REPEATABLE
from slonik.evaluation.statistics import Difference, Interval, paired_difference, replicates

_JUDGED_BY = "mean_s5"


def compare(evaluations: Sequence[EncoderScores]) -> list[Record]:
    """Every later encoder minus the first, for each task and average that both have.

    Returns:
        Records with the difference as `value`, its 95 % interval, and in `detail` the two models and the two-sided
        bootstrap p-value.
    """
    records = []
    for other in evaluations[1:]:
        first = evaluations[0]
        for key, measured in other.measured.items():
            if key not in first.measured or first.measured[key].record.hashes["data"] != measured.record.hashes["data"]:
                continue
            if key[1] == "speed":
                if key[0] in other.beside:
                    records.append(_speed_difference(first.model, other, measured.record, other.beside[key[0]]))
                continue
            base = first.measured[key]
            before, after = base.record.value, measured.record.value
            if before is None or after is None or base.values.shape != measured.values.shape:
                continue
            found = paired_difference(before, base.values, after, measured.values)
            own = measured.record
            records.append(
                found.record(
                    other.model, first.model, own.metric, suite=SUITE, task=own.task, variant=own.variant, n=own.n,
                    seed=own.seed, hashes={"data": own.hashes["data"]},
                )
            )  # fmt: skip
    return records


def _speed_difference(first: str, other: EncoderScores, own: Record, beside: SpeedBeside) -> Record:
    """Milliseconds per text more than the first; the interval is widened by what two loads of equal weights differ."""
    room = REPEATABLE * beside.first
    values = replicates(beside.statistic, seed=own.seed or 0, sample="speed in turns")
    value = beside.second - beside.first
    found = paired_difference(0.0, np.zeros_like(values), value, values)
    ends = Interval(value, found.interval.low - room, found.interval.high + room)
    nearer = np.sign(values) * np.maximum(np.abs(values) - room, 0.0)
    p_value = paired_difference(0.0, np.zeros_like(nearer), value, nearer).p_value
    return Difference(ends, p_value).record(
        other.model, first, own.metric, suite=SUITE, task=own.task, variant=own.variant, n=own.n, seed=own.seed,
        hashes={"data": own.hashes["data"]}, detail=beside.detail,
    )  # fmt: skip


def export_judge(data_dir: str | Path | None = None) -> Callable[[Path], list[Record]]:
    """A judge for `slonik.exporting.run.export`: records of every file in a folder, with paired differences to fp32.

    The floor is `encodechka.mean_s5_drop` of the exporting room's `floors.json`: the loss in the mean of the five
    tasks with public data, in either variant of the protocol.

    Args:
        data_dir: the data folder, with encodechka/ in it; None = $SLONIK_DATA or the user's cache folder.

    The judge raises SlonikError when data of the five tasks is missing, or when a file loses more than the floor.
    """
    from slonik.exporting.files import FILES
    from slonik.exporting.parity import floors  # torch: only those who export have it

    data = data_folder(data_dir)
    floor = floors()["encodechka"][f"{_JUDGED_BY}_drop"]

    def judge(folder: Path) -> list[Record]:
        names = [name for name, file in FILES.items() if (folder / "onnx" / file).is_file()]
        found = []
        for name in names:
            encoder = runtime.load(folder, file=FILES[name], threads=1)
            encoder.name = name
            one = evaluate(encoder, data, tasks=AVERAGES[_JUDGED_BY], use_cache=False)
            if one.missing:
                raise SlonikError(
                    f"{_JUDGED_BY} needs all of {', '.join(AVERAGES[_JUDGED_BY])}, and {data / 'encodechka'} lacks "
                    f"{', '.join(one.missing)}: run slonik fetch encodechka --data-dir {data}, or leave --data-dir out"
                )
            found.append(one)
        differences = compare(found)
        for record in differences:
            if record.task == _JUDGED_BY and record.value is not None and record.value < -floor:
                raise SlonikError(
                    f"{record.detail['model']} loses {-record.value:.4f} of {_JUDGED_BY} ({record.variant}) against "
                    f"fp32 on encodechka [{record.low:.4f}, {record.high:.4f}], over the floor of {floor}: nothing is "
                    "written; try another --int8"
                )
        return [record for one in found for record in one.records] + differences

    return judge
