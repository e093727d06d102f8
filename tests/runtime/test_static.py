"""Tables of token vectors: equal to sentence-transformers, precise as their bits allow, damaged files refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from slonik.core.errors import SlonikError
from slonik.runtime import static
from slonik.runtime.static import Precision, StaticEncoder, quantised
from slonik.text.tokenizers.training import TrainConfig, train

TEXTS = ["слон идёт домой", "Слон", "домой идёт слон и слонёнок", "мимо", "", "слон " * 50]
WORDS = ["[UNK]", "слон", "идёт", "домой", "и", "слонёнок", "мимо"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()  # type: ignore[assignment]
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return made


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(WORDS), 16)).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("normalize", [True, False])
def test_sentence_transformers_gives_the_same_vectors(
    tokenizer: Tokenizer, vectors: np.ndarray, tmp_path: Path, precision: Precision, normalize: bool
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    own = StaticEncoder(quantised(vectors, precision), tokenizer, normalize=normalize)
    own.write(tmp_path)
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    texts = [text for text in TEXTS if text]
    read = static.load(tmp_path)
    np.testing.assert_allclose(read.encode(texts), own.encode(texts), atol=1e-6)
    tolerance = 2e-3 if precision == "fp16" else 1e-5
    np.testing.assert_allclose(read.encode(texts), np.asarray(theirs.encode(texts), dtype=np.float32), atol=tolerance)


def test_the_mean_is_that_by_hand(tokenizer: Tokenizer, vectors: np.ndarray) -> None:
    encoder = StaticEncoder(quantised(vectors, "fp32"), tokenizer, normalize=False)
    np.testing.assert_allclose(encoder.encode(["слон идёт"])[0], (vectors[1] + vectors[2]) / 2, atol=1e-6)
    assert not encoder.encode([""]).any()
    assert encoder.encode([]).shape == (0, 16)


def test_fewer_bits_keep_the_direction(tokenizer: Tokenizer, vectors: np.ndarray) -> None:
    exact = StaticEncoder(quantised(vectors, "fp32"), tokenizer).encode(TEXTS[:4])
    for precision, least in (("int8", 0.9999), ("bit", 0.7)):
        found = StaticEncoder(quantised(vectors, precision), tokenizer).encode(TEXTS[:4])  # type: ignore[arg-type]
        assert (found * exact).sum(1).min() > least
    assert quantised(vectors, "bit").rows.nbytes * 32 == vectors.nbytes


def test_one_bit_is_read_back_as_it_was_written(tokenizer: Tokenizer, vectors: np.ndarray, tmp_path: Path) -> None:
    own = StaticEncoder(quantised(vectors, "bit"), tokenizer, prefixes={"query": "слон "}, default_prefix="query")
    own.write(tmp_path)
    read = static.load(tmp_path)
    assert read.table.precision == "bit"
    assert read.identity() == own.identity()
    np.testing.assert_array_equal(read.encode(TEXTS), own.encode(TEXTS))
    np.testing.assert_array_equal(read.encode(["идёт"]), read.encode(["слон идёт"], prefix=""))


def test_what_is_no_static_model_is_refused(tokenizer: Tokenizer, vectors: np.ndarray, tmp_path: Path) -> None:
    own = StaticEncoder(quantised(vectors, "int8"), tokenizer)
    own.write(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())

    def refused(words: str, change: list[dict[str, str]]) -> None:
        (tmp_path / "modules.json").write_text(json.dumps(change))
        with pytest.raises(SlonikError, match=words):
            static.load(tmp_path)

    refused("does not begin with", modules[1:])
    refused("Dense", [modules[0], {"path": "1", "type": "sentence_transformers.models.Dense"}])
    refused("outside the folder", [{**modules[0], "path": ".."}, modules[1]])
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(SlonikError, match="damaged"):
        static.load(tmp_path)
    with pytest.raises(SlonikError, match="do not belong together"):
        StaticEncoder(quantised(vectors[:3], "fp32"), tokenizer)
    with pytest.raises(SlonikError, match="multiple of 8"):
        quantised(vectors[:, :12], "bit")


def test_the_library_knows_what_it_is(tokenizer: Tokenizer, vectors: np.ndarray, tmp_path: Path) -> None:
    import slonik

    own = StaticEncoder(quantised(vectors, "int8"), tokenizer)
    own.write(tmp_path)
    np.testing.assert_array_equal(slonik.load(tmp_path).encode(TEXTS), own.encode(TEXTS))
    assert slonik.show(tmp_path).facts["precision"] == "int8"
    with pytest.raises(SlonikError, match="is not loaded with pooling="):
        slonik.load(tmp_path, pooling="cls")
    with pytest.raises(SlonikError, match="static model"):
        slonik.compress(tmp_path, corpus=["слон идёт"] * 200, out=tmp_path.parent / "static-cut")


@pytest.fixture(scope="module")
def learnt() -> Tokenizer:
    """A Unigram tokenizer as `slonik compress --static` makes it."""
    texts = ["слон идёт домой", "мышь бежит в лес", "а слон спит, и не идёт!", "Ёж и лес 25"] * 20
    config = TrainConfig(kind="unigram", vocab_size=60, lowercase=True, family="gpt2", byte_fallback=False)
    return train(config, texts).tokenizer


def test_ids_from_memory_are_those_of_the_tokenizer(learnt: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ["слон", "Идёт", " ", "  ", "\n", "\t", "\u00a0", ".", "<s>", "</s>", "<unk>", "\u00b4", "\u0308", "\u2028",
             "😀", "ﬁ", "25", "▁", "ё", "\u0000", "\x1c", "İ", "…"]  # fmt: skip
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(parts, size=random.integers(0, 9))) for _ in range(3000)]
    expected = [encoding.ids for encoding in learnt.encode_batch(texts, add_special_tokens=False)]
    remembered = static.WordIds(learnt)
    assert remembered._by_words
    for _ in range(2):
        assert [list(ids) for ids in remembered(texts)] == expected
    monkeypatch.setattr(static, "_MOST_WORDS", 5)
    forgetful = static.WordIds(learnt)
    for first in range(0, len(texts), 100):
        assert [list(ids) for ids in forgetful(texts[first : first + 100])] == expected[first : first + 100]


def test_a_tokenizer_that_looks_further_than_a_word_is_asked_itself(tokenizer: Tokenizer, learnt: Tokenizer) -> None:
    assert not static.WordIds(tokenizer)._by_words
    for change in ({"pre_tokenizer": None}, {"truncation": {"max_length": 3}}, {"normalizer": {"type": "Replace"}}):
        content = json.loads(learnt.to_str())
        assert static._cuts_at_spaces(content)
        assert not static._cuts_at_spaces(content | change)
    content["added_tokens"].append({"content": "в лес", "lstrip": False, "rstrip": False})
    assert not static._cuts_at_spaces(content)
