"""Losses of labelled tasks: of heads, with a teacher's soft labels as an option, and of answers in words.

The model is anything that gives outputs for a batch; what they mean is said by `target`. The label of an example comes
with the batch under `target`'s field; the teacher's probabilities, made beforehand, under `teacher`.
Shapes: B examples, L labels, R candidates, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slonik.models.generation import NOT_SCORED
from slonik.text.task_config import Target
from slonik.train.protocols import Batch, Loss, weighted_sum


class Supervised:
    """Cross-entropy (or squared error) on labels, and divergence from a teacher.

    The fields of the batch by target:
        "single": `label` (B,) index; "multi": `label` (B, L) 0 or 1; "number": `label` (B,) float;
        "choice": `label` (B, R) 1 for every right candidate, and `candidates` (B, R); "answer": `label` (B, 2) first
        and last token of the answer.
        `teacher`: (B, L), (B, R) or (B,), probabilities at `temperature`, or numbers; with `teacher_weight` only.

    The teacher's part is T^2 KL(teacher || student), both softened by T (Hinton et al. 2015; DistilBERT's second
    variant: Sanh et al. 2019, section 3, distillation during fine-tuning).

    Args:
        target: what the outputs mean.
        label_smoothing: for "single".
        teacher_weight: share of the teacher's term, from 0 (labels only) to 1 (teacher only).
        temperature: T.
        weights: (L,) of "single": the labels' own in a weighted mean; of "multi": of the positive ones.
    """

    def __init__(
        self,
        target: Target,
        *,
        label_smoothing: float = 0.0,
        teacher_weight: float = 0.0,
        temperature: float = 2.0,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.weights = None if weights is None else torch.tensor(list(weights), dtype=torch.float32)
        self.target: Target = target
        self.label_smoothing = label_smoothing
        self.teacher_weight = teacher_weight
        self.temperature = temperature

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        outputs: Tensor = model(batch)
        return self.of_outputs(outputs, batch)

    def of_outputs(self, outputs: Tensor, batch: Batch) -> Loss:
        """The loss of outputs that are there already."""
        terms = {}
        share = self.teacher_weight if "teacher" in batch else 0.0
        if share < 1.0:
            terms["labels"] = (1.0 - share, self._labels(outputs, batch))
        if share > 0.0:
            terms["teacher"] = (share, self._teacher(outputs, batch))
        return weighted_sum(terms, float(len(outputs)))

    def _labels(self, outputs: Tensor, batch: Batch) -> Tensor:
        label = batch["label"]
        if self.target == "single":
            weights = None if self.weights is None else self.weights.to(outputs.device)
            return F.cross_entropy(outputs, label, weights, label_smoothing=self.label_smoothing)
        if self.target == "multi":
            weights = None if self.weights is None else self.weights.to(outputs.device)
            return F.binary_cross_entropy_with_logits(outputs, label.float(), pos_weight=weights)
        if self.target == "number":
            return F.mse_loss(outputs.squeeze(-1), label.float())
        if self.target == "choice":
            return choice_loss(outputs, label)
        return answer_loss(outputs, label)

    def _teacher(self, outputs: Tensor, batch: Batch) -> Tensor:
        teacher, heat = batch["teacher"], self.temperature
        if self.target == "number":
            return F.mse_loss(outputs.squeeze(-1), teacher)
        if self.target == "multi":
            soft = F.binary_cross_entropy_with_logits(outputs / heat, teacher)
            entropy = F.binary_cross_entropy(teacher, teacher)
            return (soft - entropy) * heat**2
        student = F.log_softmax(outputs / heat, dim=-1)
        return F.kl_div(student, teacher, reduction="batchmean") * heat**2


def choice_loss(scores: Tensor, right: Tensor) -> Tensor:
    """-log of the probability of all right candidates together: (B, R), (B, R) -> ().

    An example without a right candidate (cut away, or wrong data) counts nothing.
    """
    log_all = torch.logsumexp(scores, dim=-1)
    hidden = scores.masked_fill(right <= 0, -1e9)
    known = (right > 0).any(-1)
    losses = torch.where(known, log_all - torch.logsumexp(hidden, dim=-1), torch.zeros_like(log_all))
    return losses.sum() / known.sum().clamp_min(1)


def answer_loss(logits: Tensor, places: Tensor) -> Tensor:
    """Mean cross-entropy of first and last token: (B, 2, T), (B, 2) -> ()."""
    return F.cross_entropy(logits.flatten(0, 1), places.flatten())


class AnswerWords:
    """Mean cross-entropy per scored token: of a text-to-text model's decoder, of the answer in a decoder's row.

    Args:
        shifted: the logits of a place are for the label of the next place (decoders).
    """

    def __init__(self, *, shifted: bool) -> None:
        self.shifted = shifted

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The batch holds input_ids, attention_mask (B, T) and labels (B, U), NOT_SCORED where nothing is scored."""
        logits: Tensor = model(**batch).logits
        labels = batch["labels"]
        if self.shifted:
            logits, labels = logits[:, :-1], labels[:, 1:]
        words = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=NOT_SCORED)
        return weighted_sum({"words": (1.0, words)}, float((labels != NOT_SCORED).sum()))
