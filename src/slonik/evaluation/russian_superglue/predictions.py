"""Predictions of one model for one split of one task, on disk: JSON Lines with probabilities, and a header.

`FOLDER/<task>.<split>.jsonl` has a line `{"idx": ..., "label": ..., "probabilities": {...}}` per example, in the
order of the data; `<task>.<split>.header.json` says what they are predictions of: task, protocol version, hash of
the items. A file that was cut, edited, or made for other items is refused by name. The site's own format is made
from these by `submission`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json, write_text
from slonik.evaluation.russian_superglue.readers import read_rows
from slonik.evaluation.russian_superglue.tasks import (
    PROTOCOL,
    SUITE,
    TASKS,
    Example,
    Idx,
    Label,
    Task,
    items_hash,
    label_name,
    label_names,
    parse_label,
)

_TOLERANCE = 1e-3  # by which probabilities may miss the sum of one: they are written with six digits


@dataclass(frozen=True)
class Prediction:
    """An answer to one example.

    Attributes:
        idx: the example's number.
        label: the answer, in the task's own type.
        probabilities: label name -> probability, summing to one; for RuCoS entity -> probability; None where the
            model gives none (a text-to-text model, a vote).
    """

    idx: Idx
    label: Label
    probabilities: Mapping[str, float] | None = None


class Header(BaseModel):
    """What a file of predictions is.

    Attributes:
        task: the task's id.
        protocol: benchmark and version.
        split: "val", "val_crowd", "test" or "train".
        items: hash of the items that were answered (numbers and texts).
        n: number of predictions.
        model: the model's name as the user gave it.
        seed: the seed of its training, where there is one.
        weights: hash of its weights, where there is one.
        detail: whatever else is worth knowing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str = SUITE
    task: str
    protocol: str = PROTOCOL
    split: str
    items: str
    n: int
    model: str
    seed: int | None = None
    weights: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """A header with its rows."""

    header: Header
    rows: tuple[Prediction, ...]


def predicted(
    task_id: str,
    split: str,
    examples: Sequence[Example],
    rows: Iterable[Prediction],
    *,
    model: str,
    **facts: Any,
) -> Predictions:
    """Rows with the header that describes them, checked against the examples; `facts` are further fields of `Header`.

    Raises:
        SlonikError: unknown task, or rows that are not one per example.
    """
    kept = tuple(rows)
    task = lookup(task_id, TASKS, "task").id
    header = Header(task=task, split=split, items=items_hash(examples), n=len(kept), model=model, **facts)
    return Predictions(header, aligned(examples, kept, f"predictions of {model} for {task_id}"))


def aligned(examples: Sequence[Example], rows: Sequence[Prediction], what: str) -> tuple[Prediction, ...]:
    """The rows in the order of the examples.

    Raises:
        SlonikError: a missing, an unknown or a repeated number.
    """
    by_number = {row.idx: row for row in rows}
    if len(by_number) < len(rows):
        twice = next(row.idx for row in rows if sum(other.idx == row.idx for other in rows) > 1)
        raise SlonikError(f"{what}: the number {twice!r} comes twice: give one answer per item")
    known = {example.idx for example in examples}
    unknown = [row.idx for row in rows if row.idx not in known]
    missing = [example.idx for example in examples if example.idx not in by_number]
    if unknown or missing:
        parts = [f"no answer to {missing[0]!r} ({len(missing)} missing)"] if missing else []
        parts += [f"an answer to {unknown[0]!r}, which is no item ({len(unknown)} such)"] if unknown else []
        raise SlonikError(f"{what} are not of these items: {' and '.join(parts)}; predict the same file again")
    return tuple(by_number[example.idx] for example in examples)


def write_predictions(folder: str | Path, predictions: Predictions) -> Path:
    """Write rows and header into `folder`, atomically each; a file of the same task and split is replaced.

    Returns:
        The file of rows.
    """
    header = predictions.header
    lines = [json.dumps(_as_dict(row), ensure_ascii=False) for row in predictions.rows]
    path = Path(folder) / f"{header.task}.{header.split}.jsonl"
    write_text(path, "".join(f"{line}\n" for line in lines))
    write_json(_header_of(path), header.model_dump())
    return path


def read_predictions(path: str | Path) -> Predictions:
    """Predictions written by `write_predictions`.

    Args:
        path: the file of rows (`terra.val.jsonl`); its header lies beside it.

    Raises:
        SlonikError: no such file, no header, a cut file, a wrong label, or another protocol version.
    """
    file = Path(path)
    header = _read_header(_header_of(file))
    task = lookup(header.task, TASKS, "task")
    rows = tuple(parse_prediction(task, row, where) for row, where in read_rows(file))
    if len(rows) != header.n:
        raise SlonikError(f"{file} has {len(rows)} predictions, its header says {header.n}: the file is cut or edited")
    return Predictions(header, rows)


def parse_prediction(task: Task, row: Mapping[str, Any], where: str) -> Prediction:
    """One line of a file of predictions.

    Raises:
        SlonikError: no number, a wrong label, or probabilities that are not of this task or do not sum to one.
    """
    idx = row.get("idx")
    if isinstance(idx, bool) or not isinstance(idx, int | str):
        raise SlonikError(f"{where}: 'idx' is missing or neither a number nor a text")
    if "label" not in row:
        raise SlonikError(f"{where}: 'label' is missing")
    label = parse_label(task, row["label"], where)
    return Prediction(idx, label, parse_probabilities(task, row.get("probabilities"), where))


def check_items(predictions: Predictions, examples: Sequence[Example], what: str) -> tuple[Prediction, ...]:
    """The rows in the order of the examples, after making sure that they answer these examples.

    Args:
        what: the file's name, for the sentence.

    Raises:
        SlonikError: predictions of other items, or with other numbers.
    """
    rows = aligned(examples, predictions.rows, what)
    if predictions.header.items != items_hash(examples):
        raise SlonikError(
            f"{what} answers other items than this data file: same numbers, other texts; predict this file again"
        )
    return rows


def find_predictions(folder: str | Path) -> list[Path]:
    """Files of predictions in a folder, sorted; empty where there is none."""
    found = Path(folder)
    if not found.is_dir():
        return []
    return sorted(path for path in found.glob("*.jsonl") if has_header(path))


def has_header(path: Path) -> bool:
    """Whether a file of predictions has its header beside it."""
    return _header_of(path).is_file()


def _header_of(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.jsonl')}.header.json")


def _as_dict(row: Prediction) -> dict[str, Any]:
    content: dict[str, Any] = {"idx": row.idx, "label": row.label}
    if row.probabilities is not None:
        content["probabilities"] = {name: round(float(value), 6) for name, value in row.probabilities.items()}
    return content


def _read_header(path: Path) -> Header:
    try:
        header = Header.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SlonikError(f"there is no header {path}: predictions need the one that `slonik predict` wrote") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SlonikError(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SlonikError(f"{path} is not a header of predictions: {name}: {first['msg']}") from None
    if header.protocol != PROTOCOL:
        raise SlonikError(
            f"{path} has predictions for the protocol {header.protocol!r}, this is {PROTOCOL!r}: scores of the two do "
            "not mix; predict again on the data of this version"
        )
    return header


def parse_probabilities(task: Task, found: Any, where: str) -> dict[str, float] | None:
    """Probabilities read from JSON; None where there are none.

    Raises:
        SlonikError: not an object of numbers, other labels than the task's, or another sum than one.
    """
    if found is None:
        return None
    numbers = isinstance(found, dict) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 for value in found.values()
    )
    if not numbers or not found:
        raise SlonikError(f"{where}: 'probabilities' must be an object of numbers between 0 and 1")
    names = label_names(task)
    if names and set(found) != set(names):
        raise SlonikError(f"{where}: probabilities of {sorted(found)}, the labels of {task.name} are {list(names)}")
    if abs(sum(found.values()) - 1) > _TOLERANCE + 1e-6 * len(found):
        raise SlonikError(f"{where}: the probabilities sum to {sum(found.values()):.4f}, not to one")
    return {label_name(name): float(value) for name, value in found.items()}
