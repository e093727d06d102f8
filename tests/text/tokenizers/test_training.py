"""Training: all kinds and families give standard tokenizers that other clients load."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.families import FAMILIES, FRED_T5_PREFIXES
from slonik.text.tokenizers.fit import measure_fit
from slonik.text.tokenizers.training import ALPHABET, TrainConfig, Trained, default_min_frequency, train
from slonik.text.tokenizers.vocabulary import read_vocabulary
from slonik.text.tokenizers.wordpiece import count_words
from slonik.text.tokenizing import load_tokenizer, write_tokenizer
from tests.tiny.texts import PAIRS, TEXTS

CORPUS = TEXTS + [text for pair in PAIRS for text in pair]
KINDS = ("wordpiece", "bpe", "unigram")


def _train(kind: str, size: int = 450, **fields: object) -> Trained:
    return train(TrainConfig(kind=kind, vocab_size=size, **fields), CORPUS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_has_the_asked_size_and_decodes_its_corpus(kind: str) -> None:
    trained = _train(kind, min_frequency=1 if kind != "unigram" else None)
    tokenizer = trained.tokenizer
    assert tokenizer.get_vocab_size() <= 450
    assert kind == "unigram" or tokenizer.get_vocab_size() == 450
    assert measure_fit(tokenizer, CORPUS).unknown_rate == 0
    for text in CORPUS:
        decoded = tokenizer.decode(tokenizer.encode(text).ids)
        if kind == "wordpiece":  # which forgets the spaces around punctuation
            assert decoded.replace(" ", "") == text.replace(" ", "")
        else:
            assert decoded == text


@pytest.mark.parametrize("kind", KINDS)
def test_training_gives_the_same_tokenizer_again(kind: str) -> None:
    assert _train(kind, 700).tokenizer.to_str() == _train(kind, 700).tokenizer.to_str()


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_letters_that_the_corpus_lacks_are_known(kind: str, lowercase: bool) -> None:
    corpus = ["слон и мышь"] * 20
    tokenizer = train(TrainConfig(kind=kind, vocab_size=800, lowercase=lowercase), corpus).tokenizer  # type: ignore[arg-type]
    facts = read_vocabulary(tokenizer)
    for letter in ALPHABET:
        for text in (letter, f"я{letter}", f"{letter}я", f"слон {letter}"):
            encoding = tokenizer.encode(text, add_special_tokens=False)
            assert facts.unknown not in encoding.ids, text
            if kind != "bpe" and letter != "…":  # NFKC writes three dots; the letters of byte-level BPE are bytes
                assert not any(facts.is_byte(number) for number in encoding.ids), (text, encoding.tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_decomposed_letters_are_those_that_one_character_writes(kind: str) -> None:
    tokenizer = _train(kind, 700).tokenizer
    for text in ("ёлка", "Йод и Ёж", "мой район"):
        apart = unicodedata.normalize("NFD", text)
        assert apart != text and tokenizer.encode(apart).ids == tokenizer.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(apart).ids) == text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_what_has_no_token_is_written_as_bytes_and_read_again(kind: str) -> None:
    tokenizer = _train(kind, 700).tokenizer
    unknown = read_vocabulary(tokenizer).unknown
    for text in ("снег ☃ и 🐘!", "郭 и ҩ", "<0x41> не A"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert unknown not in ids and tokenizer.decode(ids) == text
    content = json.loads(tokenizer.to_str())
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)))
    assert fast.decode(fast("снег ☃", add_special_tokens=False)["input_ids"]) == "снег ☃"


def test_unigram_without_bytes_has_unknown_characters() -> None:
    tokenizer = _train("unigram", 400, family="gpt2", byte_fallback=False).tokenizer
    assert tokenizer.encode("☃").ids[-1] == tokenizer.token_to_id("<unk>")
    assert not [token for token in tokenizer.get_vocab() if token.startswith("<0x")]
    assert tokenizer.decode(tokenizer.encode("Ёж и Ъ").ids) == "Ёж и Ъ"


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_a_vocabulary_without_room_for_every_letter_says_so(kind: str) -> None:
    said: list[str] = []
    size = 140 if kind == "wordpiece" else 400
    tokenizer = train(TrainConfig(kind=kind, vocab_size=size), ["слон и мышь"] * 9, log=said.append).tokenizer  # type: ignore[arg-type]
    assert any("no room for every Russian letter" in line for line in said)
    assert tokenizer.get_vocab_size() <= size and "слон" in tokenizer.decode(tokenizer.encode("слон").ids)


def test_the_pieces_of_unigram_keep_letters_apart_from_punctuation() -> None:
    corpus = ["кот, кот, кот-кот; кот!"] * 30 + CORPUS
    tokenizer = train(TrainConfig(kind="unigram", vocab_size=700), corpus).tokenizer
    pieces = [token.removeprefix("▁") for token in tokenizer.get_vocab() if not token.startswith("<")]
    assert not [piece for piece in pieces if any(map(str.isalpha, piece)) and not piece.isalnum()]


@pytest.mark.parametrize("kind", KINDS)
def test_case_is_forgotten_and_accents_are_not(kind: str) -> None:
    tokenizer = _train(kind, lowercase=True).tokenizer
    assert tokenizer.encode("МЁД И ЙОД").ids == tokenizer.encode("мёд и йод").ids
    assert tokenizer.encode("мёд йод").ids != tokenizer.encode("мед иод").ids


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_finds_its_special_tokens(kind: str, name: str, tmp_path: Path) -> None:
    trained = _train(kind, 600, family=name, extra_specials=("[X1]",))
    specials = trained.specials
    write_tokenizer(trained.tokenizer, tmp_path, names=specials.roles, types=specials.type_ids, max_length=77)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.model_max_length == 77
    for role, token in FAMILIES[name].roles.items():
        assert getattr(loaded, role) == token
    for text in CORPUS[:5]:
        ids = loaded(text)["input_ids"]
        assert ids == load_tokenizer(tmp_path).encode(text).ids
        assert "[X1]" not in loaded.decode(ids) and loaded.unk_token_id not in ids
    first = [trained.tokenizer.id_to_token(number) for number in range(len(trained.specials.first))]
    assert first == trained.specials.first and "[X1]" in first
    assert trained.tokenizer.encode("слон [X1]").tokens.count("[X1]") == 1
    if "token_type_ids" in loaded.model_input_names:
        assert set(loaded("слон", "мышь")["token_type_ids"]) == {0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_sentinels_count_down_to_the_end_of_the_vocabulary(kind: str) -> None:
    trained = _train(kind, 600, family="fred-t5", sentinels=7)
    size = trained.tokenizer.get_vocab_size()
    assert [trained.tokenizer.token_to_id(f"<extra_id_{number}>") for number in range(7)] == [
        size - 1 - number for number in range(7)
    ]
    assert all(trained.tokenizer.token_to_id(prefix) is not None for prefix in FRED_T5_PREFIXES)
    text = "<SC3> слон <extra_id_0> мышь"
    tokens = trained.tokenizer.encode(text).tokens
    assert tokens[0] == "<SC3>" and "<extra_id_0>" in tokens and tokens[-1] == "</s>"


def test_a_rare_character_becomes_unknown_and_a_common_one_does_not() -> None:
    corpus = ["слон и мышь"] * 50 + ["слон ☃"]
    config = TrainConfig(kind="wordpiece", vocab_size=100, alphabet=9, min_frequency=1)
    tokenizer = train(config, corpus).tokenizer
    assert tokenizer.encode("слон ☃").tokens == ["[CLS]", "слон", "[UNK]", "[SEP]"]
    # letters may stand where the corpus had none
    assert "[UNK]" not in tokenizer.encode("ысм").tokens


def test_the_default_minimum_frequency_grows_and_is_told() -> None:
    frequencies = [default_min_frequency(words, 30_000) for words in (1, 10**4, 10**6, 10**7, 10**9)]
    assert frequencies[:2] == [2, 2] and frequencies == sorted(frequencies) and frequencies[-1] > frequencies[-2] > 2
    lines: list[str] = []
    train(TrainConfig(kind="wordpiece", vocab_size=5_000), CORPUS, log=lines.append)
    assert "a pair must occur 2 times" in lines[1]
    assert "fewer than the 5,000 asked for" in lines[-1]


def test_a_default_frequency_is_lowered_until_the_vocabulary_is_full_and_a_given_one_is_kept_to() -> None:
    corpus = [text for number, text in enumerate(CORPUS, 1) for _ in range(number)]
    default = train(TrainConfig(kind="wordpiece", vocab_size=1_300), corpus)
    given = train(TrainConfig(kind="wordpiece", vocab_size=1_300, min_frequency=400), corpus)
    assert default.tokenizer.get_vocab_size() == 1_300 > given.tokenizer.get_vocab_size()
    assert default.words is not None and default.min_frequency is not None
    assert default.min_frequency < default_min_frequency(default.words, 1_300)
    assert given.min_frequency == 400


def test_huge_vocabularies_of_words_are_counted_in_bounded_memory() -> None:
    pipeline = _train("wordpiece").tokenizer
    texts = [f"частое слово редкое{number}" for number in range(400)]
    counts = count_words(pipeline, texts, max_words=100)
    assert len(counts) <= 100 and counts["частое"] == counts["слово"] == 400
    assert len(count_words(pipeline, texts)) == 402
    assert count_words(pipeline, []) == Counter()


@pytest.mark.parametrize("kind", KINDS)
def test_bad_wishes_are_refused_in_one_sentence(kind: str) -> None:
    with pytest.raises(SlonikError, match="the corpus is empty"):
        train(TrainConfig(kind=kind), [])  # type: ignore[arg-type]
    with pytest.raises(SlonikError, match="allow more tokens"):
        _train(kind, 10, family="t5")
    if kind != "bpe":  # whose tokens are bytes
        with pytest.raises(SlonikError, match="allow more"):
            _train(kind, 120, family="t5")
    with pytest.raises(SlonikError, match=r"unknown model family 'brt'.*did you mean"):
        _train(kind, family="brt")
    with pytest.raises(SlonikError, match="bert has no sentinels"):
        _train(kind, family="bert", sentinels=3)
