"""Result records: the flat objects that every measurement writes and every report reads.

There is one record per (suite, task, variant, model, metric), and one per layer too for probing. `value` is a
fraction, never a percentage; `low` and `high` are the ends of its 95 % interval. Averages are records too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slonik.core.errors import SlonikError
from slonik.core.files import write_json


class Record(BaseModel):
    """One measured value.

    Attributes:
        suite: what it belongs to, e.g. "encodechka".
        task: the task's id in lower case, e.g. "sts", or an average's name, e.g. "mean_s".
        variant: the protocol variant, e.g. "compatible" or "fixed"; "" where there is one only.
        model: the model's name as the user gave it.
        metric: the metric's name, e.g. "spearman".
        value: what was measured; None when it could not be computed (the reason goes into `detail`).
        low, high: ends of the 95 % interval, None where there is no such thing.
        n: number of items behind the value.
        seed: the seed behind the value, where there is one.
        seconds: time that the measurement took.
        layer: the layer that was probed (0 = embeddings), for probing only.
        detail: whatever else is worth knowing (the pooling that won, values per class).
        hashes: hashes of weights, data and protocol.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    task: str
    variant: str = ""
    model: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = Field(None, ge=0)
    seed: int | None = None
    seconds: float | None = None
    layer: int | None = None
    detail: dict[str, Any] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)

    def key(self) -> tuple[str, str, str, str, str, int | None]:
        """What identifies a record: (suite, task, variant, model, metric, layer)."""
        return (self.suite, self.task, self.variant, self.model, self.metric, self.layer)

    def as_dict(self) -> dict[str, Any]:
        """A flat JSON object; `layer` only where it is set."""
        content = self.model_dump()
        if self.layer is None:
            del content["layer"]
        return content


def merge_records(old: Iterable[Record], new: Iterable[Record]) -> tuple[Record, ...]:
    """`old` followed by `new`, a later record replacing an earlier one with the same key."""
    merged = {record.key(): record for record in old}
    for record in new:
        merged.pop(record.key(), None)
        merged[record.key()] = record
    return tuple(merged.values())


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """Write records as a JSON list, atomically."""
    write_json(path, [record.as_dict() for record in records])


def read_records(path: str | Path) -> list[Record]:
    """Read a JSON list of records.

    Raises:
        SlonikError: no such file, not JSON, or an object that is not a record (the first is named).
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SlonikError(f"there is no result file {path}: give a file written by --json") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SlonikError(f"{path} is not a readable result file ({error}): give a file written by --json") from None
    if not isinstance(content, list):
        raise SlonikError(f"{path} is not a list of result records: give a file written by --json")
    records = []
    for number, item in enumerate(content):
        try:
            records.append(Record.model_validate(item))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the object"
            if first["type"] == "extra_forbidden":
                raise SlonikError(
                    f"record {number} of {path} has the field {where!r}, which this version of slonik does not know: "
                    f"it was written by a later one, or by hand (known: {', '.join(Record.model_fields)})"
                ) from None
            raise SlonikError(f"record {number} of {path} is not a result record: {where}: {first['msg']}") from None
    return records
