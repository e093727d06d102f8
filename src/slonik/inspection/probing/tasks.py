"""Probing tasks: the fourteen of RuSentEval (Mikhailov et al. 2021, BSNLP), and any file of their form.

A file has lines `subset <tab> label <tab> sentence`, subset one of tr, va, te, as those of SentEval (Conneau et al.
2018) have; its name is the task's. Policy on what the format leaves open: a blank line is skipped; a class that
training lacks stays in the test and counts as an error there; without va rows, every sixth row of tr (by hash) becomes
validation; without te rows there is nothing to report and the file is refused. Every such decision is a note.

Beside a file that `slonik data probing` built lie `TASK.words` (a line per row: the word that the task asks about) and
a manifest, which says who made the labels and how often they are wrong.

Published values are accuracies of logistic regression on the authors' data, best layer beside; they compare with
nothing measured on other files of the same name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.hashing import derive_seed, sha256_file, sha256_texts
from slonik.core.records import Record
from slonik.data.fetch import fetch_command
from slonik.text.lines import numbered_lines, read_json

SUITE = "probing"
FOLDER = "rusenteval"
FOLDERS = (FOLDER, "senteval", ".")
"""Where files are looked for in the data folder."""
MANIFEST = "manifest.json"
WORDS = ".words"
PROTOCOL = "probing-2"
SOURCE = "Mikhailov et al. 2021, table 1"
SPLITS = ("tr", "va", "te")
TREEBANK = "the treebank's own"
UNTOUCHED = ("sent_len", "ngram_shift")
"""Tasks whose labels come from the words and the order alone, whoever annotated the sentences."""
_VALIDATION_SHARE = 6

Rows = Iterable[tuple[str, str, str]]
"""(subset, label, sentence) of every row, or a data frame with these columns."""
_BySplit = dict[str, list[tuple[str, str, str]]]  # (label, sentence, word that is asked about)


@dataclass(frozen=True)
class Task:
    """One probing task.

    Attributes:
        id: its name in lower case, also the file's name without ".txt".
        group: what kind of knowledge it asks for; "other" for files that are none of RuSentEval's.
        asks: the question, in a few words.
        published: model -> (accuracy, best layer or None), Russian, from the paper.
    """

    id: str
    group: Literal["surface", "syntax", "semantics", "other"]
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
    """Sentences of one subset, their labels, and the word of each that the task asks about; no words: not known."""

    texts: tuple[str, ...]
    labels: NDArray[np.str_]
    words: tuple[str, ...] = ()

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
        annotation: who made the labels, and where that is a program how often they are wrong: `by`, `automatic`,
            `label_error`, `low`, `high` (None: not estimated). Empty where nothing is known of it.
    """

    task: Task
    train: Split
    validation: Split
    test: Split
    sha256: str
    notes: tuple[str, ...] = ()
    built: bool = False
    annotation: Mapping[str, Any] = field(default_factory=dict)

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
    """Tasks whose files are in FOLDERS of `folder`, and the names of RuSentEval's that are asked for and missing.

    Args:
        names: of tasks, or paths of files; None = RuSentEval's tasks and every other file of their form.

    Raises:
        SlonikError: an unknown name, a damaged file, no file at all, or a limit below 1.
    """
    _check_limit(limit)
    others = _other_files(folder)
    wanted = list(dict.fromkeys(names or (*TASKS, *others)))
    paths = {name: _file_of(name, folder, others) for name in wanted}
    missing = [name for name, path in paths.items() if path is None]
    if len(missing) == len(wanted):
        raise SlonikError(
            f"there is no probing file such as {wanted[0]}.txt in {folder / FOLDER}: "
            f"`{fetch_command('rusenteval', folder)}` gets the original ones, "
            "`slonik data probing TREEBANK --out DIR` builds them"
        )
    found = [read_task(path, task_of(path.stem), limit=limit) for path in paths.values() if path is not None]
    return found, missing


def task_of(name: str) -> Task:
    """RuSentEval's task of this name, or one of a file of one's own."""
    return TASKS.get(name.lower()) or Task(name.lower(), "other", "")


def find_file(task: Task, folder: Path) -> Path | None:
    """The task's file in one of FOLDERS, None where there is none."""
    return next((path for path in (folder / place / task.file for place in FOLDERS) if path.is_file()), None)


def _other_files(folder: Path) -> dict[str, Path]:
    """Task -> file, of files of the form that are none of RuSentEval's tasks."""
    paths = [path for place in FOLDERS for path in sorted((folder / place).glob("*.txt"))]
    return {p.stem.lower(): p for p in reversed(paths) if p.stem.lower() not in TASKS and p.is_file() and _of_form(p)}


def _of_form(path: Path) -> bool:
    """Whether the first line that is not blank reads as a row."""
    try:
        first = next((line for _, line in numbered_lines(path) if line.strip()), "")
    except SlonikError:
        return False
    return re.match(rf"({'|'.join(SPLITS)})\t[^\t]+\t", first) is not None


def _file_of(name: str, folder: Path, others: Mapping[str, Path]) -> Path | None:
    """The file of a task by its name or path; None for a task of RuSentEval whose file is not there."""
    if name.endswith(".txt"):
        if not Path(name).is_file():
            raise SlonikError(f"there is no probing file {name}")
        return Path(name)
    if name in TASKS:
        return find_file(TASKS[name], folder)
    if name.lower() in others:
        return others[name.lower()]
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise SlonikError(
            f"{name!r} is no name of a probing task: give a name, or the path of a file that ends in .txt"
        )
    there = find_file(Task(name, "other", ""), folder)
    if there is None:
        what = unknown_name(name, [*TASKS, *others], "probing task")
        raise SlonikError(f"{what}; a task of your own is a file {name}.txt in {folder / FOLDER}")
    return there


def read_task(path: Path, task: Task, *, limit: int | None = None) -> TaskData:
    """Read one file.

    Args:
        limit: at most this many sentences, taken from the subsets in proportion and by hash.

    Raises:
        SlonikError: a line without three columns, an unknown subset, no test rows, fewer than two classes, or words
            beside it that are not its rows'.
    """
    lines = [(f"{path}, line {number}", line.split("\t")) for number, line in numbered_lines(path) if line.strip()]
    built = (path.parent / MANIFEST).is_file()
    data = _task_data(
        task, lines, source=str(path), name=path.name, sha256=sha256_file(path), built=built, limit=limit,
        words=_words_beside(path, len(lines)),
    )  # fmt: skip
    return replace(data, annotation=_annotation(path)) if built else data


def _words_beside(path: Path, rows: int) -> list[str] | None:
    """The word that each row asks about, where a file beside says it."""
    beside = path.with_suffix(WORDS)
    if not beside.is_file():
        return None
    words = [line.strip().lower() for _, line in numbered_lines(beside)]
    if len(words) != rows:
        raise SlonikError(
            f"{beside} has {len(words)} lines, {path.name} {rows} rows: build both again, or take it away"
        )
    return words


def _annotation(path: Path) -> dict[str, Any]:
    """What the builder's manifest says of the labels of one file."""
    manifest = read_json(path.parent / MANIFEST)
    by = manifest.get("annotation") if isinstance(manifest, dict) else None
    if not isinstance(by, str):
        return {}
    own = manifest.get("label_errors", {}).get(path.stem) or {}
    automatic = by != TREEBANK and path.stem not in UNTOUCHED
    found: dict[str, Any] = {"by": by, "automatic": automatic}
    return found | ({name: own.get(name) for name in ("label_error", "low", "high")} if automatic else {})


def task_of_rows(name: str, rows: Rows, *, words: Sequence[str] | None = None, limit: int | None = None) -> TaskData:
    """A task whose rows are given in Python; what `read_task` says of files holds.

    Args:
        name: one of TASKS, or any other. rows: (subset, label, sentence), subset one of tr, va, te.
        words: the word that each row asks about, for control tasks; None = not known.

    Raises:
        SlonikError: as `read_task`.
    """
    _check_limit(limit)
    task = task_of(name)
    frame: Any = rows
    given = frame.itertuples(index=False) if hasattr(frame, "itertuples") else rows
    columns = [[str(value) for value in row] for row in given]
    if words is not None and len(words) != len(columns):
        raise SlonikError(f"{name} has {len(columns)} rows and {len(words)} words: give one word for each row")
    lines = [(f"{name}, row {number}", row) for number, row in enumerate(columns, 1)]
    digest = sha256_texts("\t".join(row) for row in columns)
    return _task_data(task, lines, source=name, name=name, sha256=digest, built=True, limit=limit, words=words)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise SlonikError(f"--limit is {limit}: give 1 or more, or leave it out")


def _task_data(
    task: Task, lines: Sequence[tuple[str, list[str]]], *, source: str, name: str, sha256: str, built: bool,
    limit: int | None, words: Sequence[str] | None,
) -> TaskData:  # fmt: skip
    """Judge rows, each with words for its place."""
    rows: _BySplit = {split: [] for split in SPLITS}
    for (place, columns), word in zip(lines, words or [""] * len(lines), strict=True):
        if len(columns) != 3:
            raise SlonikError(f"{place}: {len(columns)} columns; a probing file has three: subset, label, sentence")
        subset, label, text = (column.strip() for column in columns)
        if subset not in rows:
            raise SlonikError(f"{place}: subset {subset!r}; allowed are {', '.join(SPLITS)}")
        if not label or not text:
            raise SlonikError(f"{place}: an empty {'label' if not label else 'sentence'}")
        rows[subset].append((label, text, word))
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
    chosen = [derive_seed(0, "validation", row[1]) % _VALIDATION_SHARE == 0 for row in rows["tr"]]
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
    counts = {subset: Counter(row[0] for row in found) for subset, found in rows.items()}
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


def _split(rows: list[tuple[str, str, str]]) -> Split:
    labels, texts, words = zip(*rows, strict=True)
    return Split(texts, np.array(labels, dtype=np.str_), words if any(words) else ())


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
