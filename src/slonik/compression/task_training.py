"""Train a cut task model to answer as its original: inputs, objective, loop, and how well it agrees on held-out texts.

As `training` for encoders; the teacher is run beside the student, nothing of it is kept on disk. The checkpoint is
chosen by agreement of answers and closeness of outputs on held-out inputs; no label is read.

Shapes: N inputs, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slonik.compression.config import DistillConfig
from slonik.compression.freezing import below, frozen
from slonik.compression.importance import pooling_of
from slonik.compression.task_objective import TaskDistillation, TaskTeacher, answers_of, output_distance
from slonik.compression.task_texts import TaskFields, TaskTexts, names_of
from slonik.compression.training import train_config
from slonik.core.errors import SlonikError
from slonik.evaluation.statistics import Mean, Ratio, Statistic, value_of
from slonik.models import task_outputs
from slonik.models.task_model import TaskModel
from slonik.text.pairs import Fields, TaskInput
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import PadFields, example_loader
from slonik.train.loop import run
from slonik.train.run_state import RunSummary


def train_task_student(
    teacher: TaskModel,
    student: TaskModel,
    token_ids: NDArray[np.int64],
    texts: TaskTexts,
    config: DistillConfig,
    folder: Path,
    *,
    kept: Sequence[int] | None = None,
    seed: int = 0,
) -> RunSummary:
    """Train `student` in place; a call with the same arguments after a crash goes on where it was saved.

    Args:
        token_ids: (V,) the teacher's id of each student id.
        kept: hidden dimensions of the teacher that the student has, in order; None = all.
        folder: for checkpoints and the metrics log.

    Returns:
        The summary; the student holds the weights with the best held-out agreement.

    Raises:
        SlonikError: further teachers, which have no head, or terms that a task model does not have.
    """
    if config.teachers:
        raise SlonikError("a model with a head for a task has one teacher, its original: leave out further teachers")
    names = names_of(teacher)
    fields = TaskFields(student, names)
    held_out = HeldOutAnswers(teacher, student, texts.held, names)
    objective = TaskDistillation(
        config.terms,
        target=student.config.target,
        pool=pooling_of(student.encoder, student),
        teacher=TaskTeacher(teacher, torch.from_numpy(token_ids), kept),
        dimension=student.encoder.hidden_size,
        spread=held_out.spread,
    )
    examples = fields(texts.train)
    pad = PadFields({"input_ids": fields.pad_id})
    loader = example_loader(examples, pad, max_texts=512, max_tokens=config.batch_tokens, seed=seed)
    with frozen([*_unreached(student), *below(student.encoder.model, config.upper_layers)]):
        return run(
            student,
            objective,
            loader,
            train_config(config, len(loader.plan(0)), seed),
            folder,
            evaluate=held_out,
            identity={
                "teacher": teacher.identity(), "terms": config.terms.model_dump(mode="json"),
                "start": student.weights_hash(), "upper_layers": config.upper_layers,
            },
        )  # fmt: skip


def _unreached(student: TaskModel) -> list[nn.Parameter]:
    """What no term reaches, and stays as it is: a tagger's transitions, and a pooler that stands beside the head."""
    parts: list[Any] = [getattr(student.head, "crf", None), getattr(student.encoder.model, "pooler", None)]
    return [parameter for part in parts if part is not None for parameter in part.parameters()]


class HeldOutAnswers:
    """Agreement of a student's answers with its teacher's on held-out inputs, each reading them with its own tokenizer.

    Places of an answer are counted in tokens, so span readers both read the student's.

    Attributes:
        spread: variance of the teacher's outputs, for numbers; else 1.
    """

    def __init__(self, teacher: TaskModel, student: TaskModel, held: Sequence[TaskInput], names: Any = None) -> None:
        self._student, self.config = student, student.config
        self._fields = TaskFields(student, names)(held)
        self._teacher = outputs_of(teacher, self._read_by(teacher, held, names))
        whole = np.concatenate([np.ravel(one) for one in self._teacher]) if self._teacher else np.ones(1)
        self.spread = max(float(whole.var()), 1e-6) if self.config.target == "number" else 1.0

    def _read_by(self, teacher: TaskModel, held: Sequence[TaskInput], names: Any) -> list[Fields]:
        fields = TaskFields(teacher, names)(held)
        if self.config.target not in ("answer", "tags"):
            return fields
        own = [one.get("positions", one["input_ids"]).shape for one in fields]
        if own == [one.get("positions", one["input_ids"]).shape for one in self._fields]:
            return fields
        return [_in_ids_of(teacher, self._student, one) for one in self._fields]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """`labels` (numbers: `r2`), `divergence`, and `choice`, which chooses the checkpoint: the mean of the
        agreement and of exp(-divergence), for answers that agree do not tell how nearly the others do."""
        del model  # the student is the very model that is trained
        outputs = self._outputs()
        found = agreement_of(outputs, self._teacher, self.config)
        metrics = {name: value_of(statistic) for name, statistic in found.items()}
        if self.config.target == "number":
            return metrics | {"choice": metrics["r2"]}
        agreed = metrics.get("f1", metrics["labels"])
        agreed = metrics["labels"] if np.isnan(agreed) else agreed
        metrics = {name: value for name, value in metrics.items() if not np.isnan(value)}
        metrics["divergence"] = self._divergence(outputs)
        return metrics | {"choice": (agreed + float(np.exp(-metrics["divergence"]))) / 2}

    def compared(self) -> dict[str, Statistic]:
        """Metric -> statistic over held-out inputs: `labels`, for taggers `f1` of tagged words too; numbers: `r2`."""
        return agreement_of(self._outputs(), self._teacher, self.config)

    def _divergence(self, outputs: Sequence[NDArray[np.float32]]) -> float:
        """Mean divergence of the student's outputs from the teacher's, in nats."""
        values = []
        for ours, theirs in zip(outputs, self._teacher, strict=True):
            batch = {"word_mask": torch.ones(1, len(ours), dtype=torch.bool)}
            distance = output_distance(
                torch.from_numpy(ours)[None], torch.from_numpy(theirs)[None], self.config.target, 1.0, batch
            )
            values.append(float(distance))
        return float(np.mean(values)) if values else 0.0

    def _outputs(self) -> list[NDArray[np.float32]]:
        return outputs_of(self._student, self._fields)


def agreement_of(
    student: Sequence[NDArray[Any]], teacher: Sequence[NDArray[Any]], config: TaskConfig
) -> dict[str, Statistic]:
    """How far answers agree: the share of equal ones, per input; of several labels, of each label.

    Tags: the share of words with the same tag, and F1 of words that either tags (the teacher's taken as right), whole
    inputs being resampled. Numbers: 1 - squared error / variance of the teacher's.
    """
    if config.target == "number":
        ours, theirs = (np.concatenate([np.ravel(one) for one in some]) for some in (student, teacher))
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        spread = max(float(theirs.var()), 1e-12)
        return {"r2": Mean(1 - (ours - theirs) ** 2 / spread)}
    answers = [[answers_of(one, config.target) for one in some] for some in (student, teacher)]
    if config.target != "tags":
        return {"labels": Mean([float(np.mean(ours == theirs)) for ours, theirs in zip(*answers, strict=True)])}
    outside = config.labels.index("O") if "O" in config.labels else 0
    same, words, both, either = [], [], [], []
    for ours, theirs in zip(*answers, strict=True):
        same.append(float((ours == theirs).sum()))
        words.append(float(len(theirs)))
        both.append(2.0 * float(((ours == theirs) & (theirs != outside)).sum()))
        either.append(float((ours != outside).sum() + (theirs != outside).sum()))
    return {"labels": Ratio(same, words), "f1": Ratio(both, either)}


def outputs_of(model: TaskModel, fields: Sequence[Fields]) -> list[NDArray[np.float32]]:
    """Outputs of every input, cut to its own candidates, tokens or words; float32."""
    found = task_outputs.outputs_of(model, fields, autocast=False)
    if model.config.target != "tags":
        return found
    return [output[: len(one["positions"])] for output, one in zip(found, fields, strict=True)]


def _in_ids_of(teacher: TaskModel, student: TaskModel, fields: Fields) -> Fields:
    """The student's tokens in the teacher's ids."""
    known, own = teacher.encoder.tokenizer.get_vocab(), student.encoder.tokenizer
    ids = [known[str(own.id_to_token(int(token)))] for token in fields["input_ids"].ravel()]
    shaped = np.array(ids, dtype=fields["input_ids"].dtype).reshape(fields["input_ids"].shape)
    return {**fields, "input_ids": shaped}
