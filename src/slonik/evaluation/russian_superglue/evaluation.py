"""Models and baselines on the tasks whose data is there: answers, records, paired differences with the baselines.

What is a model here is a function from a part to predictions; running task models is the caller's business, reading
predictions and fitting baselines is done here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from slonik.core.errors import SlonikError, lookup
from slonik.core.records import Record
from slonik.evaluation.russian_superglue import baselines
from slonik.evaluation.russian_superglue.examples import Example, items_hash
from slonik.evaluation.russian_superglue.figures import Scored, difference_records, score_record, scored
from slonik.evaluation.russian_superglue.parts import TRAIN_DEV, Part, find_part, missing_files
from slonik.evaluation.russian_superglue.predictions import Prediction, Predictions, check_items
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.tasks import TASKS

Answer: TypeAlias = Callable[[Part], Sequence[Prediction]]


@dataclass
class Evaluation:
    """One model on the tasks that it answered.

    Attributes:
        model: its name.
        tasks: task id -> what was found.
        answers: task id -> its predictions, in the order of the part's items.
        seed: of the bootstrap.
    """

    model: str
    seed: int = 0
    tasks: dict[str, Scored] = field(default_factory=dict)
    answers: dict[str, tuple[Prediction, ...]] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        """One record per task and metric, and the nine-task score where all nine are there."""
        found = [record for task in TASKS if task in self.tasks for record in self.tasks[task].records]
        whole = score_record(self.tasks, self.model, seed=self.seed)
        return [*found, *([whole] if whole else [])]

    def add(self, part: Part, predictions: Sequence[Prediction], **facts: Any) -> None:
        """Score answers to one part; `facts` as in `figures.scored`.

        Raises:
            SlonikError: answers to other items.
        """
        self.tasks[part.task.id] = scored(part, predictions, self.model, seed=self.seed, **facts)
        self.answers[part.task.id] = tuple(predictions)


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
            f"no labelled data of Russian SuperGLUE in {folder} (looked for {names}): run `slonik fetch "
            "russian-superglue`, or give --data-dir"
        )
    return found, missing


def evaluate(model: str, answer: Answer, parts: Mapping[str, Part], *, seed: int = 0, **facts: Any) -> Evaluation:
    """Answer and score every part; `facts` as in `figures.scored`.

    Raises:
        SlonikError: whatever `answer` refuses.
    """
    evaluation = Evaluation(model, seed)
    for part in parts.values():
        start = time.perf_counter()
        predictions = answer(part)
        evaluation.add(part, predictions, seconds=time.perf_counter() - start, **facts)
    return evaluation


def baseline(name: str, *, seed: int = 0) -> Answer:
    """A baseline as a function from a part to predictions, cross-fitted where there is no training data.

    Raises:
        SlonikError: unknown baseline.
    """
    lookup(name, baselines.BASELINES, "baseline")

    def answer(part: Part) -> list[Prediction]:
        return part.answered(partial(baselines.fit, name, part.task.id, seed=seed))

    return answer


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
    inside, outside = _parted(read_examples(task.id, path), {row.idx for row in predictions.rows})
    check_items(predictions, inside, what)
    return Part(task, TRAIN_DEV, path, tuple(inside), tuple(outside))


def differences(evaluations: Sequence[Evaluation], baselines_: Sequence[Evaluation]) -> list[Record]:
    """Each model minus each baseline, and each later model minus the first, on the tasks that both answered."""
    records = []
    for evaluation in evaluations:
        for other in baselines_:
            if other.model != evaluation.model:
                records += difference_records(evaluation.model, evaluation.tasks, other.model, other.tasks)
    for evaluation in evaluations[1:]:
        first = evaluations[0]
        if not {first.model, evaluation.model} & {other.model for other in baselines_}:
            records += difference_records(evaluation.model, evaluation.tasks, first.model, first.tasks)
    return records


def _parted(examples: Sequence[Example], numbers: set[int | str]) -> tuple[list[Example], list[Example]]:
    inside = [example for example in examples if example.idx in numbers]
    outside = [example for example in examples if example.idx not in numbers]
    return inside, outside


def same_items(first: Part, second: Part) -> bool:
    """Whether two parts hold the same items in the same order."""
    return items_hash(first.examples) == items_hash(second.examples)
