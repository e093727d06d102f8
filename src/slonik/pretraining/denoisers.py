"""A mixture of denoisers, each announced by its own prefix token: FRED-T5's seven, UL2's, or any other.

Source: Zmitrovich et al., "A Family of Pretrained Transformer Language Models for Russian" (2023), section on FRED-T5:
<LM> (mu = L/4, r = .25), <SC1> (3, .15), <SC2> (8, .15), <SC3> (64, .15), <SC4> (3, .5), <SC5> (8, .5), <SC6> (64, .5).
The idea and the second preset: Tay et al., "UL2" (2022), section 3.1, with the mode tokens [R], [S], [X]. Span lengths
are uniform among all divisions, as in `span_corruption`; the prefix token is the first of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slonik.core.errors import SlonikError
from slonik.pretraining.span_corruption import (
    SpanNoise,
    corrupt_text,
    denoising_batch,
    denoising_loss,
    too_few_sentinels,
)
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.protocols import Batch, Loss


@dataclass(frozen=True)
class Denoiser:
    """One kind of noise under one prefix.

    Attributes:
        prefix: the special token at the front of the input; None for none.
        noise: how much, in how long spans.
        weight: how often it is drawn, relative to the others.
    """

    prefix: str | None
    noise: SpanNoise
    weight: float = 1.0


def _fred(prefix: str, mean_span: float | None, rate: float) -> Denoiser:
    return Denoiser(prefix, SpanNoise(rate, mean_span))


FRED_T5: tuple[Denoiser, ...] = (
    _fred("<LM>", None, 0.25),
    _fred("<SC1>", 3.0, 0.15),
    _fred("<SC2>", 8.0, 0.15),
    _fred("<SC3>", 64.0, 0.15),
    _fred("<SC4>", 3.0, 0.5),
    _fred("<SC5>", 8.0, 0.5),
    _fred("<SC6>", 64.0, 0.5),
)
"""The seven denoisers of FRED-T5, drawn alike."""

UL2: tuple[Denoiser, ...] = (
    _fred("[R]", 3.0, 0.15),
    _fred("[R]", 8.0, 0.15),
    _fred("[S]", None, 0.25),
    _fred("[X]", 3.0, 0.5),
    _fred("[X]", 8.0, 0.5),
    _fred("[X]", 64.0, 0.15),
    _fred("[X]", 64.0, 0.5),
)
"""UL2's regular, sequential and extreme denoisers, drawn alike."""

PRESETS: dict[str, tuple[Denoiser, ...]] = {
    "t5": (Denoiser(None, SpanNoise(0.15, 3.0)),),
    "fred-t5": FRED_T5,
    "ul2": UL2,
}


def sentinels_needed(denoisers: Sequence[Denoiser], input_length: int) -> int:
    """The most spans of a full input of `input_length` tokens under any of `denoisers`: so many sentinels it takes."""
    noises = [(each.noise, each.noise.raw_length(input_length - (each.prefix is not None))) for each in denoisers]
    return max(noise.counts(length)[1] for noise, length in noises)


class DenoiserMixture:
    """The objective: each text gets one denoiser, drawn by weight, and as much text as fills its input.

    Args:
        pieces: the vocabulary.
        denoisers: the mixture.
        input_length: tokens of a full input, prefix, sentinels and end token included.

    Attributes:
        text_length: the most tokens of text that any denoiser takes. A longer text, or one longer than its own
            denoiser takes, is cut, and the rest gets a denoiser of its own.

    Raises:
        SlonikError: an empty mixture, a weight below 0, a prefix or sentinels that the vocabulary lacks.
    """

    def __init__(self, pieces: TokenFacts, denoisers: Sequence[Denoiser] = FRED_T5, *, input_length: int = 512) -> None:
        if not denoisers or min(each.weight for each in denoisers) < 0 or not sum(each.weight for each in denoisers):
            raise SlonikError("a mixture of denoisers needs at least one, with weights of 0 or more that are not all 0")
        self.pieces, self.denoisers = pieces, tuple(denoisers)
        self._end = pieces.need("eos", "denoising")
        self._prefixes = [None if each.prefix is None else pieces.need_named(each.prefix) for each in denoisers]
        self._shares = np.array([each.weight for each in denoisers]) / sum(each.weight for each in denoisers)
        self._lengths = [each.noise.raw_length(input_length - (each.prefix is not None)) for each in denoisers]
        self.text_length = max(self._lengths)
        spans = sentinels_needed(denoisers, input_length)
        if spans > len(pieces.sentinels):
            raise SlonikError(too_few_sentinels(spans, len(pieces.sentinels)))

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Texts without specials to inputs and targets, and `denoiser` (B,): which one each row got."""
        examples, drawn = [], []
        for text in ids:
            start = 0
            while len(text) - start >= 2:
                kind = int(rng.choice(len(self.denoisers), p=self._shares))
                part = text[start : start + self._lengths[kind]]
                start += len(part)
                examples.append(self._example(part, kind, rng))
                drawn.append(kind)
        batch = denoising_batch(examples, self.pieces.pad)
        return batch | {"denoiser": torch.tensor(drawn, dtype=torch.int64)}

    def _example(
        self, text: NDArray[np.integer], kind: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        mask = self.denoisers[kind].noise.mask(len(text), rng)
        inputs, target = corrupt_text(text, mask, self.pieces.sentinels, self._end)
        prefix = self._prefixes[kind]
        return (inputs if prefix is None else np.concatenate([[prefix], inputs])), target

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean cross-entropy in nats over the target tokens of all denoisers."""
        return denoising_loss(model, batch)
