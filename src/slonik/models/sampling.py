"""How the next token is drawn from a model's logits: repetition penalty, temperature, top-k, top-p, a seed per text.

Pure functions of logits and of the tokens so far; knows no model. V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from slonik.core.config import Config


class SamplingConfig(Config):
    """How to draw."""

    max_tokens: int = Field(100, ge=1)
    """The most tokens that are written for one prompt."""
    temperature: float = Field(1.0, ge=0)
    """Logits are divided by it; 0 = the likeliest token each time."""
    top_k: int = Field(0, ge=0)
    """Only the k likeliest tokens; 0 = all (Fan et al. 2018)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Only the likeliest tokens that together have this probability (nucleus sampling, Holtzman et al. 2020)."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Logits of tokens that occurred are divided by it where positive, multiplied where negative (CTRL, Keskar et al.
    2019, section 4.1); 1 = off."""
    seed: int = Field(0, ge=0)


def token_probabilities(logits: Tensor, seen: Sequence[int], config: SamplingConfig) -> Tensor:
    """(V,) probabilities of the next token from logits (V,); all on one token at temperature 0.

    Args:
        seen: tokens of the prompt and of what was written.
    """
    scores = logits.float().clone()
    if config.repetition_penalty != 1.0 and seen:
        known = torch.unique(torch.as_tensor(list(seen), device=scores.device))
        values = scores[known]
        factor = config.repetition_penalty
        scores[known] = torch.where(values > 0, values / factor, values * factor)
    if config.temperature == 0:
        return torch.zeros_like(scores).index_fill_(0, scores.argmax()[None], 1.0)
    scores = scores / config.temperature
    if 0 < config.top_k < len(scores):
        scores[scores < scores.topk(config.top_k).values[-1]] = -torch.inf
    probabilities = torch.softmax(scores, dim=-1)
    if config.top_p < 1:
        ordered, order = probabilities.sort(descending=True, stable=True)
        ordered[ordered.cumsum(0) - ordered >= config.top_p] = 0  # the first token always stays
        probabilities = torch.zeros_like(ordered).scatter_(0, order, ordered)
        probabilities = probabilities / probabilities.sum()
    return probabilities


def draw(probabilities: Tensor, generator: torch.Generator) -> int:
    """One token, drawn from probabilities (V,)."""
    return int(torch.multinomial(probabilities.cpu(), 1, generator=generator))
