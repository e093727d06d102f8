"""BiLSTM and BiLSTM-CRF over word vectors and characters: a small tagger that needs torch, but no transformer.

A word is its fixed vector (navec), a learnt vector where it was frequent in training, what its characters look like,
and, if asked for, what training texts called it (`NameList`). Either direction is an LSTM of its own over rows with
their padding at the end, so a word's labels do not depend on what else is in the batch.

Sources: Huang, Xu, Yu 2015; Lample et al. 2016; Ma & Hovy 2016.

Shapes: B inputs, T words, U distinct word forms, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from slonik.core.config import Config
from slonik.models.heads.tokens import TokenHead
from slonik.tagging.models.characters import character_layer, reverse_rows
from slonik.tagging.models.word_table import WordTable

_UNKNOWN_WORD = 1


class BiLstmConfig(Config):
    """Sizes of a BiLSTM tagger."""

    crf: bool = False
    """Learn scores of label transitions."""
    hidden: int = Field(160, ge=1)
    """Units of each direction."""
    layers: int = Field(1, ge=1)
    characters: Literal["cnn", "lstm"] = "cnn"
    character_features: int = Field(64, ge=2)
    learnt_words: int = Field(64, ge=1)
    """Dimension of the learnt vector of frequent words."""
    dropout: float = Field(0.4, ge=0, lt=1)
    """On word vectors and on the LSTM's output."""
    word_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of distinct words whose learnt vector is taken away in a training step: the rest must do without too."""
    window: int = Field(64, ge=2)
    """Words of one input: shorter ones train faster, since a batch then has more rows and fewer steps in time."""
    overlap: int = Field(16, ge=0)
    """Words that neighbouring inputs share when tagging."""
    names: bool = False
    """Read what training texts called the names of a text."""


class BiLstm(nn.Module):
    """Word forms to scores of labels.

    Args:
        config: sizes.
        labels: L.
        table: fixed word vectors; not among the parameters.
        learnt, alphabet: how many numbers of words and characters there are.
    """

    def __init__(self, config: BiLstmConfig, labels: int, table: WordTable, *, learnt: int, alphabet: int) -> None:
        super().__init__()
        self.config = config
        self.table = table
        self.word_dropout = config.word_dropout
        self.words = nn.Embedding(learnt, config.learnt_words, padding_idx=0)
        self.characters = character_layer(config.characters, alphabet, config.character_features)
        nn.init.normal_(self.words.weight, std=0.1)
        width = table.dimension + config.learnt_words + config.character_features + labels * config.names
        self.dropout = nn.Dropout(config.dropout)
        sizes = [width] + [2 * config.hidden] * (config.layers - 1)
        self.onward = nn.ModuleList(nn.LSTM(size, config.hidden, batch_first=True) for size in sizes)
        self.backward = nn.ModuleList(nn.LSTM(size, config.hidden, batch_first=True) for size in sizes)
        self.head = TokenHead(2 * config.hidden, labels, crf=config.crf, dropout=config.dropout)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Emissions (B, W, L) of the words that the inputs own (see `windows.Window`)."""
        forms = self._forms(batch)
        states = self.dropout(forms[batch["input_ids"]])  # (B, T, ...)
        if self.config.names:
            states = torch.cat([states, batch["names"].to(states.dtype)], -1)
        lengths = batch["attention_mask"].sum(-1)
        for onward, backward in zip(self.onward, self.backward, strict=True):
            ahead, _ = onward(states)
            behind, _ = backward(reverse_rows(states, lengths))
            states = torch.cat([ahead, reverse_rows(behind, lengths)], -1)
        emissions: Tensor = self.head(states, batch)
        return emissions

    def _forms(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(U, ...) vector of every distinct form of the batch."""
        learnt = batch["form_word"]
        if self.training and self.word_dropout:
            taken = torch.rand(learnt.shape, device=learnt.device) < self.word_dropout
            learnt = torch.where(taken, _UNKNOWN_WORD, learnt)
        fixed = self.table.vectors(batch["form_table"].cpu()).to(learnt.device)
        return torch.cat([fixed, self.words(learnt), self.characters(batch["form_characters"])], -1)
