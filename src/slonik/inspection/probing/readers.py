"""Read RuSentEval's files: `subset <tab> label <tab> sentence`, subset one of tr, va, te.

Policy on what the format leaves open: a blank line is skipped; a class that training lacks stays in the test and
counts as an error there; without va rows, every sixth row of tr (by hash) becomes validation; without te rows there is
nothing to report and the file is refused. Every such decision is a note.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_file
from slonik.inspection.probing.tasks import FOLDER, Task
from slonik.inspection.probing_tasks.build import MANIFEST
from slonik.text.lines import numbered_lines

SPLITS = ("tr", "va", "te")
_VALIDATION_SHARE = 6


@dataclass(frozen=True)
class Split:
    """Sentences of one subset and their labels."""

    texts: tuple[str, ...]
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TaskData:
    """A task's file.

    Attributes:
        task: the task. train, validation, test: its subsets. sha256: hash of the file.
        notes: what was decided about the file, in sentences.
        built: made by `slonik data probing` (its manifest is beside the file), not the authors' file.
    """

    task: Task
    train: Split
    validation: Split
    test: Split
    sha256: str
    notes: tuple[str, ...] = ()
    built: bool = False

    @property
    def classes(self) -> list[str]:
        """Labels of the training subset, sorted."""
        return sorted(set(self.train.labels.tolist()))

    @property
    def texts(self) -> list[str]:
        """All sentences: training, validation, test."""
        return [*self.train.texts, *self.validation.texts, *self.test.texts]


def find_file(task: Task, folder: Path) -> Path | None:
    """The task's file in `folder/rusenteval` or in `folder` itself, None where there is none."""
    for path in (folder / FOLDER / task.file, folder / task.file):
        if path.is_file():
            return path
    return None


def read_task(path: Path, task: Task, *, limit: int | None = None) -> TaskData:
    """Read one file.

    Args:
        limit: at most this many sentences, taken from the subsets in proportion and by hash.

    Raises:
        SlonikError: a line without three columns, an unknown subset, no test rows, or fewer than two classes.
    """
    rows: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 3:
            raise SlonikError(
                f"{path}, line {number}: {len(columns)} columns; a probing file has three: subset, label, sentence"
            )
        subset, label, text = (column.strip() for column in columns)
        if subset not in rows:
            raise SlonikError(f"{path}, line {number}: subset {subset!r}; allowed are {', '.join(SPLITS)}")
        if not label or not text:
            raise SlonikError(f"{path}, line {number}: an empty {'label' if not label else 'sentence'}")
        rows[subset].append((label, text))
    notes: list[str] = []
    _complete(path, rows, notes)
    if limit is not None:
        rows = _limited(rows, limit)
    _judge(path if limit is None else f"{path} (at most {limit} rows)", path.name, rows, notes)
    train, validation, test = (_split(rows[name]) for name in SPLITS)
    return TaskData(task, train, validation, test, sha256_file(path), tuple(notes), (path.parent / MANIFEST).is_file())


def _complete(path: Path, rows: dict[str, list[tuple[str, str]]], notes: list[str]) -> None:
    for subset in ("tr", "te"):
        if not rows[subset]:
            raise SlonikError(f"{path} has no {subset} rows: a probe needs training (tr) and test (te) sentences")
    if not rows["va"]:
        chosen = [derive_seed(0, "validation", text) % _VALIDATION_SHARE == 0 for _, text in rows["tr"]]
        rows["va"] = [row for row, out in zip(rows["tr"], chosen, strict=True) if out]
        rows["tr"] = [row for row, out in zip(rows["tr"], chosen, strict=True) if not out]
        notes.append(f"{path.name} has no va rows: {len(rows['va'])} of its tr rows serve as validation")
        if not rows["va"] or not rows["tr"]:
            raise SlonikError(f"{path} has too few tr rows to take validation from: give va rows")


def _limited(rows: dict[str, list[tuple[str, str]]], limit: int) -> dict[str, list[tuple[str, str]]]:
    total = sum(map(len, rows.values()))
    if total <= limit:
        return rows
    kept = {}
    for subset, found in rows.items():
        order = sorted(range(len(found)), key=lambda at: derive_seed(0, "limit", found[at][1]))
        kept[subset] = [found[at] for at in sorted(order[: max(1, len(found) * limit // total)])]
    return kept


def _judge(source: Path | str, name: str, rows: dict[str, list[tuple[str, str]]], notes: list[str]) -> None:
    counts = {subset: Counter(label for label, _ in found) for subset, found in rows.items()}
    if len(counts["tr"]) < 2:
        only = next(iter(counts["tr"]))
        raise SlonikError(f"every tr row of {source} has the label {only!r}: a probe needs two classes")
    rare = {label: count for label, count in counts["tr"].items() if count < 3}
    if rare:
        named = ", ".join(f"{label!r} {count}" for label, count in sorted(rare.items())[:5])
        notes.append(f"{name}: classes with one or two training sentences can hardly be learned: {named}")
    unseen = {label: count for label, count in counts["te"].items() if label not in counts["tr"]}
    if unseen:
        named = ", ".join(f"{label!r} {count}" for label, count in sorted(unseen.items())[:5])
        notes.append(f"{name}: test sentences of classes without any training sentence count as errors: {named}")
    absent = [label for label in counts["tr"] if label not in counts["te"]]
    if absent:
        notes.append(f"{name}: classes without a test sentence: {', '.join(sorted(absent)[:5])}")


def _split(rows: list[tuple[str, str]]) -> Split:
    return Split(tuple(text for _, text in rows), np.array([label for label, _ in rows], dtype=np.str_))
