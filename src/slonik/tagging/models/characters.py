"""What a word looks like: a vector from its characters, by a convolution or a small LSTM.

Domain names that no word table knows (virus families, programs) are told by their letters, cases, digits. Characters
are numbers here; which number a character has is `word_features`' business.

Sources: Ma & Hovy 2016 (convolution); Lample et al. 2016 (LSTM).

Shapes: U words, C characters of the longest, F features. Number 0 is padding, at the end.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

CharacterKind = Literal["cnn", "lstm"]


class CharacterCnn(nn.Module):
    """Embedding, one convolution per width, the largest value of each filter.

    Args:
        alphabet: how many character numbers there are, padding included.
        features: F, divided among the widths.
        dimension: of a character's embedding.
        widths: characters that a filter sees.
    """

    def __init__(self, alphabet: int, features: int, *, dimension: int = 32, widths: tuple[int, ...] = (3, 5)) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet, dimension, padding_idx=0)
        sizes = [features // len(widths) + (place < features % len(widths)) for place in range(len(widths))]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dimension, size, width, padding=width // 2) for size, width in zip(sizes, widths, strict=True)
        )

    def forward(self, characters: Tensor) -> Tensor:
        """(U, C) -> (U, F)."""
        letters = self.embedding(characters).transpose(1, 2)  # (U, E, C)
        blank = (characters == 0)[:, None, :]
        found = [layer(letters).masked_fill(blank, float("-inf")).amax(-1) for layer in self.convolutions]
        return torch.cat(found, -1).clamp(min=-1e4).relu()


class CharacterLstm(nn.Module):
    """Embedding, an LSTM from either end, its last states.

    Args:
        alphabet: how many character numbers there are, padding included.
        features: F, half from each direction; even.
        dimension: of a character's embedding.
    """

    def __init__(self, alphabet: int, features: int, *, dimension: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet, dimension, padding_idx=0)
        self.onward = nn.LSTM(dimension, features // 2, batch_first=True)
        self.backward = nn.LSTM(dimension, features // 2, batch_first=True)

    def forward(self, characters: Tensor) -> Tensor:
        """(U, C) -> (U, F)."""
        lengths = (characters != 0).sum(-1).clamp(min=1)
        last = (lengths - 1)[:, None, None]
        ends = []
        for layer, ids in ((self.onward, characters), (self.backward, reverse_rows(characters, lengths))):
            states, _ = layer(self.embedding(ids))
            ends.append(states.gather(1, last.expand(-1, 1, states.shape[-1]))[:, 0])
        return torch.cat(ends, -1)


def reverse_rows(values: Tensor, lengths: Tensor) -> Tensor:
    """(N, T, ...) with the first `lengths[n]` entries of each row in reverse order; the rest stays in place.

    Both directions of a bidirectional layer then have their padding at the end, where it changes nothing.
    """
    places = torch.arange(values.shape[1], device=values.device).expand(values.shape[:2])
    mirrored = lengths[:, None] - 1 - places
    index = torch.where(mirrored >= 0, mirrored, places)
    return values[torch.arange(len(values), device=values.device)[:, None], index]


def character_layer(kind: CharacterKind, alphabet: int, features: int) -> nn.Module:
    """A fresh layer of `kind`."""
    return CharacterCnn(alphabet, features) if kind == "cnn" else CharacterLstm(alphabet, features)
