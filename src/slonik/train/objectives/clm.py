"""Causal language modelling: guess each token from those before it.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2, 2019). Texts come with their
own begin and end tokens; packed texts do not see one another. Shapes: B rows, T tokens, V pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from slonik.models.padding import pad
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.packed import model_inputs, pack_rows
from slonik.train.protocols import Batch, Loss


class CausalLanguageModel:
    """The objective.

    Args:
        pieces: the vocabulary.
        pack_to: put several texts into rows of this many tokens; None pads.
    """

    def __init__(self, pieces: TokenFacts, *, pack_to: int | None = None) -> None:
        self.pieces, self.pack_to = pieces, pack_to

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Rows of texts; `labels` (B, T) is the *next* token of the same text, -100 after its last. Draws nothing."""
        following = [np.append(text[1:], IGNORED).astype(np.int64) for text in ids]
        if self.pack_to is not None:
            fill = {"input_ids": self.pieces.pad, "labels": IGNORED}
            return pack_rows({"input_ids": ids, "labels": following}, fill, self.pack_to)
        return pad(ids, self.pieces.pad) | {"labels": pad(following, IGNORED)["input_ids"]}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean cross-entropy in nats over all tokens but the first of each text."""
        body: Any = getattr(model, "base_model", model)
        hidden = body(**model_inputs(model, batch, causal=True))[0]
        where = batch["labels"] != IGNORED
        logits = model.get_output_embeddings()(hidden[where])  # type: ignore[operator]
        entropy = F.cross_entropy(logits.float(), batch["labels"][where])
        return Loss(entropy, {"clm": entropy.detach()}, float(where.sum()))
