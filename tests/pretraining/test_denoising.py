"""Span corruption and denoiser mixtures: exact lengths, matched sentinels, texts that reassemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.pretraining.denoising import (
    FRED_T5,
    PRESETS,
    UL2,
    Denoiser,
    DenoiserMixture,
    SpanNoise,
    _division,
    corrupt_text,
)
from tests.pretraining import vocabulary

# (mu, r): raw length, target length and spans for an input of exactly 512, as in T5's code
PUBLISHED = {
    (3.0, 0.15): (568, 114, 28),
    (8.0, 0.15): (588, 100, 11),
    (64.0, 0.15): (600, 92, 1),
    (3.0, 0.5): (767, 513, 128),
    (8.0, 0.5): (908, 512, 57),
    (64.0, 0.5): (1007, 513, 8),
}


def reassemble(inputs: list[int], target: list[int], sentinels: tuple[int, ...]) -> list[int]:
    """The text of an input and its target, sentinels replaced by what they stand for."""
    marks = set(sentinels)
    spans: dict[int, list[int]] = {}
    for token in target[:-1]:
        if token in marks:
            assert token not in spans
            spans[token] = []
            current = spans[token]
        else:
            current.append(token)
    used = [token for token in inputs if token in marks]
    assert used == list(spans) == list(sentinels[: len(used)])
    return [part for token in inputs[:-1] for part in (spans[token] if token in marks else [token])]


@pytest.mark.parametrize(("mean", "rate"), PUBLISHED)
def test_raw_length_fills_the_input_as_in_t5(mean: float, rate: float) -> None:
    noise = SpanNoise(rate, mean)
    raw, target, spans = PUBLISHED[mean, rate]
    assert noise.raw_length(512) == raw
    assert noise.sizes(raw) == (512, target)
    assert noise.counts(raw)[1] == spans
    assert noise.sizes(raw + 1)[0] > 512


@pytest.mark.parametrize("noise", [each.noise for each in FRED_T5])
@pytest.mark.parametrize("length", [2, 3, 17, 100, 568])
def test_input_and_target_reassemble_the_text(noise: SpanNoise, length: int) -> None:
    pieces = vocabulary.pieces(sentinels=300)
    rng = np.random.default_rng(length)
    text = rng.choice(pieces.ordinary, size=length)
    mask = noise.mask(length, rng)
    tokens, spans = noise.counts(length)
    assert mask.sum() == tokens and not mask[0] and mask[-1]
    assert (np.diff(mask.astype(int)) == 1).sum() == spans
    inputs, target = corrupt_text(text, mask, pieces.sentinels, end=2)
    assert (len(inputs), len(target)) == noise.sizes(length)
    assert inputs[-1] == target[-1] == 2
    assert reassemble(inputs.tolist(), target.tolist(), pieces.sentinels) == text.tolist()


def test_divisions_are_uniform() -> None:
    rng = np.random.default_rng(0)
    found = [tuple(_division(5, 3, rng).tolist()) for _ in range(6000)]
    counts = {division: found.count(division) for division in set(found)}
    assert len(counts) == 6  # 4 choose 2
    assert all(abs(count - 1000) < 3 * (6000 * (1 / 6) * (5 / 6)) ** 0.5 for count in counts.values())


def test_prefix_language_model_hides_the_end() -> None:
    mask = SpanNoise(0.25, None).mask(80, np.random.default_rng(0))
    assert mask.tolist() == [False] * 60 + [True] * 20


@pytest.mark.parametrize("preset", PRESETS)
def test_inputs_of_a_mixture_are_full_and_begin_with_their_prefix(preset: str) -> None:
    pieces = vocabulary.pieces(sentinels=130)
    mixture = DenoiserMixture(pieces, PRESETS[preset], input_length=128)
    rng = np.random.default_rng(1)
    texts = [rng.choice(pieces.ordinary, size=1500) for _ in range(20)]
    batch = mixture.corrupt(texts, rng)
    assert batch["input_ids"].shape[1] == 128
    kinds = batch["denoiser"].tolist()
    rebuilt: list[int] = []
    full = 0
    for inputs, mask, labels, kind in zip(
        batch["input_ids"].tolist(), batch["attention_mask"], batch["labels"].tolist(), kinds, strict=True
    ):
        inputs = inputs[: int(mask.sum())]
        prefix = mixture.denoisers[kind].prefix
        if prefix is not None:
            assert inputs[0] == pieces.named[prefix]
            inputs = inputs[1:]
        full += len(inputs) + (prefix is not None) >= 127
        rebuilt += reassemble(inputs, [label for label in labels if label != -100], pieces.sentinels)
    assert rebuilt == np.concatenate(texts).tolist()
    assert full >= len(kinds) - 20  # only the last piece of each text may be short


def test_denoisers_are_drawn_by_weight() -> None:
    pieces = vocabulary.pieces()
    two = (Denoiser("<LM>", SpanNoise(0.25, None), 3.0), Denoiser("<SC1>", SpanNoise(0.15, 3.0), 1.0))
    mixture = DenoiserMixture(pieces, two, input_length=32)
    texts = [np.full(20, 50)] * 2000
    kinds = mixture.corrupt(texts, np.random.default_rng(0))["denoiser"]
    assert abs(int((kinds == 0).sum()) - 1500) < 3 * (2000 * 0.75 * 0.25) ** 0.5


def test_fred_t5_is_the_published_mixture() -> None:
    found = [(each.prefix, each.noise.mean_span, each.noise.rate, each.weight) for each in FRED_T5]
    assert found == [
        ("<LM>", None, 0.25, 1.0), ("<SC1>", 3.0, 0.15, 1.0), ("<SC2>", 8.0, 0.15, 1.0), ("<SC3>", 64.0, 0.15, 1.0),
        ("<SC4>", 3.0, 0.5, 1.0), ("<SC5>", 8.0, 0.5, 1.0), ("<SC6>", 64.0, 0.5, 1.0),
    ]  # fmt: skip
    assert [each.prefix for each in UL2].count("[X]") == 4


def test_loss_is_that_of_the_stock_class_over_target_tokens() -> None:
    torch.manual_seed(0)
    model = vocabulary.sequence_model()
    goal = DenoiserMixture(vocabulary.pieces(), PRESETS["t5"], input_length=40)
    rng = np.random.default_rng(0)
    batch = goal.corrupt([rng.integers(20, 300, size=size) for size in (goal.text_length, 12, 1)], rng)
    assert len(batch["labels"]) == 2
    kept: list[object] = []
    hook = model.register_forward_hook(lambda *made: kept.append(made[2].past_key_values))
    loss = goal.loss(model, batch)
    hook.remove()
    assert kept == [None]  # keys and values are for generation
    logits = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels")}).logits
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch["labels"])
    assert float(loss.total) == pytest.approx(float(expected), rel=1e-5)
    assert loss.weight == int((batch["labels"] != -100).sum())


def test_a_batch_of_texts_of_one_token_teaches_nothing_and_does_not_fail() -> None:
    goal = DenoiserMixture(vocabulary.pieces(), PRESETS["t5"], input_length=40)
    rng = np.random.default_rng(0)
    for texts in ([np.array([77]), np.array([78])], []):
        batch = goal.corrupt(texts, rng)
        assert {len(column) for column in batch.values()} == {0}
        loss = goal.loss(vocabulary.sequence_model(), batch)
        loss.total.backward()
        assert float(loss.total.detach()) == loss.weight == 0.0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: DenoiserMixture(vocabulary.pieces(27), PRESETS["t5"]),
            "28 spans per text need as many sentinels.* has 27",
        ),
        (lambda: DenoiserMixture(vocabulary.pieces(100)), "128 spans|127 spans"),
        (lambda: DenoiserMixture(vocabulary.pieces(), []), "at least one"),
        (lambda: DenoiserMixture(vocabulary.pieces(), [Denoiser("<XX>", SpanNoise())]), "no special token '<XX>'"),
        (lambda: DenoiserMixture(vocabulary.pieces(), PRESETS["t5"], input_length=3), "too short for span corruption"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(make, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SlonikError, match=sentence):
        make()
