"""Cross-entropy of answers in words: all words of a text-to-text model's decoder, the answer in a decoder's row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from slonik.train.objectives.loss import Batch, Loss, weighted_sum

NOT_SCORED = -100


class TextAnswers:
    """Mean cross-entropy per scored word.

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
