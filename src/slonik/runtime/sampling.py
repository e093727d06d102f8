"""How the next token is drawn from a model's logits: repetition penalty, temperature, top-k, top-p, a seed per text.

Pure functions of logits and of the tokens so far, in float64; knows no model. A decoder in torch and one on onnxruntime
draw with these same functions. V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from slonik.core.config import Config
from slonik.core.errors import NotNumbers
from slonik.core.hashing import derive_seed

_NUCLEUS = 1024  # tokens that are sorted first: more are seldom needed, and sorting fifty thousand takes milliseconds


class SamplingConfig(Config):
    """How to draw."""

    max_tokens: int = Field(100, ge=1)
    """The most tokens that are written for one prompt."""
    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Logits are divided by it; 0 = the likeliest token each time."""
    top_k: int = Field(0, ge=0)
    """Only the k likeliest tokens; 0 = all (Fan et al. 2018)."""
    top_p: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    """Only the likeliest tokens that together have this probability (nucleus sampling, Holtzman et al. 2020)."""
    repetition_penalty: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Logits of tokens that occurred are divided by it where positive, multiplied where negative (CTRL, Keskar et al.
    2019, section 4.1); 1 = off."""
    seed: int = Field(0, ge=0)


def token_probabilities(
    logits: NDArray[np.floating[Any]], seen: Sequence[int], config: SamplingConfig
) -> NDArray[np.float64]:
    """(V,) probabilities of the next token from logits (V,); all on one token at temperature 0.

    Args:
        seen: tokens of the prompt and of what was written.

    Raises:
        NotNumbers: the logits are none.
    """
    scores = _penalised(logits, seen, config)
    if config.temperature == 0:
        return _all_on(int(scores.argmax()), len(scores))
    with np.errstate(over="ignore", under="ignore"):  # the coldest temperatures leave the likeliest token alone
        scores = (scores - scores.max()) / config.temperature
        if 0 < config.top_k < len(scores):
            scores[scores < np.partition(scores, -config.top_k)[-config.top_k]] = -np.inf
        probabilities = np.exp(scores)
    probabilities /= probabilities.sum()
    if config.top_p < 1:
        kept = _nucleus(probabilities, config.top_p)
        cut = np.zeros_like(probabilities)
        cut[kept] = probabilities[kept]
        probabilities = cut / cut.sum()
    return probabilities


def draw(probabilities: NDArray[np.float64], generator: np.random.Generator) -> int:
    """One token, drawn from probabilities (V,)."""
    ends = probabilities.cumsum()
    token = int(ends.searchsorted(generator.random() * ends[-1], side="right"))
    return min(token, int(np.flatnonzero(probabilities)[-1]))


def next_token(
    logits: NDArray[np.floating[Any]], seen: Sequence[int], config: SamplingConfig, generator: np.random.Generator
) -> int:
    """The token that follows; `seen` as in `token_probabilities`."""
    if config.temperature == 0:
        return int(_penalised(logits, seen, config).argmax())
    return draw(token_probabilities(logits, seen, config), generator)


def generator_of(config: SamplingConfig, number: int) -> np.random.Generator:
    """What the tokens of the text with this number are drawn with."""
    return np.random.default_rng(derive_seed(config.seed, "text", number))


def _penalised(logits: NDArray[np.floating[Any]], seen: Sequence[int], config: SamplingConfig) -> NDArray[np.float64]:
    scores = logits.astype(np.float64)
    if not np.isfinite(scores.max()):
        raise NotNumbers
    if config.repetition_penalty != 1.0 and seen:
        known = np.unique(np.fromiter(seen, dtype=np.int64, count=len(seen)))
        known = known[known < len(scores)]
        values = scores[known]
        factor = config.repetition_penalty
        with np.errstate(over="ignore"):
            changed = np.where(values > 0, values / factor, values * factor)
        scores[known] = np.clip(changed, -np.finfo(np.float64).max, np.finfo(np.float64).max)
    return scores


def _all_on(token: int, size: int) -> NDArray[np.float64]:
    probabilities = np.zeros(size)
    probabilities[token] = 1.0
    return probabilities


def _nucleus(probabilities: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """The fewest likeliest tokens that together have `top_p`, the likeliest at least; of equals the first."""
    if len(probabilities) > _NUCLEUS:
        likeliest = np.sort(np.argpartition(probabilities, -_NUCLEUS)[-_NUCLEUS:])
        if probabilities[likeliest].sum() > top_p:
            return likeliest[_nucleus(probabilities[likeliest], top_p)]
    order = np.argsort(-probabilities, kind="stable")
    before = np.concatenate([[0.0], probabilities[order].cumsum()[:-1]])
    return order[before < top_p]
