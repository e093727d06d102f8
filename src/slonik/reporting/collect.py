"""Reads what `slonik report` is given: result files and run folders. Refuses to mix what cannot be compared.

A result file is a list of records (`--json`). A run folder is read through its `passport.json`, and through the
`records.json` of a compression where there is one. No weights, corpora or benchmark data are opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.passport import FILE_NAME as PASSPORT_FILE
from slonik.core.passport import Passport
from slonik.core.records import Record, merge_records, read_records

RECORDS_FILE = "records.json"
# Hashes that belong to the model; every other hash describes the task and must agree between models.
MODEL_HASHES = frozenset({"weights", "model", "tokenizer", "checkpoint", "code"})


@dataclass
class Results:
    """Everything that was read.

    Attributes:
        records: all figures, a later file's replacing an earlier one's where the key is the same.
        passports: of the run folders, in the order given.
    """

    records: list[Record] = field(default_factory=list)
    passports: list[Passport] = field(default_factory=list)


def collect(paths: Sequence[str | Path], *, suites: Sequence[str] = ()) -> Results:
    """Read result files and run folders.

    Args:
        suites: take figures of these only; none named = all.

    Raises:
        SlonikError: a path that is neither, a broken file, or figures that cannot stand in one table.
    """
    results = Results()
    sources: list[tuple[str, list[Record]]] = []
    for path in map(Path, paths):
        if path.is_dir():
            passport, records = _read_folder(path)
            if passport is not None:
                results.passports.append(passport)
            sources.append((str(path), records))
        else:
            sources.append((str(path), read_records(path)))
    if suites:
        wanted = {name.replace("-", "_") for name in suites}
        sources = [(where, [record for record in records if record.suite in wanted]) for where, records in sources]
    check_comparable(sources)
    for _, records in sources:
        results.records = list(merge_records(results.records, records))
    return results


def _read_folder(folder: Path) -> tuple[Passport | None, list[Record]]:
    has_passport, has_records = (folder / PASSPORT_FILE).is_file(), (folder / RECORDS_FILE).is_file()
    if not has_passport and not has_records:
        raise SlonikError(
            f"{folder} holds neither {PASSPORT_FILE} nor {RECORDS_FILE}: give a checkpoint or --json files"
        )
    passport = Passport.read(folder) if has_passport else None
    records = list(passport.records) if passport else []
    if has_records:
        records = list(merge_records(records, read_records(folder / RECORDS_FILE)))
    return passport, records


def check_comparable(sources: Iterable[tuple[str, Sequence[Record]]]) -> None:
    """Check that the same task means the same everywhere, and the same name the same model.

    Args:
        sources: (where from, records).

    Raises:
        SlonikError: two records of one task with different hashes of data or protocol; or two records of one
            model on one task with different hashes of the weights.
    """
    seen: dict[tuple[object, ...], tuple[str, str]] = {}
    for where, records in sources:
        for record in records:
            if record.detail.get("published"):
                continue
            for name, value in record.hashes.items():
                about_model = name in MODEL_HASHES
                # Every engine of a speed measurement runs the same texts, so its variant does not part them.
                place: tuple[object, ...] = (record.suite, record.task, record.layer, name)
                if about_model:
                    place = ("model", record.model, name)
                elif record.suite != "resources":
                    place = (*place, record.variant, record.metric)
                known, first = seen.setdefault(place, (value, where))
                if known == value:
                    continue
                if about_model:
                    raise SlonikError(
                        f"two different models are called {record.model!r} ({name} {known[:12]} in {first}, "
                        f"{value[:12]} in {where}): measure one of them again under another name"
                    )
                task = f"{record.suite} {record.task}" + (f" ({record.variant})" if record.variant else "")
                raise SlonikError(
                    f"{task} was measured on different {name} ({known[:12]} in {first}, {value[:12]} in {where}): "
                    "such figures do not belong in one table; measure both again the same way, or choose others "
                    "with --suite"
                )
