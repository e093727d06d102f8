"""Models and baselines on the tasks whose data is there: answers, records, paired differences with the baselines.

What is a model here is a function from a part to predictions; running task models is the caller's business, reading
predictions and fitting baselines is done here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from slonik.core.records import Record
from slonik.evaluation.russian_superglue.parts import Part
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.records import Scored, difference_records, score_record, scored
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
        """Score answers to one part; `facts` as in `records.scored`.

        Raises:
            SlonikError: answers to other items.
        """
        self.tasks[part.task.id] = scored(part, predictions, self.model, seed=self.seed, **facts)
        self.answers[part.task.id] = tuple(predictions)


def evaluate(model: str, answer: Answer, parts: Mapping[str, Part], *, seed: int = 0, **facts: Any) -> Evaluation:
    """Answer and score every part; `facts` as in `records.scored`.

    Raises:
        SlonikError: whatever `answer` refuses.
    """
    evaluation = Evaluation(model, seed)
    for part in parts.values():
        start = time.perf_counter()
        predictions = answer(part)
        evaluation.add(part, predictions, seconds=time.perf_counter() - start, **facts)
    return evaluation


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
