"""The fourteen tasks of RuSentEval (Mikhailov et al. 2021, BSNLP): what they ask, what the paper printed, their files.

A file has lines `subset <tab> label <tab> sentence`, subset one of tr, va, te. Policy on what the format leaves open: a
blank line is skipped; a class that training lacks stays in the test and counts as an error there; without va rows,
every sixth row of tr (by hash) becomes validation; without te rows there is nothing to report and the file is refused.
Every such decision is a note.

Published values are accuracies of logistic regression on the authors' data, best layer beside; they compare with
nothing measured on other files of the same name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import derive_seed, sha256_file, sha256_texts
from slonik.core.records import Record
from slonik.data.fetch import fetch_command
from slonik.text.lines import numbered_lines

SUITE = "probing"
FOLDER = "rusenteval"
MANIFEST = "manifest.json"
PROTOCOL = "probing-1"
SOURCE = "Mikhailov et al. 2021, table 1"
SPLITS = ("tr", "va", "te")
_VALIDATION_SHARE = 6

Rows = Iterable[tuple[str, str, str]]
"""(subset, label, sentence) of every row, or a data frame with these columns."""
_BySplit = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Task:
    """One probing task.

    Attributes:
        id: its name in lower case, also the file's name without ".txt".
        group: what kind of knowledge it asks for. asks: the question, in a few words.
        published: model -> (accuracy, best layer or None), Russian, from the paper.
    """

    id: str
    group: Literal["surface", "syntax", "semantics"]
    asks: str
    published: Mapping[str, tuple[float, int | None]] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The original file name."""
        return f"{self.id}.txt"


def _published(*values: tuple[float, int | None]) -> dict[str, tuple[float, int | None]]:
    return dict(zip(("mBERT", "LaBSE", "XLM-R", "MiniLM"), values, strict=True))


TASKS: dict[str, Task] = {
    task.id: task
    for task in (
        Task("sent_len", "surface", "how long is the sentence",
             _published((0.913, 2), (0.933, 1), (0.945, 2), (0.941, 2))),
        Task("word_content", "surface", "which of many words is in it",
             _published((0.848, None), (0.858, None), (0.826, None), (0.728, None))),
        Task("ngram_shift", "syntax", "are two neighbouring words swapped",
             _published((0.848, 8), (0.826, 5), (0.869, 9), (0.805, 9))),
        Task("tree_depth", "syntax", "how deep is its dependency tree",
             _published((0.447, None), (0.461, None), (0.465, None), (0.448, None))),
        Task("conj_type", "syntax", "coordinated or subordinated clauses"),
        Task("gapping", "syntax", "is a verb left out in one clause"),
        Task("impersonal_sent", "syntax", "is the main clause without a subject"),
        Task("subj_number", "semantics", "number of the subject"),
        Task("obj_number", "semantics", "number of the object"),
        Task("subj_gender", "semantics", "gender of the subject"),
        Task("obj_gender", "semantics", "gender of the object"),
        Task("predicate_tense", "semantics", "tense of the predicate",
             _published((0.995, None), (0.998, None), (0.998, None), (0.982, None))),
        Task("predicate_aspect", "semantics", "aspect of the predicate"),
        Task("predicate_voice", "semantics", "voice of the predicate"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Sentences of one subset and their labels."""

    texts: tuple[str, ...]
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TaskData:
    """A task with its sentences.

    Attributes:
        task: the task. train, validation, test: its subsets. sha256: hash of the file.
        notes: what was decided about the file, in sentences.
        built: made by `slonik data probing` (its manifest is beside the file), or given in Python: not the authors'
            file.
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


def read_tasks(
    folder: Path, names: Sequence[str] | None = None, *, limit: int | None = None
) -> tuple[list[TaskData], list[str]]:
    """The tasks whose files are in `folder/rusenteval` (or in `folder`), and the names of those that are not there.

    Raises:
        SlonikError: an unknown name, a damaged file, no file at all, or a limit below 1.
    """
    _check_limit(limit)
    wanted = [lookup(name, TASKS, "probing task") for name in names or TASKS]
    paths = {task.id: find_file(task, folder) for task in wanted}
    missing = [task for task, path in paths.items() if path is None]
    if len(missing) == len(wanted):
        raise SlonikError(
            f"there is no probing file such as {wanted[0].file} in {folder / FOLDER}: "
            f"`{fetch_command('rusenteval', folder)}` gets the original ones, "
            "`slonik data probing TREEBANK --out DIR` builds them"
        )
    found = [read_task(path, TASKS[name], limit=limit) for name, path in paths.items() if path is not None]
    return found, missing


def find_file(task: Task, folder: Path) -> Path | None:
    """The task's file in `folder/rusenteval` or in `folder` itself, None where there is none."""
    return next((path for path in (folder / FOLDER / task.file, folder / task.file) if path.is_file()), None)


def read_task(path: Path, task: Task, *, limit: int | None = None) -> TaskData:
    """Read one file.

    Args:
        limit: at most this many sentences, taken from the subsets in proportion and by hash.

    Raises:
        SlonikError: a line without three columns, an unknown subset, no test rows, or fewer than two classes.
    """
    lines = ((f"{path}, line {number}", line.split("\t")) for number, line in numbered_lines(path) if line.strip())
    built = (path.parent / MANIFEST).is_file()
    return _task_data(task, lines, source=str(path), name=path.name, sha256=sha256_file(path), built=built, limit=limit)


def task_of_rows(name: str, rows: Rows, *, limit: int | None = None) -> TaskData:
    """A task whose rows are given in Python; what `read_task` says of files holds.

    Args:
        name: one of TASKS. rows: (subset, label, sentence), subset one of tr, va, te.

    Raises:
        SlonikError: an unknown name, and as `read_task`.
    """
    _check_limit(limit)
    task = lookup(name, TASKS, "probing task")
    frame: Any = rows
    given = frame.itertuples(index=False) if hasattr(frame, "itertuples") else rows
    columns = [[str(value) for value in row] for row in given]
    lines = ((f"{name}, row {number}", row) for number, row in enumerate(columns, 1))
    digest = sha256_texts("\t".join(row) for row in columns)
    return _task_data(task, lines, source=name, name=name, sha256=digest, built=True, limit=limit)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise SlonikError(f"--limit is {limit}: give 1 or more, or leave it out")


def _task_data(
    task: Task, lines: Iterable[tuple[str, list[str]]], *, source: str, name: str, sha256: str, built: bool,
    limit: int | None,
) -> TaskData:  # fmt: skip
    """Judge rows, each with words for its place."""
    rows: _BySplit = {split: [] for split in SPLITS}
    for place, columns in lines:
        if len(columns) != 3:
            raise SlonikError(f"{place}: {len(columns)} columns; a probing file has three: subset, label, sentence")
        subset, label, text = (column.strip() for column in columns)
        if subset not in rows:
            raise SlonikError(f"{place}: subset {subset!r}; allowed are {', '.join(SPLITS)}")
        if not label or not text:
            raise SlonikError(f"{place}: an empty {'label' if not label else 'sentence'}")
        rows[subset].append((label, text))
    notes = _complete(source, name, rows)
    if limit is not None:
        rows = _limited(rows, limit)
    notes += _judge(source if limit is None else f"{source} (at most {limit} rows)", name, rows)
    train, validation, test = (_split(rows[split]) for split in SPLITS)
    return TaskData(task, train, validation, test, sha256, tuple(notes), built)


def _complete(source: str, name: str, rows: _BySplit) -> list[str]:
    """Take validation from training where there is none; notes."""
    for subset in ("tr", "te"):
        if not rows[subset]:
            raise SlonikError(f"{source} has no {subset} rows: a probe needs training (tr) and test (te) sentences")
    if rows["va"]:
        return []
    chosen = [derive_seed(0, "validation", text) % _VALIDATION_SHARE == 0 for _, text in rows["tr"]]
    rows["va"] = [row for row, out in zip(rows["tr"], chosen, strict=True) if out]
    rows["tr"] = [row for row, out in zip(rows["tr"], chosen, strict=True) if not out]
    if not rows["va"] or not rows["tr"]:
        raise SlonikError(f"{source} has too few tr rows to take validation from: give va rows")
    return [f"{name} has no va rows: {len(rows['va'])} of its tr rows serve as validation"]


def _limited(rows: _BySplit, limit: int) -> _BySplit:
    total = sum(map(len, rows.values()))
    if total <= limit:
        return rows
    kept = {}
    for subset, found in rows.items():
        order = sorted(range(len(found)), key=lambda at: derive_seed(0, "limit", found[at][1]))
        kept[subset] = [found[at] for at in sorted(order[: max(1, len(found) * limit // total)])]
    return kept


def _judge(source: str, name: str, rows: _BySplit) -> list[str]:
    counts = {subset: Counter(label for label, _ in found) for subset, found in rows.items()}
    if len(counts["tr"]) < 2:
        only = next(iter(counts["tr"]))
        raise SlonikError(f"every tr row of {source} has the label {only!r}: a probe needs two classes")
    notes = []
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
    return notes


def _split(rows: list[tuple[str, str]]) -> Split:
    return Split(tuple(text for _, text in rows), np.array([label for label, _ in rows], dtype=np.str_))


def published_records(tasks: Sequence[TaskData]) -> list[Record]:
    """What the paper printed, marked published; none for built tasks, which are other data under the same names."""
    records = []
    for data in tasks:
        for model, (accuracy, layer) in () if data.built else data.task.published.items():
            detail = {"published": True, "source": SOURCE, **({} if layer is None else {"layer": layer})}
            records.append(
                Record(suite=SUITE, task=data.task.id, variant="logistic", model=f"{model} (published)",
                       metric="accuracy", value=accuracy, detail=detail)
            )  # fmt: skip
    return records
