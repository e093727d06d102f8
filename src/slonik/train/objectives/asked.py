"""The loss at the tokens that something is asked of: where they are, and the entropy over a large vocabulary.

Where they are is found on the processor, when the batch is made: an accelerator that has to tell how many there are is
waited for in every step. The entropy of many tokens over many words is summed in parts, whose logits are computed once
more for the gradient, so that the logits of a whole batch are never kept: at 65,536 tokens and 50,257 words these are
13 GB in single precision, and their gradient as many. Shapes: B rows, T tokens, D dimensions, M tokens that are asked,
V words.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.vocabulary_head import Head
from slonik.train.protocols import Batch

ASKED = "asked"
"""Name in a batch of `places_of` its labels."""
MOST_LOGITS = 2**28
"""Logits of one part: 1 GiB in single precision."""


def places_of(labels: Tensor) -> Tensor:
    """(M,) places in the flattened labels at which something is asked."""
    return torch.nonzero(labels.flatten() != IGNORED).flatten()


def with_places(batch: Batch) -> Batch:
    """The batch with the places of its labels."""
    return {**batch, ASKED: places_of(batch["labels"])}


def asked(hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """States (M, D) and labels (M,) of the tokens that something is asked of.

    Args:
        hidden: (B, T, D).
    """
    places = batch[ASKED] if ASKED in batch else places_of(batch["labels"])
    return hidden.flatten(0, 1).index_select(0, places), batch["labels"].flatten().index_select(0, places)


def vocabulary_loss(
    head: Head, states: Tensor, wanted: Tensor, words: int, *, accuracy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Mean cross-entropy in nats, and the share of tokens that are guessed right, if that is asked for.

    Args:
        states: (M, D) of at least one token. wanted: (M,).
        words: V.
    """
    rows = max(1, MOST_LOGITS // words)
    if len(states) <= rows:
        return _entropy(head, states, wanted, accuracy, "mean")
    total, right = torch.zeros((2,), device=states.device)
    for some, own in zip(states.split(rows), wanted.split(rows), strict=True):
        entropy, hits = checkpoint(_entropy, head, some, own, accuracy, "sum", use_reentrant=False)
        total, right = total + entropy, right + (hits * len(own) if accuracy else 0.0)
    return total / len(states), right / len(states) if accuracy else None


def _entropy(
    head: Head, states: Tensor, wanted: Tensor, accuracy: bool, reduction: str
) -> tuple[Tensor, Tensor | None]:
    logits = head(states)
    entropy = F.cross_entropy(logits.float(), wanted, reduction=reduction)
    if not accuracy:
        return entropy, None
    with torch.no_grad():
        return entropy, (logits.argmax(-1) == wanted).float().mean()
