"""Span corruption: spans of the text are replaced by sentinels, and the decoder writes them out.

Source of the noise: Raffel et al., "Exploring the Limits of Transfer Learning" (T5, 2020), section 3.1.4, and the
authors' code (`random_spans_noise_mask`, `random_spans_helper`). For a text of L tokens, round(L r) are noise in
max(1, round(noise / mu)) spans; the lengths of noise and of kept spans are uniform among all divisions into that many
parts; the text begins with a kept span. Input: kept spans with a sentinel in place of each noise span, then the end
token. Target: each sentinel followed by what it stands for, then the end token. Sentinels are counted from
`<extra_id_0>` in the order of the text.

A mixture of denoisers draws one of several kinds of noise for each text, each announced by its own prefix token, the
first of the input. Source: Zmitrovich et al., "A Family of Pretrained Transformer Language Models for Russian" (2023),
section on FRED-T5: <LM> (mu = L/4, r = .25), <SC1> (3, .15), <SC2> (8, .15), <SC3> (64, .15), <SC4> (3, .5),
<SC5> (8, .5), <SC6> (64, .5). The idea and the preset `ul2`: Tay et al., "UL2" (2022), section 3.1, with the mode
tokens [R], [S], [X]. T5's own noise is the mixture of one denoiser without a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slonik.core.errors import SlonikError
from slonik.models.padding import pad
from slonik.pretraining.packed import encoded_pairs, pair_inputs
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.objectives.asked import ASKED, asked, vocabulary_loss, with_places
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.vocabulary_head import vocabulary_of
from slonik.train.protocols import Batch, Loss


@dataclass(frozen=True)
class SpanNoise:
    """How much of a text is noise, and in how long spans.

    Attributes:
        rate: r, share of noise tokens.
        mean_span: mu, mean length of a noise span in tokens; None = a quarter of the text, which at r = .25 is one
            span at its end: a prefix language model.
    """

    rate: float = 0.15
    mean_span: float | None = 3.0

    def counts(self, length: int) -> tuple[int, int]:
        """(noise tokens, noise spans) of a text of `length` >= 2 tokens."""
        noise = min(max(round(length * self.rate), 1), length - 1)
        mean = length / 4 if self.mean_span is None else self.mean_span
        spans = min(max(round(noise / mean), 1), noise, length - noise)
        return noise, spans

    def sizes(self, length: int) -> tuple[int, int]:
        """(input tokens, target tokens) made of `length` tokens, sentinels and end tokens included."""
        noise, spans = self.counts(length)
        return length - noise + spans + 1, noise + spans + 1

    def raw_length(self, inputs: int) -> int:
        """The most tokens of text whose input has at most `inputs` tokens (sentinels and the end token included).

        Raises:
            SlonikError: `inputs` is too small for any text.
        """
        if inputs < 4:
            raise SlonikError(f"inputs of {inputs} tokens are too short for span corruption: give at least 4")
        length = 2
        while self.sizes(length + 1)[0] <= inputs:
            length += 1
        return length

    def mask(self, length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(length,) True for noise: a kept span first, then noise and kept spans in turn, noise last."""
        noise, spans = self.counts(length)
        parts = np.stack([_division(length - noise, spans, rng), _division(noise, spans, rng)], axis=1)  # kept, noise
        return np.repeat(np.tile([False, True], spans), parts.reshape(-1))


def _division(total: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(parts,) positive numbers that add up to `total`, uniform among all such."""
    cuts = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1 if parts > 1 else np.zeros(0, np.int64)
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)


def corrupt_text(
    ids: NDArray[np.integer], noise: NDArray[np.bool_], sentinels: Sequence[int], end: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(input, target) of a text with noise where `noise` (L,) is True.

    Raises:
        SlonikError: more spans than sentinels.
    """
    begins = noise & ~np.concatenate([[False], noise[:-1]])
    spans = int(begins.sum())
    if spans > len(sentinels):
        raise SlonikError(too_few_sentinels(spans, len(sentinels)))
    marks = np.asarray(sentinels, dtype=np.int64)[:spans]
    inputs = np.asarray(ids, dtype=np.int64).copy()
    inputs[begins] = marks
    kept = inputs[~noise | begins]
    places = np.flatnonzero(begins)
    lost = np.flatnonzero(noise)
    target = np.insert(np.asarray(ids, dtype=np.int64)[lost], np.searchsorted(lost, places), marks)
    return np.append(kept, end), np.append(target, end)


def too_few_sentinels(spans: int, sentinels: int) -> str:
    """The sentence for a tokenizer with fewer sentinels than spans."""
    return (
        f"{spans} spans per text need as many sentinels, and the tokenizer has {sentinels}: train it with "
        f"--sentinels {spans}, or give shorter inputs or longer spans"
    )


def denoising_batch(examples: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], pad_id: int) -> Batch:
    """Padded input_ids and attention_mask (B, T) and labels (B, S), -100 after the end, of (input, target) pairs."""
    labels = pad([target for _, target in examples], IGNORED)["input_ids"]
    return with_places(pad([inputs for inputs, _ in examples], pad_id) | {"labels": labels})


def denoising_loss(model: nn.Module, batch: Batch) -> Loss:
    """Mean cross-entropy in nats over the target tokens of an encoder-decoder; 0 of no weight where there are none."""
    if not len(batch["labels"]):
        nothing = next(model.parameters()).sum() * 0.0
        return Loss(nothing, {"denoising": nothing.detach()}, 0.0)
    if "decoder_segments" in batch:
        return packed_loss(model, batch)
    output = model(**pair_inputs(model, batch))
    weight = float(len(batch[ASKED]) if ASKED in batch else (batch["labels"] != IGNORED).sum())
    return Loss(output.loss, {"denoising": output.loss.detach()}, weight)


def packed_loss(model: Any, batch: Batch) -> Loss:
    """The same of packed rows (`slonik.pretraining.packed.pack_pairs`); the head runs at target tokens only."""
    states, wanted = asked(encoded_pairs(model, batch), batch)
    if getattr(model.config, "scale_decoder_outputs", False):
        states = states * model.model_dim**-0.5
    entropy, _ = vocabulary_loss(model.lm_head, states, wanted, vocabulary_of(model))
    return Loss(entropy, {"denoising": entropy.detach()}, float(len(wanted)))


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
        facts: of the vocabulary.
        denoisers: the mixture.
        input_length: tokens of a full input, prefix, sentinels and end token included.

    Attributes:
        shares: (K,) how often each of K denoisers is drawn.
        lengths: (K,) the most tokens of text that each takes.
        text_length: the most of them. A longer text, or one longer than its own denoiser takes, is cut, and the rest
            gets a denoiser of its own.

    Raises:
        SlonikError: an empty mixture, a weight below 0, a prefix or sentinels that the vocabulary lacks.
    """

    def __init__(self, facts: TokenFacts, denoisers: Sequence[Denoiser] = FRED_T5, *, input_length: int = 512) -> None:
        if not denoisers or min(each.weight for each in denoisers) < 0 or not sum(each.weight for each in denoisers):
            raise SlonikError("a mixture of denoisers needs at least one, with weights of 0 or more that are not all 0")
        self.facts, self.denoisers = facts, tuple(denoisers)
        self._end = facts.need("eos", "denoising")
        self._prefixes = [None if each.prefix is None else facts.need_named(each.prefix) for each in denoisers]
        self.shares = np.array([each.weight for each in denoisers]) / sum(each.weight for each in denoisers)
        self.lengths = [each.noise.raw_length(input_length - (each.prefix is not None)) for each in denoisers]
        self.text_length = max(self.lengths)
        spans = sentinels_needed(denoisers, input_length)
        if spans > len(facts.sentinels):
            raise SlonikError(too_few_sentinels(spans, len(facts.sentinels)))

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Texts without specials to inputs and targets, and `denoiser` (B,): which one each row got.

        A text of one token gives no row: nothing of it could be kept.
        """
        examples, drawn = [], []
        for text in ids:
            start = 0
            while len(text) - start >= 2:
                kind = int(rng.choice(len(self.denoisers), p=self.shares))
                part = text[start : start + self.lengths[kind]]
                start += len(part)
                examples.append(self.example(part, kind, rng))
                drawn.append(kind)
        batch = denoising_batch(examples, self.facts.pad)
        return batch | {"denoiser": torch.tensor(drawn, dtype=torch.int64)}

    def example(
        self, text: NDArray[np.integer], kind: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(input, target) of a text of two tokens or more under the denoiser of number `kind`."""
        mask = self.denoisers[kind].noise.mask(len(text), rng)
        inputs, target = corrupt_text(text, mask, self.facts.sentinels, self._end)
        prefix = self._prefixes[kind]
        return (inputs if prefix is None else np.concatenate([[prefix], inputs])), target

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean cross-entropy in nats over the target tokens of all denoisers."""
        return denoising_loss(model, batch)
