"""Facts read off tokenizers of every kind."""

from __future__ import annotations

import pytest

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig, train
from tests import tiny


@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_bytes_and_word_starts_are_those_of_the_text(kind: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    facts = token_facts(tokenizer)
    assert facts.size == tokenizer.get_vocab_size()
    assert facts.special[:5].all() and not facts.special[5:].any()
    assert (facts.cls, facts.pad, facts.sep, facts.mask) == (0, 1, 2, 4)
    for text in tiny.TEXTS:
        ids = [number for number in tokenizer.encode(text, add_special_tokens=False).ids if number != 3]
        words = len(text.split())
        assert facts.starts_word[ids].sum() >= words - (kind == "bpe")  # its first word has no space before it
        if len(ids) == len(tokenizer.encode(text, add_special_tokens=False).ids):
            slack = 1 if kind == "unigram" else 2 * text.count(" ") if kind == "wordpiece" else 0
            assert abs(int(facts.bytes[ids].sum()) - len(text.encode())) <= slack + 1


def test_sentinels_are_counted_from_number_zero_and_prefixes_are_found() -> None:
    trained = train(TrainConfig(kind="bpe", vocab_size=600, family="fred-t5", sentinels=12), tiny.TEXTS)
    facts = token_facts(trained.tokenizer)
    size = trained.tokenizer.get_vocab_size()
    assert facts.sentinels == tuple(size - 1 - number for number in range(12))
    assert facts.need_named("<SC6>") == trained.tokenizer.token_to_id("<SC6>")
    with pytest.raises(SlonikError, match="no special token"):
        facts.need_named("<SC7>")
    with pytest.raises(SlonikError, match="no mask token"):
        facts.need("mask", "this")


@pytest.mark.parametrize("mark", ["", "▁"])
def test_sentinels_that_are_no_special_tokens_are_found_and_are_no_text(mark: str) -> None:
    tokenizer = tiny.tokenizer("unigram")
    tokenizer.add_tokens([f"{mark}<extra_id_{number}>" for number in (1, 0)])
    facts = token_facts(tokenizer)
    size = tokenizer.get_vocab_size()
    assert facts.sentinels == (size - 1, size - 2)
    assert facts.special[-2:].all() and not facts.bytes[-2:].any()


def test_rows_beyond_the_vocabulary_are_special() -> None:
    facts = token_facts(tiny.tokenizer("bpe"), rows=600)
    assert facts.size == 600 and facts.special[tiny.tokenizer("bpe").get_vocab_size() :].all()
