"""Statistics of masks within three sigma, and what must never happen."""

from __future__ import annotations

import re

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.pretraining.objectives import MaskedLanguageModel, MaskingConfig
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.train.objectives.masking import IGNORED, Unit, _word_numbers, mask_tokens
from tests import tiny
from tests.pretraining import vocabulary

UNITS: tuple[Unit, ...] = ("token", "word", "span")


def _flat(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rows = vocabulary.texts(count, np.random.default_rng(seed))
    lengths = np.array([len(row) for row in rows])
    return np.concatenate(rows), np.cumsum(lengths) - lengths


def _within_three_sigma(hits: int, trials: int, rate: float, cluster: float = 1.0) -> bool:
    """Of a binomial whose trials come in clusters of the given mean size."""
    return abs(hits - trials * rate) <= 3 * (trials * rate * (1 - rate) * cluster) ** 0.5


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_rate_and_shares_are_those_asked_for(unit: Unit, rate: float) -> None:
    pieces = vocabulary.pieces()
    ids, starts = _flat(2000)
    masked = mask_tokens(ids, starts, pieces, np.random.default_rng(1), unit=unit, rate=rate)
    chosen = masked.labels != IGNORED
    cluster = {"token": 1.0, "word": 2.0, "span": 3.0}[unit]
    assert _within_three_sigma(int(chosen.sum()), int((~pieces.special[ids]).sum()), rate, cluster)
    total = int(chosen.sum())
    became_mask = chosen & (masked.ids == pieces.mask)
    random = chosen & ~became_mask & (masked.ids != ids)
    # spans draw once for all their tokens, and a long one counts more
    spread = 4.5 if unit == "span" else 1.0
    assert _within_three_sigma(int(became_mask.sum()), total, 0.8, spread)
    assert _within_three_sigma(int(random.sum()), total, 0.1, spread)


@pytest.mark.parametrize("unit", UNITS)
def test_specials_are_never_chosen_and_never_put_in(unit: Unit) -> None:
    pieces = vocabulary.pieces()
    ids, starts = _flat(500)
    masked = mask_tokens(ids, starts, pieces, np.random.default_rng(2), unit=unit, rate=0.5)
    special = pieces.special[ids]
    assert (masked.labels[special] == IGNORED).all()
    assert (masked.ids[special] == ids[special]).all()
    put_in = masked.ids[(masked.ids != ids) & (masked.ids != pieces.mask)]
    assert len(put_in) and not pieces.special[put_in].any()
    assert (masked.labels[masked.labels != IGNORED] == ids[masked.labels != IGNORED]).all()
    assert (masked.ids[masked.labels == IGNORED] == ids[masked.labels == IGNORED]).all()


def test_random_words_come_from_the_whole_vocabulary() -> None:
    pieces = vocabulary.pieces()
    ids, starts = _flat(2000)
    masked = mask_tokens(ids, starts, pieces, np.random.default_rng(3), rate=0.5, mask_share=0.0, random_share=1.0)
    seen = set(masked.ids[masked.labels != IGNORED].tolist())
    assert seen == set(pieces.ordinary.tolist())


def test_words_are_masked_whole() -> None:
    pieces = vocabulary.pieces()
    ids, starts = _flat(300)
    masked = mask_tokens(ids, starts, pieces, np.random.default_rng(4), unit="word", rate=0.3)
    chosen = masked.labels != IGNORED
    begins = pieces.starts_word[ids] | pieces.special[ids]
    begins[1:] |= pieces.special[ids][:-1]
    inside = np.flatnonzero(~begins)
    assert len(inside) and (chosen[inside] == chosen[inside - 1]).all()


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_whole_words_are_those_of_the_text_without_punctuation(kind: str) -> None:
    texts = ["Слон-слонёнок (серый) идёт, а мышь: «Стой!»", "Дом\nСлонихи,слон;мышь", "за́мок №5 A4 x_y §слон"]
    if kind == "unigram":
        texts[2] = texts[2].replace("№", "#")  # NFKC writes No
    corpus = [re.sub(r"\W+", " ", text) for text in texts] * 3 + tiny.TEXTS
    config = TrainConfig(kind=kind, vocab_size=640, min_frequency=None, family="roberta")  # type: ignore[arg-type]
    tokenizer = train(config, corpus).tokenizer
    facts = token_facts(tokenizer)
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        numbers = _word_numbers(np.asarray(encoding.ids), np.array([0]), facts)
        spans: dict[int, tuple[int, int]] = {}
        for number, (start, end) in zip(numbers.tolist(), encoding.offsets, strict=True):
            spans[number] = (min(start, spans.get(number, (start, end))[0]), max(end, spans.get(number, (0, 0))[1]))
        found = [text[start:end].strip() for start, end in spans.values()]
        wanted = re.findall(r"(?:[^\W_]|\u0301)+", text)
        assert [word for word in found if any(map(str.isalnum, word))] == wanted, found


def test_one_draw_decides_a_whole_span() -> None:
    pieces = vocabulary.pieces()
    words = np.random.default_rng(0).choice(pieces.ordinary, size=4000)
    masked = mask_tokens(words, np.array([0]), pieces, np.random.default_rng(5), unit="span", rate=0.05)
    chosen = masked.labels != IGNORED
    became = np.where(masked.ids == pieces.mask, 0, np.where(masked.ids == words, 2, 1))
    edges = np.flatnonzero(np.diff(chosen.astype(int)))
    runs = [slice(a + 1, b + 1) for a, b in zip(edges[::2], edges[1::2], strict=False) if chosen[a + 1]]
    alike = [len(set(became[run].tolist())) == 1 for run in runs if run.stop - run.start > 1]
    assert len(alike) > 20
    assert np.mean(alike) > 0.85  # two spans may touch, and a random word may be the word itself
    lengths = [run.stop - run.start for run in runs]
    assert max(lengths) > 5


@pytest.mark.parametrize("unit", UNITS)
def test_a_text_of_one_word_is_masked_and_one_of_specials_is_not(unit: Unit) -> None:
    pieces = vocabulary.pieces()
    one = mask_tokens(np.array([0, 77, 2]), np.array([0]), pieces, np.random.default_rng(0), unit=unit, rate=0.01)
    assert (one.labels == [IGNORED, 77, IGNORED]).all()
    none = mask_tokens(np.array([0, 2]), np.array([0]), pieces, np.random.default_rng(0), unit=unit)
    assert (none.labels == IGNORED).all()


def test_dynamic_masks_differ_and_static_ones_repeat() -> None:
    rows = vocabulary.texts(4, np.random.default_rng(6), low=30)
    pieces = vocabulary.pieces()

    def masks(copies: int | None) -> set[bytes]:
        goal = MaskedLanguageModel(pieces, MaskingConfig(copies=copies))
        batches = [goal.corrupt(rows[:1], np.random.default_rng(seed)) for seed in range(60)]
        return {batch["labels"].numpy().tobytes() + batch["input_ids"].numpy().tobytes() for batch in batches}

    assert len(masks(None)) > 50
    assert len(masks(10)) <= 10
    assert len(masks(1)) == 1


def test_vocabulary_without_a_mask_token_is_refused_before_any_work() -> None:
    facts = vocabulary.pieces()
    without = TokenFacts(special=facts.special, starts_word=facts.starts_word, bytes=facts.bytes, pad=1)
    with pytest.raises(SlonikError, match="no mask token"):
        MaskedLanguageModel(without)


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="exceed 1"):
        MaskingConfig(mask_share=0.9, random_share=0.2)
