"""One label per word: a linear layer over the hidden state of a word's first token, with or without a CRF.

The head gives scores of labels (emissions); reading label sequences out of them is the chain's (`head.crf`). Which
token is a word's first is in the batch; windows and words are made in `slonik.tagging.models`.

Shapes: B sequences, T tokens, W words, D dimensions, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from slonik.models.heads.crf import LinearChainCrf

POSITIONS = "positions"
_NAME_UNITS = 128


class TokenHead(nn.Module):
    """Dropout and a linear layer over words.

    Args:
        dimension: D of the hidden states.
        outputs: L, numbered as in `BioLabels`.
        crf: learn scores of label transitions too; otherwise labels are independent but for the BIO rules.
        dropout: on the hidden states.
        layers: 0 reads the last layer; K reads all K states of the encoder (its layers and embeddings), normalised and
            averaged with trainable weights (ELMo, Peters et al. 2018, section 3.2). Sentence encoders want it: their
            last layer gives all words of a text nearly one vector.
        names: read `batch["names"]` (B, W, L) too, what a list of names says of each word (`NameList`): a small network
            weighs it against the state of the word, and what it finds is added to the scores.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int,
        *,
        crf: bool = False,
        dropout: float = 0.1,
        layers: int = 0,
        names: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dimension, outputs)
        self.crf = LinearChainCrf(outputs, trainable=crf)
        self.mixture = nn.Parameter(torch.zeros(layers)) if layers else None
        self.reads_all_layers = layers > 0
        self.names = (
            nn.Sequential(nn.Linear(dimension + outputs, _NAME_UNITS), nn.GELU(), nn.Linear(_NAME_UNITS, outputs))
            if names
            else None
        )

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D), or (K, B, T, D) -> emissions (B, W, L), float32; `batch["positions"]` (B, W) are places in T."""
        places = batch[POSITIONS]
        rows = torch.arange(len(places), device=places.device)[:, None]
        if self.mixture is None:
            words = hidden[rows, places]
        else:
            states = functional.layer_norm(hidden[:, rows, places], hidden.shape[-1:])  # (K, B, W, D)
            words = torch.einsum("k,kbwd->bwd", self.mixture.softmax(0).to(states.dtype), states)
        words = self.dropout(words)
        scores: Tensor = self.output(words)
        if self.names is not None:
            scores = scores + self.names(torch.cat([words, batch["names"].to(words.dtype)], -1))
        return scores.float()
