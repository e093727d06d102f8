"""Which tokens are masked, and what is put in their place.

Three ways to choose: single tokens (Devlin et al., "BERT", 2019, section 3.1), whole words without punctuation (the
authors' later whole-word models) and spans (Samuel et al., "Trained on 100 million words and still in shape"
(LTG-BERT), 2023, section 3.2, and its code). A chosen token becomes the mask token (80 %), a random word (10 %) or
stays (10 %); words and tokens draw for each token, spans once per span. Special tokens are never chosen. N tokens of R
texts one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slonik.text.tokenizers.token_facts import TokenFacts, outside_words

Unit = Literal["token", "word", "span"]
IGNORED = -100
_SPAN_STOP = 1 / 3
_SPAN_LIMIT = 10


@dataclass(frozen=True)
class Masked:
    """Texts with holes.

    Attributes:
        ids: (N,) what the model reads.
        labels: (N,) the original id of each chosen token, -100 elsewhere.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]


def mask_tokens(
    ids: NDArray[np.int64],
    starts: NDArray[np.int64],
    vocabulary: TokenFacts,
    rng: np.random.Generator,
    *,
    unit: Unit = "token",
    rate: float = 0.15,
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> Masked:
    """Mask a share of the tokens of R texts.

    Args:
        ids: (N,) tokens of all texts one after another, specials included.
        starts: (R,) where each text begins.
        vocabulary: which ids are special, begin a word, or may stand in for another.
        rate: share of the tokens that are no specials.
        mask_share, random_share: of the chosen ones; the rest stays as it is.

    Returns:
        At least one token is chosen, where there is one that may be.
    """
    free = ~vocabulary.special[ids]
    if unit == "span":
        group = _spans(free, starts, rate, rng)
    else:
        units = _word_numbers(ids, starts, vocabulary) if unit == "word" else np.arange(len(ids))
        chosen = (rng.random(int(units[-1]) + 1 if len(units) else 0) < rate)[units] & free
        group = np.where(chosen, np.arange(len(ids)), -1)
    if free.any() and not (group >= 0).any():
        group[rng.choice(np.flatnonzero(free))] = 0
    return _replace(ids, group, vocabulary, rng, mask_share, random_share)


def _word_numbers(ids: NDArray[np.int64], starts: NDArray[np.int64], vocabulary: TokenFacts) -> NDArray[np.int64]:
    """(N,) number of the word that each token belongs to; specials and punctuation are words of their own."""
    special = vocabulary.special[ids]
    begins = vocabulary.starts_word[ids] | special
    begins[1:] |= special[:-1]
    if vocabulary.apart is not None:
        begins[1:] |= vocabulary.apart[ids[:-1]]
    if vocabulary.parts and (parted := np.isin(ids, list(vocabulary.parts))).any():
        for first, last in outside_words(vocabulary, np.where(parted, ids, -1).tolist()):
            begins[first : last + 1] = [True, *[False] * (last - first - 1), True][: len(begins) - first]
    begins[starts[starts < len(ids)]] = True
    return np.cumsum(begins) - 1


def _spans(
    free: NDArray[np.bool_], starts: NDArray[np.int64], rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(N,) number of the span that covers a token, -1 for none.

    As in LTG-BERT's code a text gets Binomial(n, rate) masked tokens, span lengths are Geometric(1/3) modulo 10, and
    spans may stick out of the text. Unlike there, a span takes only tokens that no other has (its labels would be
    corrupted ids), and the last one stops at the drawn number, so that the rate is the one asked for.
    """
    group = np.full(len(free), -1, dtype=np.int64)
    number = 0
    for start, end in zip(starts.tolist(), [*starts.tolist()[1:], len(free)], strict=True):
        left = int(rng.binomial(int(free[start:end].sum()), rate))
        while left > 0:
            length = int(rng.geometric(_SPAN_STOP)) % _SPAN_LIMIT
            if length == 0:
                continue
            offset = start + int(rng.integers(-(length - 1), end - start))
            span = np.arange(max(start, offset), min(end, offset + length))
            span = span[free[span] & (group[span] < 0)][:left]
            if len(span):
                group[span] = number
                number += 1
                left -= len(span)
    return group


def _replace(
    ids: NDArray[np.int64],
    group: NDArray[np.int64],
    vocabulary: TokenFacts,
    rng: np.random.Generator,
    mask_share: float,
    random_share: float,
) -> Masked:
    """Put mask tokens and random words where `group` >= 0; one draw per group."""
    where = np.flatnonzero(group >= 0)
    labels = np.full(len(ids), IGNORED, dtype=np.int64)
    labels[where] = ids[where]
    inputs = ids.astype(np.int64, copy=True)
    if len(where):
        draws = rng.random(int(group.max()) + 1)[group[where]]
        inputs[where[draws < mask_share]] = vocabulary.need("mask", "masking")
        random = where[(draws >= mask_share) & (draws < mask_share + random_share)]
        inputs[random] = rng.choice(vocabulary.ordinary, size=len(random))
    return Masked(inputs, labels)
