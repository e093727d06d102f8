"""Does a reduced file do on encodechka what its fp32 file does? `slonik export --data-dir` asks before it writes.

Export itself judges by cosines of 500 texts alone. The floor here is `encodechka.mean_s5_drop` of the same data file
(`export/floors.json`): the loss in the mean of the five tasks with public data, in either variant of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slonik import runtime
from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.evaluation.encodechka import AVERAGES, compare, evaluate
from slonik.exporting.parity import floors
from slonik.exporting.run import FILES

AVERAGE = "mean_s5"


def encodechka_judge(data: Path) -> Callable[[Path], list[Record]]:
    """A judge for `slonik.exporting.export`: records of every file in a folder, paired differences to fp32 included.

    Args:
        data: the data folder, with encodechka/ in it.

    The judge raises SlonikError when data of the five tasks is missing, or when a file loses more than the floor.
    """

    def judge(folder: Path) -> list[Record]:
        names = [name for name, file in FILES.items() if (folder / "onnx" / file).is_file()]
        found = []
        for name in names:
            encoder = runtime.load(folder, file=FILES[name], threads=1)
            encoder.name = name
            one = evaluate(encoder, data, tasks=AVERAGES[AVERAGE], use_cache=False)
            if one.missing:
                raise SlonikError(
                    f"{AVERAGE} needs all of {', '.join(AVERAGES[AVERAGE])}, and {data / 'encodechka'} lacks "
                    f"{', '.join(one.missing)}: run slonik fetch encodechka --data-dir {data}, or leave --data-dir out"
                )
            found.append(one)
        differences = compare(found)
        for record in differences:
            _hold(record)
        return [record for one in found for record in one.records] + differences

    return judge


def _hold(record: Record) -> None:
    floor = floors()["encodechka"][f"{AVERAGE}_drop"]
    if record.task != AVERAGE or record.value is None or record.value >= -floor:
        return
    raise SlonikError(
        f"{record.detail['model']} loses {-record.value:.4f} of {AVERAGE} ({record.variant}) against fp32 on "
        f"encodechka [{record.low:.4f}, {record.high:.4f}], over the floor of {floor}: "
        "nothing is written; try another --int8"
    )
