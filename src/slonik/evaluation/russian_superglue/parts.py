"""What there is to measure on: for each task the labelled split that is there, and the data to fit a baseline on.

The official development set is taken first, then a test set with labels (LiDiRus has them), then the test items
that the public human annotation decides. A task with nothing but training data is measured on one fifth of it that
is not trained on. Where there is no training data, whatever learns is cross-fitted: each fifth is answered by what
was fitted to the other four.

Items that share what they are about (a premise, a word, a passage) stay together, and labels are spread evenly, as
in scikit-learn's StratifiedGroupKFold; the same items and seed give the same parts on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_file, sha256_json, sha256_texts
from slonik.data.fetch import fetch_command
from slonik.evaluation.russian_superglue.baselines import Answerer
from slonik.evaluation.russian_superglue.predictions import Prediction, Predictions, check_items
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, SUITE, TASKS, Example, Task, items_hash, label_name
from slonik.reporting.table import Table

TRAIN_DEV = "train_dev"  # the name of the development part of the training data
SPLITS = ("val", "test", "val_crowd", TRAIN_DEV)
FOLDS = 5
_TOGETHER = {
    "lidirus": ("sentence1", "sentence2"),
    "rcb": ("premise",),
    "parus": ("premise",),
    "muserc": ("passage",),
    "terra": ("premise",),
    "russe": ("word",),
    "rwsd": ("text",),
    "danetqa": ("passage",),
    "rucos": ("passage",),
}


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


def find_parts(
    folder: Path, tasks: Sequence[str] | None = None, split: str | None = None
) -> tuple[dict[str, Part], dict[str, str]]:
    """Labelled parts of the tasks whose data is there, and for the others the files that would have to be.

    Raises:
        SlonikError: unknown task or split, a damaged file, or no data at all.
    """
    chosen = [lookup(name, TASKS, "task").id for name in tasks or TASKS]
    found = {task: part for task in chosen if (part := find_part(task, folder, split=split)) is not None}
    missing = {task: missing_files(task) for task in chosen if task not in found}
    if not found:
        names = "; ".join(missing.values())
        raise SlonikError(
            f"no labelled data of Russian SuperGLUE in {folder} (looked for {names}): run "
            f"`{fetch_command('russian-superglue', folder)}`, or give another --data-dir"
        )
    return found, missing


def part_of(predictions: Predictions, folder: Path, what: str) -> Part:
    """The part that a file of predictions answers, labelled or not.

    A development part may be any part of the training data: its items are found by number, checked by hash, and
    baselines are fitted to the rest.

    Args:
        what: the file's name, for sentences.

    Raises:
        SlonikError: the data is not there, or other items were answered.
    """
    header = predictions.header
    task = lookup(header.task, TASKS, "task")
    if header.split in task.files and header.split != "train":
        part = find_part(task.id, folder, split=header.split, labelled=False)
        if part is None:
            raise SlonikError(f"{what} answers {header.split} of {task.name}, which is not in {folder}")
        check_items(predictions, part.examples, what)
        return part
    path = find_file(task.id, "train", folder) if "train" in task.files else None
    if path is None:
        raise SlonikError(f"{what} answers a part of the training data of {task.name}, which is not in {folder}")
    examples, answered = read_examples(task.id, path), {row.idx for row in predictions.rows}
    inside = [example for example in examples if example.idx in answered]
    check_items(predictions, inside, what)
    return Part(task, TRAIN_DEV, path, tuple(inside), tuple(one for one in examples if one.idx not in answered))


def same_items(first: Part, second: Part) -> bool:
    """Whether two parts hold the same items in the same order."""
    return items_hash(first.examples) == items_hash(second.examples)


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


def fold_numbers(task_id: str, examples: Sequence[Example], *, folds: int = FOLDS, seed: int = 0) -> list[int]:
    """The fold of each example, 0 to `folds` - 1.

    Args:
        examples: labelled or not; without labels folds are of even size only.

    Raises:
        SlonikError: fewer groups of items than folds.
    """
    task = lookup(task_id, TASKS, "task")
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        # LiDiRus asks each pair in both directions: their order must not tell them apart
        texts = sorted(str(example.fields[name]) for name in _TOGETHER[task.id])
        groups.setdefault(sha256_texts([str(seed), *texts]), []).append(index)
    if len(groups) < folds:
        raise SlonikError(f"{len(groups)} different items of {task.name} cannot be parted into {folds} folds")
    names = ["" if example.label is None else label_name(example.label) for example in examples]
    totals = Counter(names)
    counts: list[Counter[str]] = [Counter() for _ in range(folds)]
    numbers = [0] * len(examples)
    for _, members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        added = Counter(names[index] for index in members)
        best = min(range(folds), key=lambda fold: (_load(counts[fold], added, totals), fold))
        counts[best] += added
        for index in members:
            numbers[index] = best
    return numbers


def held_out(task_id: str, examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Training and development part of one file: the development part is one fold of `FOLDS`.

    Raises:
        SlonikError: as `fold_numbers`.
    """
    numbers = fold_numbers(task_id, examples)
    train = [example for example, number in zip(examples, numbers, strict=True) if number]
    return train, [example for example, number in zip(examples, numbers, strict=True) if not number]


def _load(count: Counter[str], added: Counter[str], totals: Counter[str]) -> float:
    """How much fuller than others a fold would be: growth of the sum of squared shares of its labels."""
    return sum(((count[name] + number) ** 2 - count[name] ** 2) / totals[name] for name, number in added.items())


def parts_table(parts: Sequence[Part]) -> Table:
    """What the data is like, a line per part; words are those of all texts of an item together."""
    columns = ("task", "split", "items", "resampled units", "labels", "words (median, most)", "baselines fitted on")
    return Table.of("What is measured on", columns, [_part_line(part) for part in parts])


def size_warnings(parts: Sequence[Part]) -> list[str]:
    """A sentence for every official file that has another number of rows than the published one."""
    found = []
    for part in parts:
        rows, official = len({example.cluster for example in part.examples}), part.task.sizes.get(part.split)
        if official not in (None, rows):
            found.append(
                f"{part.path} has {rows} rows, the official {part.split} of {part.task.name} has {official}: results "
                "on it do not compare with published ones"
            )
    return found


def _part_line(part: Part) -> tuple[str, ...]:
    words = [
        sum(len(str(example.fields[name]).split()) for name in part.task.texts if name in example.fields)
        for example in part.examples
    ]
    return (
        part.task.name,
        part.split,
        str(len(part.examples)),
        str(len({example.cluster for example in part.examples})),
        label_counts(part),
        f"{median(words):.0f}, {max(words)}",
        part.fitted_on,
    )


def label_counts(part: Part) -> str:
    """Labels with their counts, e.g. "entailment 201, not_entailment 266"; candidates per query for RuCoS."""
    if not part.task.labels:
        counts = [len(example.fields["entities"]) for example in part.examples]
        return f"{sum(counts) / len(counts):.1f} entities a query"
    found = Counter(label_name(example.label) for example in part.examples if example.label is not None)
    if not found:
        return "not given"
    return ", ".join(f"{label_name(label)} {found[label_name(label)]}" for label in part.task.labels)
