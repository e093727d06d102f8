"""Result files, passports and folders of runs into figures: each a record with where it was read and who measured it.

Reads a folder with everything below it. What is no result file (plans, logs, configurations) is counted and told, what
looks like one and is broken is refused by name; nothing is dropped. No figure is judged here: see `apart`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.passport import FILE_NAME as PASSPORT_FILE
from slonik.core.passport import Passport
from slonik.core.records import Record, read_records
from slonik.reporting.board.spreadsheet import read_spreadsheet

DISTRIBUTION_FILE = "distribution.json"
PREDICTIONS_HEADER = ".header.json"
_RECORD_FIELDS = {"suite", "task", "model", "metric", "value"}
_LOOKS_LIKE_ONE = 3  # of these fields: a list of such objects was meant to be result records
_CARD_FILE = "README.md"
_LONGEST_CARD = 60_000  # characters
_SKIPPED_FOLDERS = {".git", "__pycache__", ".venv", "node_modules"}


@dataclass(frozen=True)
class Figure:
    """A record and where it comes from.

    Attributes:
        source: the file that it was read from, or the publication.
        standing: "measured" (by who runs the board), "published" (read somewhere) or "reported" (by a third party).
        by: who published or reported it.
        model: the row's model, after names were mapped; what parts two rows of one model is `qualifier`.
        part: what parts two columns of one task: other items, another protocol.
    """

    record: Record
    source: str
    standing: str = "measured"
    by: str = ""
    model: str = ""
    qualifier: str = ""
    part: str = ""


@dataclass(frozen=True)
class Answers:
    """What models answered to the same items, for looking at two of them item by item.

    Attributes:
        items: hash of the items.
        ids: (n,) numbers of the items, as text.
        by_model: model -> (n,) answers, as text.
        gold: (n,) right answers, as text; None where they are not known.
        texts: (n,) the items' texts; None where the data is not at hand or its licence does not let them be shown.
        licence: of the texts.
    """

    suite: str
    task: str
    split: str
    items: str
    ids: tuple[str, ...]
    by_model: Mapping[str, tuple[str, ...]]
    gold: tuple[str, ...] | None = None
    texts: tuple[str, ...] | None = None
    licence: str = ""


@dataclass
class Found:
    """Everything that was read.

    Attributes:
        passports: model's name -> its passport.
        facts: model's name -> what folders say of it: family, licence, dimension, card.
        predictions: files of predictions with a header, which an evaluation's room can read.
        notices: sentences for who looks at the board.
    """

    figures: list[Figure] = field(default_factory=list)
    passports: dict[str, Passport] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    predictions: list[Path] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def figure_of(record: Record, source: str) -> Figure:
    """A figure; what its record says of who measured it decides its standing."""
    detail = record.detail
    if by := detail.get("reported_by"):
        return Figure(record, source, "reported", str(by), record.model)
    if detail.get("published"):
        return Figure(record, source, "published", str(detail.get("source", "published")), record.model)
    return Figure(record, source, "measured", "", record.model)


def read_sources(paths: Sequence[str | Path]) -> Found:
    """Read files and folders, the latter with everything below them.

    Raises:
        SlonikError: no such path, a broken result file, a later version's file, or nothing that could be read.
    """
    found = Found()
    passed: Counter[str] = Counter()
    for path in map(Path, paths):
        if not path.exists():
            raise SlonikError(f"there is no {path}: give files written by --json and folders of runs or checkpoints")
        top = path if path.is_dir() else path.parent
        for file in _files(path):
            if not _read_file(found, file, str(file.relative_to(top.parent)), asked=path == file):
                passed[file.suffix.lstrip(".")] += 1
    if passed:
        kinds = ", ".join(f"{count} .{kind}" for kind, count in sorted(passed.items()))
        found.notices.append(f"passed over, as they hold no result records: {kinds} files")
    if not found.figures and not found.passports:
        raise SlonikError(f"nothing was measured in {', '.join(map(str, paths))}: run slonik evaluate or bench first")
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        hidden = _SKIPPED_FOLDERS.intersection(file.relative_to(path).parts)
        if not hidden and file.suffix in (".json", ".csv", ".jsonl") and file.is_file():
            yield file


def _read_file(found: Found, file: Path, source: str, *, asked: bool) -> bool:
    """Read one file into `found`; whether it was one of ours. One that was named on its own has to be."""
    if file.name == PASSPORT_FILE:
        _read_passport(found, file.parent, source)
    elif file.name == DISTRIBUTION_FILE or file.name.endswith(PREDICTIONS_HEADER):
        return True  # read with the passport, and with the predictions, that they stand beside
    elif file.suffix == ".jsonl":
        if not file.with_name(file.name.removesuffix(".jsonl") + PREDICTIONS_HEADER).is_file():
            if asked:
                raise SlonikError(f"{file} has no {PREDICTIONS_HEADER} beside it, so it is no file of predictions")
            return False
        found.predictions.append(file)
    elif file.suffix == ".csv":
        records = read_spreadsheet(file, strict=asked)
        if records is None:
            return False
        found.figures += [figure_of(record, source) for record in records]
    elif asked or _is_result_file(file):
        found.figures += [figure_of(record, source) for record in read_records(file)]
    else:
        return False
    return True


def _is_result_file(file: Path) -> bool:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(content, list) or not content:
        return False
    return any(isinstance(one, dict) and len(_RECORD_FIELDS & set(one)) >= _LOOKS_LIKE_ONE for one in content)


def _read_passport(found: Found, folder: Path, source: str) -> None:
    passport = Passport.read(folder)
    name = passport.name
    facts: dict[str, Any] = {}
    distribution = _json_object(folder / DISTRIBUTION_FILE)
    if distribution.get("name"):
        name = f"embedded:{distribution['name']}"
        facts["licence"] = str(distribution.get("licence") or "")
    config = _json_object(folder / "config.json")
    if config.get("model_type"):
        facts["family"] = str(config["model_type"])
        facts["dimension"] = config.get("hidden_size") or config.get("d_model")
        if (card := folder / _CARD_FILE).is_file():
            facts["card"] = card.read_text(encoding="utf-8", errors="replace")[:_LONGEST_CARD]
    licences = [step.license for step in passport.lineage if step.license]
    facts.setdefault("licence", licences[-1] if licences else "")
    if name in found.passports and found.passports[name].lineage != passport.lineage:
        found.notices.append(f"{source}: another passport of {name}, with another lineage, was read before; both stand")
        name = f"{name} ({folder.name})"
    found.passports[name] = passport
    found.facts[name] = {key: value for key, value in facts.items() if value}
    renamed = {passport.name: name}
    for record in passport.records:
        model = renamed.get(record.model, record.model)
        figure = figure_of(record.model_copy(update={"model": model}) if model != record.model else record, source)
        found.figures.append(figure)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def add_records(found: Found, records: Iterable[Record], source: str) -> None:
    """Add records that were made and not read, e.g. published rows."""
    found.figures += [figure_of(record, source) for record in records]
