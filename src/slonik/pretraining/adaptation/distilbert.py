"""DistilBERT: a student with every second layer of its teacher, and the triple loss that it is trained with.

The loss: the masked words, the teacher's guesses for them, and the direction of its states.

    alpha * CE(y, student at T = 1) + beta * T^2 * CE(teacher at T, student at T) + gamma * (1 - cos(h_s, h_t))

Source: Sanh et al., "DistilBERT" (2019), sections 2 and 3, and its training code (T = 2; weights 2, 5 and 1). The
first two terms are taken at masked positions, the third at every real token of the last layer. Works when teacher and
student share the vocabulary, and after a vocabulary trim: the teacher reads its own ids of the same tokens, and its
probabilities are *restricted to the tokens that the student has and renormalised* (what the teacher gave to dropped
tokens is shared out in proportion). Shapes: B rows, T tokens, M masked ones, D dimensions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.pretraining.objectives import MaskedLanguageModel
from slonik.pretraining.packed import model_inputs
from slonik.train.objectives.asked import asked
from slonik.train.objectives.vocabulary_head import encoder_of, vocabulary_head
from slonik.train.protocols import Batch, Loss, weighted_sum


class DistilBertTerms(Config):
    """Coefficients and temperature; the defaults are the authors'."""

    alpha: float = Field(2.0, ge=0)
    """Of the masked words."""
    beta: float = Field(5.0, ge=0)
    """Of the teacher's distribution."""
    gamma: float = Field(1.0, ge=0)
    """Of the direction of the last hidden states."""
    temperature: float = Field(2.0, gt=0)


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * CE(softmax(teacher / T), softmax(student / T)), mean over rows; logits (M, V) -> ().

    T^2 keeps the gradient's size when T changes (Hinton et al. 2015, section 2). Its gradient is 0 where the student
    equals the teacher; its value there is T^2 times the teacher's entropy.
    """
    target = torch.softmax(teacher.float() / temperature, dim=-1)
    log_student = torch.log_softmax(student.float() / temperature, dim=-1)
    return -(target * log_student).sum(-1).mean() * temperature**2


class DistilBert:
    """The objective. The teacher is frozen and run beside the student; it is never trained or saved.

    Args:
        words: how texts are masked and put into rows.
        teacher: a masked-language model with its head.
        terms: coefficients.
        teacher_ids: (V,) the teacher's id of each student id; None where both have one vocabulary.

    Raises:
        SlonikError: every coefficient is 0.
    """

    def __init__(
        self,
        words: MaskedLanguageModel,
        teacher: nn.Module,
        terms: DistilBertTerms = DistilBertTerms(),
        *,
        teacher_ids: Tensor | None = None,
    ) -> None:
        if not (terms.alpha or terms.beta or terms.gamma):
            raise SlonikError("every term of the DistilBERT loss is 0: give alpha, beta or gamma a weight")
        self._words, self._teacher, self.terms = words, teacher.eval().requires_grad_(False), terms
        self._ids = teacher_ids

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """As the masked-language model's."""
        return self._words.corrupt(ids, rng)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The triple loss; `parts` has its terms unweighted."""
        hidden = encoder_of(model)(**model_inputs(model, batch))[0]
        states, wanted = asked(hidden, batch)
        logits = vocabulary_head(model)(states)
        with torch.no_grad():
            teacher_hidden, teacher_logits = self._teach(batch)
        parts = {"mlm": (self.terms.alpha, F.cross_entropy(logits.float(), wanted))}
        soft = soft_cross_entropy(logits, teacher_logits, self.terms.temperature)
        parts["teacher"] = (self.terms.beta, soft)
        if self.terms.gamma:
            real = batch["attention_mask"].bool()
            cosine = F.cosine_similarity(hidden[real].float(), teacher_hidden[real].float(), dim=-1)
            parts["cosine"] = (self.terms.gamma, (1.0 - cosine).mean())
        return weighted_sum(parts, weight=float(len(wanted)))

    def _teach(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The teacher's last states (B, T, D) and its logits (M, V) for the student's tokens."""
        device = batch["input_ids"].device
        if next(self._teacher.parameters()).device != device:
            self._teacher.to(device)
        if self._ids is None:
            own = batch
        else:
            self._ids = self._ids.to(device)
            own = batch | {"input_ids": self._ids[batch["input_ids"]]}
        hidden = encoder_of(self._teacher)(**model_inputs(self._teacher, own))[0]
        logits = vocabulary_head(self._teacher)(asked(hidden, batch)[0])
        return hidden, logits if self._ids is None else logits[:, self._ids]


def student_of(teacher: PreTrainedModel, *, every: int = 2) -> PreTrainedModel:
    """A new model with layers 0, `every`, 2 `every`, ... of `teacher`, which is left as it is.

    Embeddings and head come along. Source: "DistilBERT", section 2: "initializing the student from the teacher by
    taking one layer out of two".

    Raises:
        SlonikError: `every` is below 2, or the family cannot be cut.
    """
    if every < 2:
        raise SlonikError(f"a student with every {every}th layer would be its teacher: give 2 or more")
    with _without_pooler(teacher) as pooler:
        plan = whole(teacher)
        student = apply(teacher, keep_layers(plan, plan.layers[::every]), check_parent=False)
    if pooler is not None:
        student.base_model.pooler = copy.deepcopy(pooler)
    return student


@contextmanager
def _without_pooler(model: PreTrainedModel) -> Iterator[Any]:
    """Takes a pooler off the body of a model with a head, whose class knows none; puts it back."""
    body: Any = model.base_model
    pooler = getattr(body, "pooler", None) if body is not model else None
    if pooler is not None:
        body.pooler = None
    try:
        yield pooler
    finally:
        if pooler is not None:
            body.pooler = pooler
