"""What there is to measure on: for each task the labelled split that is there, and the data to fit a baseline on.

The official development set is taken first, then a test set with labels (LiDiRus has them), then the test items
that the public human annotation decides. A task with nothing but training data is measured on one fifth of it that
is not trained on. Where there is no training data, whatever learns is cross-fitted: each fifth is answered by what
was fitted to the other four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_file, sha256_json
from slonik.evaluation.russian_superglue.baselines import Answerer
from slonik.evaluation.russian_superglue.examples import Example, items_hash
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.splits import FOLDS, fold_numbers, held_out
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, SUITE, TASKS, Task

TRAIN_DEV = "train_dev"  # the name of the development part of the training data
SPLITS = ("val", "test", "val_crowd", TRAIN_DEV)


@dataclass(frozen=True)
class Part:
    """Items of one task to be answered.

    Attributes:
        task: the task.
        split: one of `SPLITS`.
        path: the file.
        examples: its items, or the held-out ones of the training data.
        train: items to fit on; None: there are none, cross-fit.
    """

    task: Task
    split: str
    path: Path
    examples: tuple[Example, ...]
    train: tuple[Example, ...] | None

    @property
    def is_labelled(self) -> bool:
        """Whether every item has its answer."""
        return all(example.is_labelled for example in self.examples)

    @property
    def fitted_on(self) -> str:
        """What a fitted baseline has seen, for people."""
        if self.train is None:
            return f"the other folds of {self.split} ({FOLDS}-fold cross-fitting)"
        source = self.task.train_on or self.task.id
        rest = f", without the {len(self.examples)} held out" if self.split == TRAIN_DEV else ""
        return f"{TASKS[source].name} train, {len(self.train)} items{rest}"

    def hashes(self) -> dict[str, str]:
        """Hashes of the data (items, and the file with its labels) and of the protocol."""
        data = sha256_json([items_hash(self.examples), sha256_file(self.path)])
        return {"data": data, "protocol": sha256_json([PROTOCOL, self.task.id, self.split, list(self.task.metrics)])}

    def answered(self, fit: Callable[[Sequence[Example]], Answerer]) -> list[Prediction]:
        """Predictions of whatever `fit` makes of training items, cross-fitted where there are none."""
        if self.train is not None:
            return fit(self.train)(self.examples)
        numbers = fold_numbers(self.task.id, self.examples)
        rows: dict[int | str, Prediction] = {}
        for fold in range(FOLDS):
            inside = [e for e, number in zip(self.examples, numbers, strict=True) if number == fold]
            outside = [e for e, number in zip(self.examples, numbers, strict=True) if number != fold]
            rows |= {row.idx: row for row in fit(outside)(inside)}
        return [rows[example.idx] for example in self.examples]


def find_part(task_id: str, folder: Path, *, split: str | None = None, labelled: bool = True) -> Part | None:
    """The part of a task to measure on; None where its data is not there.

    Args:
        folder: the data folder.
        split: one of `SPLITS`; None = the first that is there.
        labelled: whether items without labels are of no use.

    Raises:
        SlonikError: unknown task or split, or a damaged file.
    """
    task = lookup(task_id, TASKS, "task")
    if split is not None:
        lookup(split, dict.fromkeys(SPLITS), "split")
    for name in SPLITS if split is None else (split,):
        found = _train_dev(task, folder) if name == TRAIN_DEV else _official(task, name, folder, labelled)
        if found is not None:
            return found
    return None


def missing_files(task_id: str) -> str:
    """What would have to be there, for people."""
    task = TASKS[task_id]
    names = [name for split, name in task.files.items() if split != "train"]
    return f"{SUITE}/{task.name}/{{{','.join(names)}}}"


def _official(task: Task, split: str, folder: Path, labelled: bool) -> Part | None:
    path = find_file(task.id, split, folder) if split in task.files else None
    if path is None:
        return None
    examples = read_examples(task.id, path)
    known = [example.is_labelled for example in examples]
    if labelled and not all(known):
        if any(known):
            first = examples[known.index(False)].idx
            raise SlonikError(f"{path}: item {first!r} has no label, though others have: the file is damaged")
        return None
    return Part(task, split, path, tuple(examples), _train(task, folder))


def _train(task: Task, folder: Path) -> tuple[Example, ...] | None:
    source = TASKS[task.train_on or task.id]
    path = find_file(source.id, "train", folder)
    if path is None:
        return None
    examples = read_examples(source.id, path)
    if source is task:
        return tuple(examples)
    renamed = dict(zip(source.texts, task.texts, strict=True))  # premise, hypothesis -> sentence1, sentence2
    return tuple(
        Example(e.idx, {renamed.get(name, name): value for name, value in e.fields.items()}, e.label, (), e.cluster)
        for e in examples
    )


def _train_dev(task: Task, folder: Path) -> Part | None:
    path = find_file(task.id, "train", folder) if "train" in task.files else None
    if path is None:
        return None
    train, dev = held_out(task.id, read_examples(task.id, path))
    return Part(task, TRAIN_DEV, path, tuple(dev), tuple(train))
