"""Training a tagger: on gold labels, on a teacher's probabilities, or on a mixture; with and without a CRF.

A softmax tagger descends cross entropy per word, a CRF the negative log-likelihood of whole sequences; from a teacher
the one takes the divergence per word and the other the divergence between distributions over sequences. Gold labels
and teacher are fields of the batch: a text without gold (unlabelled) or without teacher simply lacks that term.

Sources: Hinton, Vinyals, Dean 2015 (temperature and mixture); Wang et al. 2020 (sequences).

Shapes: B inputs, W words, L labels.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from slonik.train.protocols import Batch, Loss

NO_LABEL = -100


class Chain(Protocol):
    """What a tagger's CRF layer offers; without learnt scores the labels of words are independent."""

    learnt: bool

    def negative_log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """(B,)."""
        ...

    def divergence(self, emissions: Tensor, teacher: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        """(B,)."""
        ...


class TaggingObjective:
    """The loss of a tagger on batches with `tags` (B, W) and, for distillation, `teacher` (B, W, L).

    `word_mask` (B, W) says which words there are. `tags` are NO_LABEL throughout for an input without gold labels.

    Args:
        teacher_weight: share of the teacher's term where an input has both, 0 to 1; inputs with one of them only count
            in full.
        temperature: flattens the distributions of teacher and student alike; the term is multiplied by its square, so
            that gradients keep their size.
        smoothing: label smoothing of the gold term, for softmax taggers.
    """

    def __init__(self, *, teacher_weight: float = 0.0, temperature: float = 1.0, smoothing: float = 0.0) -> None:
        self.teacher_weight = teacher_weight
        self.temperature = temperature
        self.smoothing = smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean over the words of the batch."""
        emissions, mask = model(batch).float(), batch["word_mask"]
        chain: Chain = model.get_submodule("head.crf")  # type: ignore[assignment]
        words = mask.sum().clamp(min=1)
        has_gold = batch["tags"][:, 0] != NO_LABEL  # (B,)
        gold = torch.where(has_gold, self._gold(chain, emissions, batch["tags"], mask), 0.0)
        parts = {"gold": gold.sum().detach() / (mask.sum(-1) * has_gold).sum().clamp(min=1)}
        if "teacher" not in batch:
            return Loss(gold.sum() / words, parts, float(words))
        taught = self._taught(chain, emissions, batch["teacher"].float(), mask)
        share = torch.where(has_gold, self.teacher_weight, 1.0)
        parts["teacher"] = taught.sum().detach() / words
        return Loss(((1 - share) * gold + share * taught).sum() / words, parts, float(words))

    def _gold(self, chain: Chain, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """(B,) sums over words; whatever is computed for inputs without gold labels is not used."""
        if chain.trainable:
            return chain.negative_log_likelihood(emissions, tags.clamp(min=0), mask)
        ignored = tags.masked_fill(~mask, NO_LABEL)
        losses = functional.cross_entropy(
            emissions.transpose(1, 2), ignored, ignore_index=NO_LABEL, label_smoothing=self.smoothing, reduction="none"
        )
        return losses.sum(-1)

    def _taught(self, chain: Chain, emissions: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """(B,) divergences from the teacher, times the square of the temperature."""
        square = self.temperature**2
        if chain.trainable:
            return chain.divergence(emissions, teacher, mask, self.temperature) * square
        student = (emissions / self.temperature).log_softmax(-1)
        wanted = (teacher.clamp(min=1e-12).log() / self.temperature).log_softmax(-1)
        divergence = (wanted.exp() * (wanted - student)).sum(-1)
        return divergence.masked_fill(~mask, 0.0).sum(-1) * square
