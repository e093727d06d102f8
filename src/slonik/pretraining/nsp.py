"""Next-sentence prediction beside masked words: does the second segment follow the first?

Source: Devlin et al., "BERT" (2019), section 3.1: half of the pairs are neighbours, half take the second segment from
another document. Pairs are made by `slonik.data.sequence_formats`; this adds the second loss. Label 0 = follows, 1 =
does not, as in Transformers' BertForPreTraining. Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from slonik.core.errors import SlonikError
from slonik.text.batching import pad_arrays
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.mlm import MaskedLanguageModel, MaskingConfig, masked_loss
from slonik.train.objectives.packed import model_inputs
from slonik.train.objectives.vocabulary_head import encoder_of
from slonik.train.protocols import Batch, Loss


class NextSentencePrediction:
    """Masked words and next sentence: the loss is the sum of both means, as in BERT.

    Args:
        pieces: the vocabulary; rows are `[CLS] A [SEP] B [SEP]`.
        masking: how words are masked.

    Raises:
        SlonikError: the vocabulary lacks the mask or the separator token.
    """

    def __init__(self, pieces: TokenFacts, masking: MaskingConfig = MaskingConfig()) -> None:
        self._words = MaskedLanguageModel(pieces, masking)
        self.pieces = pieces
        self._separator = pieces.need("sep", "next-sentence prediction")

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """As `MaskedLanguageModel.corrupt`, with token_type_ids (B, T): 1 after the first separator, 0 on padding.

        The loader adds `next_sentence_label` (B,).
        """
        types = []
        for row in ids:
            separators = np.flatnonzero(np.asarray(row) == self._separator)
            first = int(separators[0]) if len(separators) else len(row)
            types.append((np.arange(len(row)) > first).astype(np.int64))
        batch = self._words.corrupt(ids, rng)
        return batch | {"token_type_ids": torch.from_numpy(pad_arrays(types))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Cross-entropy of the masked words plus cross-entropy of the pair; `weight` counts masked tokens.

        Raises:
            SlonikError: the model has no next-sentence head (take BertForPreTraining).
        """
        head: Any = getattr(getattr(model, "cls", None), "seq_relationship", None)
        if head is None:
            raise SlonikError(f"{type(model).__name__} has no next-sentence head: use BertForPreTraining")
        output = encoder_of(model)(**model_inputs(model, batch))
        words = masked_loss(model, output[0], batch["labels"])
        scores = head(output[1]).float()  # (B, 2)
        label = batch["next_sentence_label"]
        pairs = F.cross_entropy(scores, label, ignore_index=IGNORED)
        accuracy = (scores.argmax(-1) == label).float().mean()
        parts = {"nsp": pairs.detach(), "nsp_accuracy": accuracy.detach()}
        return Loss(words.total + pairs, words.parts | parts, words.weight)
