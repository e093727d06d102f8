"""Bits per byte against plain loops over the definition: every byte once, equal bytes for all, nothing cut or free."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from slonik.core.errors import SlonikError
from slonik.models.fresh import Shape, TokenIds, build
from slonik.models.language_model import LanguageModel, load_language_model
from slonik.pretraining.bits_per_byte import HeldOutBits, TextBits, rounds_for, whole_documents
from slonik.pretraining.denoising import FRED_T5, PRESETS
from slonik.pretraining.rounds import ROUNDS, strides, text_units
from slonik.pretraining.spelling import Spelling
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.text.tokenizing import encode
from tests import tiny

LONG = "\n".join(tiny.TEXTS[:12])
TEXTS = [tiny.TEXTS[3], LONG, "Да.", "", "!!!"]
BYTES = [float(len(text.encode())) for text in TEXTS]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("models")
    families = ("bert", "xlm-roberta", "roberta", "gpt2")
    return {
        name: load_language_model(tiny.checkpoint(folder / name, name), "clm" if name == "gpt2" else "mlm")
        for name in families
    }


def _measured(language: LanguageModel, texts: list[str], objective: str = "mlm", **options: Any) -> TextBits:
    facts = token_facts(language.tokenizer, language.names)
    measure = HeldOutBits(texts, objective, **{"max_length": 32, **options})
    return measure.measure(language.model, language.tokenizer, facts)


@pytest.mark.parametrize(("length", "size"), [(0, 8), (8, 8), (9, 8), (20, 8), (100, 7), (5, 2)])
def test_windows_count_every_item_once_with_half_a_window_before_it(length: int, size: int) -> None:
    for both in (False, True):
        found = strides(length, size, both_sides=both)
        counted = [place for _, _, first, last in found for place in range(first, last)]
        assert counted == list(range(length))
        assert all(
            end - start == min(size, length) and start <= first and last <= end for start, end, first, last in found
        )
        for start, end, first, last in found:
            room = size // 4 if both else size // 2
            assert start == 0 or first - start >= room
            assert not both or end == length or end - last >= room


def test_units_cover_the_text_and_their_rounds_are_spread() -> None:
    for text in (*TEXTS, "слово" * 40, " \n\n а  б ...", "日本語の文。"):
        units, rounds = text_units(text)
        assert "".join(text[start:end] for start, end in units) == text
        again, same = text_units(text)
        assert again == units and (same == rounds).all()
        for start in range(0, len(rounds) - ROUNDS + 1, ROUNDS):
            assert sorted(rounds[start : start + ROUNDS]) == list(range(ROUNDS))


def test_all_kinds_of_vocabularies_share_the_bytes_of_whole_texts(encoders: dict[str, LanguageModel]) -> None:
    for name, language in encoders.items():
        assert _measured(language, TEXTS, "clm" if name == "gpt2" else "mlm").bytes.tolist() == BYTES


def test_causal_bits_are_those_of_a_loop_over_the_tokens(encoders: dict[str, LanguageModel]) -> None:
    language, size = encoders["gpt2"], 16
    facts, model = token_facts(language.tokenizer, language.names), language.model
    found = _measured(language, TEXTS, "clm", max_length=size)
    for text, bits, spelled in zip(TEXTS, found.bits, found.spelled, strict=True):
        encoding = encode(language.tokenizer, text)
        row = [facts.bos, *encoding.ids]
        total = 0.0
        starts = [0]
        while starts[-1] + size < len(row) - 1:
            starts.append(min(starts[-1] + size // 2, len(row) - 1 - size))
        for target in range(1, len(row)):
            start = next(start for start in starts if target <= start + size)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row[start:target]])).logits[0, -1]
            total -= float(torch.log_softmax(logits.double(), -1)[row[target]]) / math.log(2)
        assert spelled == Spelling(language.tokenizer).of(text, encoding).total
        assert bits == pytest.approx(total + spelled, rel=1e-5)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "roberta"])
def test_masked_bits_are_those_of_a_loop_over_the_words(encoders: dict[str, LanguageModel], family: str) -> None:
    language = encoders[family]
    facts = token_facts(language.tokenizer, language.names)
    text = tiny.TEXTS[3]
    units, rounds = text_units(text)
    encoding = language.tokenizer.encode(text, add_special_tokens=False)
    owner = []
    for start, end in encoding.offsets:
        letter = next((place for place in range(start, end) if text[place] != " "), start)
        owner.append(next(i for i, (a, b) in enumerate(units) if a <= letter < b))
    total = 0.0
    for turn in range(ROUNDS):
        ids = [facts.mask if rounds[unit] == turn else token for token, unit in zip(encoding.ids, owner, strict=True)]
        with torch.no_grad():
            logits = language.model(input_ids=torch.tensor([[facts.cls, *ids, facts.sep]])).logits[0, 1:-1]
        for place, (token, unit) in enumerate(zip(encoding.ids, owner, strict=True)):
            if rounds[unit] == turn:
                total -= float(torch.log_softmax(logits[place].double(), -1)[token]) / math.log(2)
    found = _measured(language, [text], max_length=64)
    assert found.bits[0] - found.spelled[0] == pytest.approx(total, rel=1e-4)


def _uniform(language: LanguageModel) -> float:
    """Zeroes the head; returns the bits of a guess."""
    head = language.model.get_output_embeddings()
    torch.nn.init.zeros_(head.weight)
    if getattr(head, "bias", None) is not None:
        torch.nn.init.zeros_(head.bias)
    return float(np.log2(language.model.config.vocab_size))


def test_uniform_guesses_ask_for_every_token_once(tmp_path: Path) -> None:
    for family, objective in (("bert", "mlm"), ("gpt2", "clm"), ("modernbert", "mlm")):
        language = load_language_model(tiny.checkpoint(tmp_path / family, family), None)
        cost = _uniform(language)
        found = _measured(language, TEXTS, objective, max_length=20)
        tokens = [len(encode(language.tokenizer, text).ids) for text in TEXTS]
        assert (found.bits - found.spelled) / cost == pytest.approx(tokens, abs=1e-4)
        assert found.tokens.tolist() == tokens
        assert found.perplexity == pytest.approx(language.model.config.vocab_size, rel=1e-3)


def test_some_rounds_ask_for_some_words_and_all_rounds_for_all(encoders: dict[str, LanguageModel]) -> None:
    parts = [_measured(encoders["xlm-roberta"], TEXTS, rounds=rounds) for rounds in range(1, ROUNDS + 1)]
    assert all((before.bytes <= after.bytes).all() for before, after in itertools.pairwise(parts))
    assert parts[0].bytes[1] == pytest.approx(BYTES[1] / ROUNDS, rel=0.4) and parts[-1].bytes.tolist() == BYTES
    units, rounds = text_units(LONG)
    asked = [LONG[start:end] for (start, end), turn in zip(units, rounds, strict=True) if turn < 2]
    assert parts[1].bytes[1] == len("".join(asked).encode())
    with pytest.raises(SlonikError, match="there are 1 to 7"):
        HeldOutBits(TEXTS, "mlm", rounds=8)


def test_a_vocabulary_without_the_script_does_not_look_better() -> None:
    """A model that is certain of [UNK] pays more than eight bits a byte."""
    latin = Tokenizer(
        models.WordPiece({"[UNK]": 0, "[PAD]": 1, "[MASK]": 2, "[CLS]": 3, "[SEP]": 4}, unk_token="[UNK]")
    )
    latin.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    latin.add_special_tokens(["[UNK]", "[PAD]", "[MASK]", "[CLS]", "[SEP]"])
    facts = token_facts(latin)
    shape = Shape(family="bert", layers=1, hidden=16, heads=2, max_length=32)
    model: Any = build(shape, TokenIds(facts.size, facts.pad, facts.bos, facts.eos, 3, 4, 2), seed=0)
    model.get_output_embeddings().bias.data[0] = 100.0
    bits = HeldOutBits(TEXTS, "mlm", max_length=32).measure(model, latin, facts)
    assert bits.bytes.tolist() == BYTES and bits.per_byte > 8
    assert bits.bits == pytest.approx(bits.spelled, abs=1e-3) and bits.spelled_per_byte == pytest.approx(bits.per_byte)


@pytest.mark.parametrize("sentinels", [12, 2])
def test_uniform_guesses_of_an_encoder_decoder_ask_for_every_token_once(sentinels: int) -> None:
    trained = train(TrainConfig(kind="bpe", vocab_size=500, family="fred-t5", sentinels=sentinels), tiny.TEXTS)
    facts = token_facts(trained.tokenizer)
    shape = Shape(family="fred-t5", layers=1, hidden=16, heads=2, max_length=64)
    model = build(shape, TokenIds(facts.size, facts.pad, facts.bos, facts.eos, None, None, None), seed=0)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    for mixture in (FRED_T5, PRESETS["t5"]):  # the prefix changes the input, not the holes
        measure = HeldOutBits(TEXTS, "denoising", max_length=40, denoisers=mixture)
        found = measure.measure(model, trained.tokenizer, facts)
        tokens = [len(encode(trained.tokenizer, text).ids) for text in TEXTS]
        assert found.bits / np.log2(facts.size) == pytest.approx(tokens, abs=1e-4)
        assert found.bytes.tolist() == BYTES and found.tokens.tolist() == tokens and not found.spelled.any()


def test_windows_without_room_are_refused(encoders: dict[str, LanguageModel]) -> None:
    with pytest.raises(SlonikError, match="no room for text"):
        _measured(encoders["bert"], TEXTS, max_length=3)


def test_how_many_texts_and_rounds_are_enough() -> None:
    assert whole_documents(["а" * 600, "", "б" * 600, "в"], 10, 2) == ["а" * 600, "б" * 600]
    assert whole_documents(["а", "б", "в"], 2, 100) == ["а", "б"]
    assert rounds_for(["а" * 500], 1000) == ROUNDS
    assert rounds_for(["а" * 500], 250) == 2 and rounds_for(["а" * 5000], 1) == 1


def test_bits_survive_as_lists() -> None:
    bits = TextBits(np.array([3.5, 1.25]), np.array([2.0, 1.0]), np.array([0.5, 0.0]), np.array([2.0, 1.0]))
    again = TextBits.from_lists(bits.as_lists())
    assert again.per_byte == bits.per_byte and again.spelled_per_byte == pytest.approx(0.5 / 3)
    assert bits.at(np.array([True, False])).per_byte == 1.75
