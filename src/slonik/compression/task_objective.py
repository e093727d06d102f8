"""Make a cut task model answer as its original does: the outputs of the head beside the states of the encoder.

The teacher is the whole task model, run beside the student on the same tokens without gradient; no label is read. What
is compared of its outputs follows from the target: probabilities softened by a temperature T, T^2 KL(teacher ||
student), of labels (Hinton et al. 2015), of each label apart where several may hold, of candidates, of first and last
tokens of an answer, of the tags of each word; numbers by squared error in units of the teacher's own spread. A tagger's
transitions stay as they are: the scores of words alone are taught.

Shapes: B examples, R inputs of one, T tokens, W words, L labels, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slonik.compression.objective import TERMS, Distillation, DistillationTerms, Pool
from slonik.core.errors import SlonikError
from slonik.models.task_model import TaskModel
from slonik.text.task_config import Target
from slonik.train.protocols import Batch, Loss, weighted_sum


class TaskTeacher:
    """A frozen task model that reads the student's tokens. Not a module: it is never trained or saved.

    Args:
        model: the original.
        ids: (V,) its id of each student id.
        kept: hidden dimensions of it that the student has; None = all.
    """

    def __init__(self, model: TaskModel, ids: Tensor, kept: Sequence[int] | None = None) -> None:
        self.model = model.eval()
        self._ids = ids
        self._kept = None if kept is None else torch.tensor(list(kept))

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Last states (..., T, D of the student) and outputs of a batch in the student's ids."""
        device = batch["input_ids"].device
        if self.model.device != device:
            self.model.to(device)
        asked = {**batch, "input_ids": self._ids.to(device)[batch["input_ids"]]}
        states, outputs = states_and_outputs(self.model, asked)
        if self._kept is not None:
            states = states.index_select(-1, self._kept.to(device))
        return states, outputs


def states_and_outputs(model: TaskModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Last hidden states (..., T, D) of a task model, and what its head makes of them."""
    hidden = model.hidden(batch)
    outputs: Tensor = model.head(hidden, batch)
    return (hidden[-1] if getattr(model.head, "reads_all_layers", False) else hidden), outputs


class TaskDistillation(nn.Module):
    """The objective of the training loop: student and teacher on one batch of task fields.

    Args:
        terms: coefficients; those of sentence vectors are taken of each input's own vector.
        target: what the outputs mean.
        pool: how an input's vector is made of its states.
        teacher: the original.
        dimension: D of the student.
        spread: variance of the teacher's outputs, for numbers.

    Raises:
        SlonikError: a coefficient without what its term needs.
    """

    def __init__(
        self, terms: DistillationTerms, *, target: Target, pool: Pool, teacher: TaskTeacher, dimension: int,
        spread: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self._terms, self._target, self._pool, self._teacher, self._spread = terms, target, pool, teacher, spread
        if terms.layers != {-1: -1}:
            raise SlonikError("with a head for a task the last layers are compared: leave out distill.terms.layers")
        asked = any(getattr(terms, name) for name in TERMS)
        if not asked and not terms.outputs:
            raise SlonikError(f"every distillation term is 0: give outputs or one of {', '.join(TERMS)} a weight")
        self._states = Distillation(terms, pool=pool, pad_id=0, dimension=dimension) if asked else None

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Both models on `batch`, and how far the student is from the teacher."""
        states, outputs = states_and_outputs(model, batch)  # type: ignore[arg-type]
        wanted, answers = self._teacher(batch)
        terms: dict[str, tuple[float, Tensor]] = {}
        if self._terms.outputs:
            value = output_distance(
                outputs, answers, self._target, self._terms.outputs_temperature, batch, self._spread
            )
            terms["outputs"] = (self._terms.outputs, value)
        if self._states is not None:
            mask = batch["attention_mask"].flatten(0, -2)
            terms |= self._states.compared(_rows(states), _rows(wanted), mask)
        return weighted_sum(terms, float(len(outputs)))


def _rows(states: Tensor) -> Tensor:
    """(B, T, D) or (B, R, T, D) -> (rows, T, D)."""
    return states.flatten(0, -3)


def output_distance(
    student: Tensor, teacher: Tensor, target: Target, temperature: float, batch: Batch, spread: float = 1.0
) -> Tensor:
    """() how far outputs are from the teacher's; 0 where they are equal.

    Args:
        student, teacher: as the head gives them: (B, L), (B, R), (B, 2, T), (B, W, L).
        batch: for "tags": `word_mask` (B, W), padding words count nothing.
        spread: variance of the teacher's outputs, for "number".
    """
    student, teacher = student.float(), teacher.float()
    if target == "number":
        return F.mse_loss(student, teacher) / spread
    if target == "multi":
        soft = torch.sigmoid(teacher / temperature)
        cross = F.binary_cross_entropy_with_logits(student / temperature, soft)
        entropy = F.binary_cross_entropy_with_logits(teacher / temperature, soft)
        return (cross - entropy) * temperature**2
    ours, theirs = F.log_softmax(student / temperature, dim=-1), F.log_softmax(teacher / temperature, dim=-1)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1)  # (B,), (B, 2) or (B, W)
    if target == "tags":
        words = batch["word_mask"].to(divergence.dtype)
        return (divergence * words).sum() / words.sum().clamp_min(1) * temperature**2
    return divergence.mean() * temperature**2


def answers_of(outputs: Any, target: Target) -> Any:
    """(..., ) the answers that outputs stand for, as whole numbers that can be compared: the best label or place, for
    several labels 0 or 1 of each; numbers as they are."""
    if target == "number":
        return outputs
    return (outputs > 0).astype("int64") if target == "multi" else outputs.argmax(-1)
