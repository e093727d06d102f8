"""What others measured on the tasks of MTEB(rus): rows of the public results repository, as records marked published.

`published.tsv` holds main scores (fractions) of 148 models on the 23 tasks of MTEB(rus, v1.1), read in August 2026 from
the repository embeddings-benchmark/results. They have no intervals: the repository keeps no answers to items. A newer
reading of the same shape (a JSON list of objects with model, parameters, dimension, tasks) may be given instead.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.records import Record

SUITE = "mteb"
BENCHMARK = "MTEB(rus, v1.1)"
MAIN = "main_score"
SOURCE = "embeddings-benchmark/results, read 2026-08"
_FILE = Path(__file__).with_name("published.tsv")
_ABOUT = ("model", "parameters", "dimension")


def published_records(path: str | Path | None = None) -> list[Record]:
    """One record per model and task.

    Args:
        path: a newer reading of the results; None = the one that comes with slonik.

    Raises:
        SlonikError: `path` is no such file.
    """
    rows = _own_rows() if path is None else _given_rows(Path(path))
    source = SOURCE if path is None else f"published results in {Path(path).name}"
    records = []
    for model, facts, scores in rows:
        detail = {"published": True, "source": source, **facts}
        records += [
            Record(suite=SUITE, variant=BENCHMARK, task=task, model=model, metric=MAIN, value=value, detail=detail)
            for task, value in scores.items()
        ]
    return records


def _own_rows() -> Iterator[tuple[str, dict[str, Any], dict[str, float]]]:
    with _FILE.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            facts = {name: int(row[name]) for name in _ABOUT[1:] if row[name]}
            yield row["model"], facts, {task: float(v) for task, v in row.items() if task not in _ABOUT and v}


def _given_rows(path: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, float]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SlonikError(f"{path} is not a readable file of published results ({error})") from None
    for number, row in enumerate(content if isinstance(content, list) else [None]):
        if not isinstance(row, Mapping) or not isinstance(row.get("tasks"), Mapping) or not row.get("model"):
            raise SlonikError(
                f"entry {number} of {path} is no published row: give a list of objects with model, parameters, "
                "dimension and tasks (name -> main score)"
            )
        facts = {name: row[name] for name in _ABOUT[1:] if row.get(name)}
        scores = {str(task): float(value) for task, value in row["tasks"].items() if value is not None}
        beyond = next((task for task, value in scores.items() if not -1 <= value <= 1), None)
        if beyond is not None:
            raise SlonikError(f"{path}: {row['model']} has {scores[beyond]:g} on {beyond}: give fractions")
        yield str(row["model"]), facts, scores
