"""What a third party hands in is checked before it stands on a board: who measured, by which protocol, on which items.

Checks records, from a file of result records or a CSV; predictions are scored first, by the room of their benchmark.
Nothing is believed that can be compared: hashes of data and protocol are held against our own figures of the same
task. What passes is marked `reported_by` and stands in rows of its own.

Rows of a submitter's own have no published protocol, and nobody else has to have them: their hash alone says what was
measured, and they stand in columns of their own. Paired differences follow from the figures and are left out.
"""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.records import Record, read_records
from slonik.core.run import Result
from slonik.reporting.board.apart import SCORED, interval_is_wrong, score_is_beyond
from slonik.reporting.board.reading import Figure
from slonik.reporting.board.spreadsheet import read_spreadsheet
from slonik.reporting.scores import is_difference

_SUITES = SCORED | {"resources", "morocco"}
_OWN = "own"
_NEEDED = ("data", "protocol")
_NO_ITEMS = frozenset({"resources", "morocco"})


@dataclass(frozen=True, kw_only=True)
class Checked(Result):
    """A submission that passed.

    Attributes:
        by: who measured.
        confirmed: figures whose items and protocol are those of ours.
        notices: what could not be compared.
    """

    by: str = ""
    confirmed: int = 0
    notices: tuple[str, ...] = ()


def read_submission(path: str | Path) -> list[Record]:
    """Records of a submission: .json as --json writes it, or .csv.

    Raises:
        SlonikError: another kind of file, or one that is broken.
    """
    file = Path(path)
    if file.suffix == ".csv":
        records = read_spreadsheet(file) or []
    elif file.suffix == ".json":
        records = read_records(file)
    else:
        raise SlonikError(
            f"{path} is neither records (.json, .csv) nor predictions with their header (.jsonl): unpack an archive"
        )
    if not records:
        raise SlonikError(f"{path} holds no figure")
    return records


def check_records(records: Sequence[Record], what: str, ours: Iterable[Figure], *, by: str | None = None) -> Checked:
    """Check the records of a submission; those that pass, marked as reported.

    Args:
        what: the file's name, for sentences.
        ours: figures of our own, whose hashes say what the items and the protocol of a task are.
        by: who measured; None = as each record says (`detail.reported_by`).

    Raises:
        SlonikError: a figure that cannot stand on a board; the sentence names it and says why.
    """
    known: dict[tuple[str, str, str, str], list[Figure]] = defaultdict(list)
    for figure in ours:
        if figure.standing == "measured":
            known[_place(figure.record)].append(figure)
    accepted, names, compared, notices, apart = [], set(), 0, [], set()
    seen: set[tuple[object, ...]] = set()
    differences = sum(map(is_difference, records))
    if differences == len(records):
        raise SlonikError(f"{what} holds differences of two models alone, which are no figures of one: hand in the two")
    if differences:
        notices.append(f"{differences} differences of two models are left out: they follow from the figures of the two")
    for number, record in enumerate(records):
        if is_difference(record):
            continue
        where = f"{what}, record {number} ({record.model} on {record.suite} {record.task})"
        name = by or str(record.detail.get("reported_by") or "")
        if not name:
            raise SlonikError(f"{where}: nobody is said to have measured it: give --by NAME, or reported_by with it")
        if record.key() in seen:
            raise SlonikError(f"{where} is there twice: give each figure once")
        seen.add(record.key())
        _check_figure(record, where)
        ours_of_it = known.get(_place(record), [])
        if record.suite == _OWN and not _same_items(record, ours_of_it):
            _check_hashes(record, where, ("data",))
            apart.add(record.task)
        else:
            compared += _check_items(record, where, ours_of_it)
        names.add(name)
        detail = {key: value for key, value in record.detail.items() if key != "published"} | {"reported_by": name}
        accepted.append(record.model_copy(update={"detail": detail}))
    if apart:
        notices.append(
            f"rows of the submitter's own have no published protocol ({', '.join(sorted(apart))}): they are told by "
            "their hash, stand in columns of their own, and are ranked with what was measured on the same rows alone"
        )
    unheld = (*_NO_ITEMS, _OWN)
    unknown = sorted({f"{r.suite} {r.task}" for r in accepted if not known.get(_place(r)) and r.suite not in unheld})
    if unknown:
        shown = ", ".join(unknown[:8]) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        notices.append(
            f"no figures of ours to hold these against (--against DIR), so their hashes are as stated: {shown}"
        )
    return Checked(records=tuple(accepted), by=", ".join(sorted(names)), confirmed=compared, notices=tuple(notices))


def _place(record: Record) -> tuple[str, str, str, str]:
    return record.suite, record.task, record.variant, record.metric


def _check_figure(record: Record, where: str) -> None:
    figure = Figure(record, where)
    if lacking := [name for name in ("suite", "task", "model", "metric") if not getattr(record, name).strip()]:
        raise SlonikError(f"{where}: its {lacking[0]} is empty: a figure on a board needs one")
    if record.suite not in _SUITES:
        near = difflib.get_close_matches(record.suite, _SUITES, n=1, cutoff=0.6)
        if near:
            raise SlonikError(f"{where}: there is no suite {record.suite!r}; did you mean {near[0]!r}?")
    if record.value is None or not math.isfinite(record.value):
        raise SlonikError(f"{where}: it has no value: leave out what was not measured")
    if (record.low is None) != (record.high is None):
        raise SlonikError(f"{where}: an interval has two ends, low and high: give both or none")
    if interval_is_wrong(figure):
        raise SlonikError(
            f"{where}: its value {record.value:g} is not in its interval [{record.low:g}, {record.high:g}]"
        )
    if score_is_beyond(figure):
        raise SlonikError(f"{where}: its value is {record.value:g}: scores are fractions, divide percentages by 100")


def _check_items(record: Record, where: str, ours: Sequence[Figure]) -> bool:
    """Whether its items and protocol were held against ours; raise where they are missing or others."""
    if record.suite in _NO_ITEMS:
        return False
    _check_hashes(record, where, ("data",) if record.suite == _OWN else _NEEDED)
    if not ours:
        return False
    for name, says in (("protocol", "measured by another protocol"), ("data", "answers other items")):
        known = _known(name, ours)
        if known and record.hashes.get(name) and not _is_known(record, name, known):
            raise SlonikError(
                f"{where}: it {'was ' if name == 'protocol' else ''}{says} ({name} {record.hashes[name][:12]}, ours "
                f"{', '.join(one[:12] for one in known)}): scores of the two do not mix"
            )
    return True


def _check_hashes(record: Record, where: str, needed: Sequence[str]) -> None:
    missing = next((name for name in needed if not record.hashes.get(name)), None)
    if missing is not None:
        what = "its items" if missing == "data" else "the protocol"
        raise SlonikError(
            f"{where}: it has no hash of {what} (hashes.{missing}), so nobody can know what was measured: take it from "
            "slonik evaluate --json"
        )


def _known(name: str, ours: Sequence[Figure]) -> list[str]:
    return sorted({figure.record.hashes[name] for figure in ours if figure.record.hashes.get(name)})


def _is_known(record: Record, name: str, known: Sequence[str]) -> bool:
    return any(record.hashes.get(name) in (one, one[:12]) for one in known)


def _same_items(record: Record, ours: Sequence[Figure]) -> bool:
    """Whether ours of the same task are on the very rows of a record."""
    return _is_known(record, "data", _known("data", ours))
