"""Trimming: texts whose tokens all survive are cut exactly as before, whatever the kind of tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.fit import count_tokens
from slonik.text.tokenizers.rules import TrimRules, choose_tokens, token_scripts
from slonik.text.tokenizers.trim import TrimPlan, new_order, rebuild, remap_config, trim
from slonik.text.tokenizers.vocabulary import read_vocabulary
from tests.tiny.texts import PAIRS, TEXTS
from tests.tiny.tokenizers import TOKENIZER_KINDS, tokenizer

ENGLISH = [english for english, _ in PAIRS]
CHINESE = ["大象走过森林。", "我的书在桌子上。", "昨天下了第一场雪。"]


def _fallback_bpe() -> Tokenizer:
    """BPE over characters with word-start marks and byte fallback, as Llama has it, ids out of order."""
    toy = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    toy.pre_tokenizer = pre_tokenizers.Metaspace()
    toy.decoder = decoders.Metaspace()
    specials = ["<unk>", "<pad>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=specials, show_progress=False)
    toy.train_from_iterator(TEXTS + ENGLISH, trainer)
    content = json.loads(toy.to_str())
    content["added_tokens"] = content["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(content))


def _toys() -> dict[str, Tokenizer]:
    toys = {kind: tokenizer(kind, 700) for kind in TOKENIZER_KINDS}
    return toys | {"fallback-bpe": _fallback_bpe()}


TOYS = _toys()


def _random_texts(seed: int, count: int) -> list[str]:
    """Texts from words of both languages, glued and cut at random places, with strange characters between."""
    rng = random.Random(seed)
    words = " ".join(TEXTS + ENGLISH).split() + CHINESE + ["ё", "й", "№5", "😀", "\u0301", "query:", "[MASK]", "<s>"]
    texts = []
    for _ in range(count):
        text = rng.choice(["", " ", "-"]).join(rng.choices(words, k=rng.randint(1, 8)))
        start = rng.randint(0, len(text) - 1)
        texts.append(text[start : start + rng.randint(1, 60)])
    return texts


def _assert_same_cuts(old: Tokenizer, plan_ids: tuple[int, ...], new: Tokenizer, texts: list[str]) -> int:
    """Every text whose old tokens all survive has the same tokens; returns how many such texts there were."""
    survivors = set(plan_ids)
    same = 0
    for text in texts:
        before = old.encode(text)
        if survivors.issuperset(before.ids):
            after = new.encode(text)
            assert [plan_ids[i] for i in after.ids] == before.ids, text
            assert after.tokens == before.tokens and after.offsets == before.offsets
            same += 1
    return same


@pytest.mark.parametrize("kind", TOYS)
@pytest.mark.parametrize("seed", range(4))
def test_texts_whose_pieces_survive_are_cut_as_before(kind: str, seed: int) -> None:
    """The property that makes trimming lossless, over random halves of the vocabulary and random texts."""
    old = TOYS[kind]
    vocabulary = read_vocabulary(old)
    rng = random.Random(seed)
    chosen = {i for i in vocabulary.tokens if rng.random() < (0.5, 0.9, 0.97, 0.2)[seed]}
    none = np.zeros(vocabulary.size, dtype=np.int64)
    kept = choose_tokens(vocabulary, TrimRules(mode="counts"), none, extra=chosen)
    order = new_order(vocabulary, kept)
    new = rebuild(vocabulary, order)
    assert len(order) == len(kept) == new.get_vocab_size() < len(vocabulary.tokens)
    assert _assert_same_cuts(old, order, new, _random_texts(seed, 600)) > (0 if seed == 3 else 100)


@pytest.mark.parametrize("kind", TOYS)
def test_a_corpus_that_was_counted_is_cut_as_before(kind: str) -> None:
    plan = trim(TOYS[kind], TrimRules(mode="counts"), TEXTS[:20], held_out=TEXTS[20:] + ENGLISH)
    assert _assert_same_cuts(TOYS[kind], plan.token_ids, plan.tokenizer, TEXTS[:20]) == 20
    report = plan.report
    assert report.pieces_after == len(plan.token_ids) < report.pieces_before
    assert report.held_out["all"].texts == 36 == report.held_out["cyrillic"].texts + report.held_out["latin"].texts
    assert report.held_out["all"].identical < 36 and report.held_out["all"].token_growth > 0


@pytest.mark.parametrize("kind", TOYS)
def test_the_default_keeps_all_cyrillic_and_the_latin_that_the_corpus_uses(kind: str) -> None:
    old = TOYS[kind]
    plan = trim(old, TrimRules(), TEXTS[:1] + ENGLISH[:3])
    vocabulary = read_vocabulary(old)
    scripts = token_scripts(vocabulary)
    kept = set(plan.token_ids)
    assert {i for i, script in scripts.items() if script in ("cyrillic", "common", "special")} <= kept
    counts = count_tokens(old, TEXTS[:1] + ENGLISH[:3])
    latin = {i for i, script in scripts.items() if script == "latin"}
    used = {i for i in latin if counts[i]}
    single = {i for i in latin if len(vocabulary.surface(i) or "") == 1}
    assert used | single <= kept
    assert (latin & kept) < latin
    if vocabulary.kind != "bpe":
        assert latin & kept == used | single | (kept & {min(vocabulary.tokens, key=vocabulary.score)} & latin)


@pytest.mark.parametrize("kind", TOYS)
def test_a_limit_drops_the_rarest_pieces_first(kind: str) -> None:
    old = TOYS[kind]
    vocabulary = read_vocabulary(old)
    counts = count_tokens(old, TEXTS + ENGLISH)
    free = set(trim(old, TrimRules(), TEXTS + ENGLISH).token_ids)
    tight = set(trim(old, TrimRules(max_pieces=len(free) - 60), TEXTS + ENGLISH).token_ids)
    assert tight < free and len(tight) == len(free) - 60
    dropped = free - tight
    # A part of a BPE token has to wait until that token is dropped, and then has its uses too.
    parts = {part for left, right, result in vocabulary.merges() if result in free for part in (left, right)}
    droppable = {i for i in tight - parts if len(vocabulary.surface(i) or "") > 1 and not vocabulary.is_byte(i)}
    droppable -= set(vocabulary.specials)
    assert max(counts[i] for i in dropped) <= min(counts[i] for i in droppable)


@pytest.mark.parametrize("kind", TOYS)
def test_too_tight_a_limit_names_the_nearest_one(kind: str) -> None:
    with pytest.raises(SlonikError, match=r"at most 50 tokens are allowed, but (\d+) must stay") as caught:
        trim(TOYS[kind], TrimRules(max_pieces=50), TEXTS)
    least = int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))
    assert trim(TOYS[kind], TrimRules(max_pieces=least), TEXTS).report.pieces_after == least


@pytest.mark.parametrize("kind", TOYS)
def test_no_text_of_the_wanted_scripts_turns_unknown(kind: str) -> None:
    old = TOYS[kind]
    plan = trim(old, TrimRules(mode="counts", min_count=10_000), TEXTS, held_out=TEXTS + ENGLISH)
    assert plan.report.held_out["all"].unknown_after == plan.report.held_out["all"].unknown_before


def test_prefixes_and_named_texts_stay() -> None:
    old = TOYS["unigram"]
    rules = TrimRules(always_keep=("The weather will be clear",))
    plan = trim(old, rules, TEXTS[:2])
    assert set(old.encode("The weather will be clear").ids) <= set(plan.token_ids)
    assert not set(old.encode("The weather will be clear").ids) <= set(trim(old, TrimRules(), TEXTS[:2]).token_ids)


def _with_special_ids_in_the_middle() -> Tokenizer:
    """A WordPiece vocabulary as BERT has it: padding first, other specials further on, one added token outside."""
    tokens = ["[PAD]", "unused", "а", "##б", "[UNK]", "[CLS]", "[SEP]", "слон", "ele", "##phant", "##a", "a"]
    toy = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    toy.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    toy.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", AddedToken("[NEW]", special=True)])
    toy.post_processor = processors.BertProcessing(("[SEP]", 6), ("[CLS]", 5))
    toy.enable_padding(pad_id=0, pad_token="[PAD]")
    toy.enable_truncation(8)
    return toy


def test_special_tokens_move_together_with_everything_that_names_them() -> None:
    old = _with_special_ids_in_the_middle()
    plan = trim(old, TrimRules(), ["слон [NEW]"])
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "а", "##б", "слон", "##a", "a", "[NEW]"]
    assert [plan.tokenizer.id_to_token(i) for i in range(10)] == tokens
    assert plan.token_ids == (0, 4, 5, 6, 2, 3, 7, 10, 11, 12)
    assert plan.tokenizer.encode("слон [NEW]").tokens == ["[CLS]", "слон", "[NEW]", "[SEP]"]
    batch = plan.tokenizer.encode_batch(["слон", "слон слон"])
    assert batch[0].tokens == ["[CLS]", "слон", "[SEP]", "[PAD]"] and batch[0].ids[-1] == 0
    config = {"pad_token_id": 0, "unk_token_id": 4, "eos_token_id": [6, 9], "bos_token_id": 8, "vocab_size": 13}
    assert plan.config_changes(config) == {"unk_token_id": 1, "eos_token_id": [3], "bos_token_id": None}


def test_the_padding_token_keeps_its_id() -> None:
    tokens = ["слон", "[UNK]", "мышь", "<pad>", "cat", "##а"]
    toy = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    toy.add_special_tokens(["<pad>"])
    plan = trim(toy, TrimRules(), ["слон"])
    assert plan.tokenizer.token_to_id("<pad>") == 3
    assert remap_config({"pad_token_id": 3}, plan.token_ids) == {}


@pytest.mark.parametrize("kind", ["roberta", "sequence"])
def test_nested_post_processors_are_renumbered(kind: str) -> None:
    toy = tokenizer("bpe", 400)
    inner = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    toy.post_processor = (
        inner if kind == "roberta" else processors.Sequence([processors.ByteLevel(trim_offsets=False), inner])
    )
    content = json.loads(toy.to_str())
    ids = {"<s>": 0, "<pad>": 1, "<extra>": 2, "</s>": 3, "<unk>": 4, "<mask>": 5}
    rest = {token: i + 1 for token, i in content["model"]["vocab"].items() if i > 4}
    content["model"]["vocab"] = ids | rest
    for token in content["added_tokens"]:
        token["id"] = ids[token["content"]]
    text = json.dumps(content).replace('["</s>", 2]', '["</s>", 3]')
    plan = trim(Tokenizer.from_str(text), TrimRules(mode="counts"), TEXTS)
    assert plan.tokenizer.encode("слон").tokens[:: len(plan.tokenizer.encode("слон").tokens) - 1] == ["<s>", "</s>"]
    assert plan.tokenizer.token_to_id("</s>") == 2 and plan.tokenizer.token_to_id("<extra>") is None


def test_an_added_padding_token_with_another_name_is_not_needed() -> None:
    toy = Tokenizer(models.WordPiece({"[UNK]": 0, "слон": 1, "mouse": 2}, unk_token="[UNK]"))
    assert trim(toy, TrimRules(), ["слон"]).token_ids == (0, 1)


def test_bad_wishes_are_refused_in_one_sentence() -> None:
    with pytest.raises(SlonikError, match="the corpus is empty"):
        trim(TOYS["bpe"], TrimRules(), [])
    with pytest.raises(SlonikError, match=r"unknown language or script 'rus'.*did you mean"):
        trim(TOYS["bpe"], TrimRules(scripts=("rus",)), TEXTS)
    with pytest.raises(SlonikError, match="no language is given"):
        trim(TOYS["bpe"], TrimRules(scripts=()), TEXTS)
    words = Tokenizer(models.WordLevel({"слон": 0}, unk_token="слон"))
    with pytest.raises(SlonikError, match="Unigram, WordPiece and BPE"):
        trim(words, TrimRules(), TEXTS)


def _save(plan: TrimPlan, folder: Path) -> None:
    plan.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
def test_transformers_loads_the_trimmed_tokenizer(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    plan = trim(TOYS[kind], TrimRules(), TEXTS)
    _save(plan, tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS + ENGLISH:
        assert loaded(text)["input_ids"] == plan.tokenizer.encode(text).ids
