"""Whole words added to tokenizers of every kind, and another tokenizer altogether."""

from __future__ import annotations

import pytest

from slonik.text.tokenizers.extension import add_words, frequent_words, replace_tokenizer
from slonik.text.tokenizers.training import TrainConfig, train
from tests import tiny

WORDS = ["уязвимость", "злоумышленник", "Linux-сервер"]


@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_added_words_are_one_piece_and_come_from_their_old_pieces(kind: str) -> None:
    old = tiny.tokenizer(kind)
    prefix = " " if kind == "bpe" else ""
    words = [prefix + word for word in WORDS[:2]]
    changed = add_words(old, words)
    new = changed.tokenizer
    size = new.get_vocab_size()
    assert len(changed.sources) == size > old.get_vocab_size()
    for word in words:
        before = old.encode(word, add_special_tokens=False).ids
        after = new.encode(word, add_special_tokens=False).ids
        if 3 in before:  # a letter that the toy does not know
            continue
        assert len(after) == 1 and len(before) > 1
        assert list(changed.sources[after[0]]) == before


@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_other_texts_are_cut_as_before_and_old_pieces_keep_their_source(kind: str) -> None:
    old = tiny.tokenizer(kind)
    changed = add_words(old, [(" " if kind == "bpe" else "") + "уязвимость"])
    for text in tiny.TEXTS:
        before = old.encode(text).ids
        after = [changed.sources[number] for number in changed.tokenizer.encode(text).ids]
        assert [number for source in after for number in source] == before
    mask = changed.tokenizer.token_to_id("<mask>" if kind != "wordpiece" else "[MASK]")
    assert changed.sources[mask] == (4,)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", tiny.TOKENIZER_KINDS)
def test_frequent_words_are_one_piece_in_the_middle_of_a_text(kind: str, lowercase: bool) -> None:
    trained = train(TrainConfig(kind=kind, vocab_size=450, lowercase=lowercase), tiny.TEXTS)  # type: ignore[arg-type]
    texts = ["Вот слонобезопасность и дом. Слонобезопасность! А слонобезопасность или дом-слон."] * 12
    words = frequent_words(trained.tokenizer, texts, 9)
    assert len({word.strip() for word in words} & {"слонобезопасность", "Слонобезопасность"}) == 2 - lowercase
    new = add_words(trained.tokenizer, words).tokenizer
    cut = new.encode("кот и слонобезопасность", add_special_tokens=False)
    assert new.decode(cut.ids[-1:]).strip() == "слонобезопасность"
    if kind != "unigram":  # which alone never parts words at hyphens
        assert not any("-" in word for word in words)


def test_words_that_save_the_most_tokens_come_first() -> None:
    tokenizer = tiny.tokenizer("wordpiece")
    texts = ["уязвимость сервера, слон"] * 30 + ["редкость"] * 3 + ["слон 123 ab"] * 50
    found = frequent_words(tokenizer, texts, 5, min_frequency=10)
    assert found[0] == "уязвимость" and "редкость" not in found and "123" not in found


def test_equal_pieces_of_a_new_tokenizer_keep_their_meaning_whatever_its_kind() -> None:
    old, new = tiny.tokenizer("unigram"), tiny.tokenizer("wordpiece")
    roles = {"pad": ("<pad>", "[PAD]"), "mask": ("<mask>", "[MASK]"), "cls": ("<s>", "[CLS]")}
    changed = replace_tokenizer(old, new, roles)
    assert len(changed.sources) == new.get_vocab_size()
    assert changed.sources[new.token_to_id("[MASK]")] == (old.token_to_id("<mask>"),)
    assert changed.sources[new.token_to_id("[PAD]")] == (old.token_to_id("<pad>"),)
    same = 0
    for number, source in enumerate(changed.sources):
        token = new.id_to_token(number)
        twin = old.token_to_id("▁" + token) if not token.startswith("##") else old.token_to_id(token[2:])
        if twin is not None and number > 4:
            assert source == (twin,)
            same += 1
    assert same > 50
    long = [source for source in changed.sources if len(source) > 1]
    assert long and all(max(source) < old.get_vocab_size() for source in long)
