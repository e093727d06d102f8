"""TorchEncoder against plain transformers, one text at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.protocols import Encoder, FloatArray, PoolingEncoder, TokenEncoder
from slonik.models.encoder import TorchEncoder, position_limit
from slonik.text.sentence_config import SentenceConfig
from tests import tiny


@pytest.fixture(scope="module", params=tiny.ENCODERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of each family."""
    return tiny.checkpoint(tmp_path_factory.mktemp("tiny") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    """A tiny BERT with mean pooling, not normalised, no prefixes."""
    return models.load(tiny.checkpoint(tmp_path_factory.mktemp("bert") / "bert"))


def reference(folder: Path, texts: list[str]) -> dict[str, FloatArray]:
    """Poolings of stock AutoModel and AutoTokenizer, text by text without padding."""
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found: dict[str, list[FloatArray]] = {"cls": [], "mean": [], "pooler": []}
    for text in texts:
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            output = model(**batch)
        hidden = output.last_hidden_state[0].numpy()
        found["cls"].append(hidden[0])
        found["mean"].append(hidden.mean(0))
        if getattr(output, "pooler_output", None) is not None:
            found["pooler"].append(output.pooler_output[0].numpy())
    return {kind: np.stack(rows) for kind, rows in found.items() if rows}


def test_poolings_equal_stock_transformers(folder: Path) -> None:
    encoder = models.load(folder)
    expected = reference(folder, tiny.TEXTS)
    found = encoder.encode_poolings(tiny.TEXTS, encoder.poolings)
    assert set(found) == set(expected)
    for kind, vectors in expected.items():
        np.testing.assert_allclose(found[kind], vectors, atol=1e-5)
        assert found[kind].dtype == np.float32


def test_vectors_do_not_depend_on_the_batch(folder: Path) -> None:
    encoder = models.load(folder)
    whole = encoder.encode(tiny.TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in tiny.TEXTS])
    np.testing.assert_allclose(whole, alone, atol=1e-5)
    encoder.batch_tokens = 100
    backwards = encoder.encode(tiny.TEXTS[::-1])[::-1]
    np.testing.assert_allclose(whole, backwards, atol=1e-5)


def test_save_and_load_keep_vectors_and_load_in_plain_transformers(folder: Path, tmp_path: Path) -> None:
    encoder = models.load(folder)
    saved = models.save(encoder, tmp_path / "saved")
    again = models.load(saved)
    np.testing.assert_array_equal(again.encode(tiny.TEXTS), encoder.encode(tiny.TEXTS))
    assert again.weights_hash() == encoder.weights_hash()
    assert again.sentence == encoder.sentence
    np.testing.assert_allclose(reference(saved, tiny.TEXTS)["mean"], reference(folder, tiny.TEXTS)["mean"], atol=1e-6)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert [tokenizer(text)["input_ids"] for text in tiny.TEXTS] == again.tokenize(tiny.TEXTS)
    assert tokenizer.pad_token_id == 1


def test_texts_are_cut_at_the_positions_that_the_family_has(folder: Path) -> None:
    encoder = models.load(folder)
    assert encoder.max_length == 64
    table = encoder.model.config.model_type not in ("modernbert", "deberta-v2")
    assert position_limit(encoder.model) == (64 if table else None)
    long = " ".join(tiny.TEXTS)
    (ids,) = encoder.tokenize([long])
    whole = encoder.tokenizer.encode(long).ids
    assert ids == whole[:63] + whole[-1:]
    assert np.isfinite(encoder.encode([long])).all()


def test_token_offsets_spell_the_pieces(folder: Path) -> None:
    encoder = models.load(folder)
    texts = ["Слон  идёт, снег. ", "Ещё один", ""]
    for prefix in ("", "query: "):
        found = encoder.encode_tokens(texts, prefix=prefix)
        for text, tokens in zip(texts, found, strict=True):
            (ids,) = encoder.tokenize([text], prefix=prefix)
            assert tokens.vectors.shape == (len(ids), encoder.dimension)
            assert tokens.vectors.dtype == np.float32
            assert tokens.special[0] and tokens.special[-1]
            assert (tokens.offsets[tokens.special] == 0).all()
            spans = [text[start:end] for start, end in tokens.offsets[~tokens.special]]
            assert all(span == span.strip() for span in spans)
            kept = dict.fromkeys(i for start, end in tokens.offsets[~tokens.special] for i in range(start, end))
            assert "".join(text[i] for i in kept) == "".join(text.split())


def test_token_vectors_are_the_rows_behind_the_mean(folder: Path) -> None:
    encoder = models.load(folder)
    tokens = encoder.encode_tokens(tiny.TEXTS[:8])
    means = np.stack([found.vectors.mean(0) for found in tokens])
    np.testing.assert_allclose(means, encoder.encode_poolings(tiny.TEXTS[:8], ["mean"])["mean"], atol=1e-5)


def test_it_is_shown_in_a_few_words(bert: TorchEncoder) -> None:
    assert repr(bert) == f"TorchEncoder({bert.name!r}, {bert.dimension} dimensions)"


def test_protocols_hold(bert: TorchEncoder) -> None:
    assert isinstance(bert, Encoder)
    assert isinstance(bert, PoolingEncoder)
    assert isinstance(bert, TokenEncoder)


def test_prefix_none_is_the_default_and_empty_is_none(bert: TorchEncoder) -> None:
    prefixes = {"query": "вопрос: ", "passage": "ответ: "}
    sentence = SentenceConfig(prefixes=prefixes, default_prefix="query", max_length=64)
    encoder = TorchEncoder(bert.model, bert.tokenizer, sentence)
    texts = tiny.TEXTS[:3]
    plain = [prefixes["query"] + text for text in texts]
    np.testing.assert_allclose(encoder.encode(texts), encoder.encode(plain, prefix=""), atol=1e-6)
    np.testing.assert_allclose(encoder.encode(texts, prefix="вопрос: "), encoder.encode(texts), atol=1e-6)
    assert not np.allclose(encoder.encode(texts, prefix=""), encoder.encode(texts), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(texts), axis=1), 1.0, atol=1e-6)


def test_windows_average_by_token_count(bert: TorchEncoder) -> None:
    sentence = SentenceConfig.of(max_length=12, normalize=False)
    encoder = TorchEncoder(bert.model, bert.tokenizer, sentence, long_texts="average")
    text = " ".join(tiny.TEXTS[:4])
    content = bert.tokenizer.encode(text, add_special_tokens=False).ids
    parts = [content[start : start + 10] for start in range(0, len(content), 10)]
    expected = np.zeros(encoder.dimension)
    for part in parts:
        with torch.no_grad():
            hidden = bert.model(input_ids=torch.tensor([[0, *part, 2]])).last_hidden_state
        expected += hidden[0].mean(0).numpy() * len(part) / len(content)
    np.testing.assert_allclose(encoder.encode([text])[0], expected, atol=1e-5)
    short = TorchEncoder(bert.model, bert.tokenizer, SentenceConfig.of(normalize=False), long_texts="average")
    np.testing.assert_allclose(short.encode(tiny.TEXTS), bert.encode(tiny.TEXTS), atol=1e-5)


def test_odd_texts(bert: TorchEncoder) -> None:
    assert bert.encode([]).shape == (0, bert.dimension)
    assert bert.encode_tokens([]) == []
    assert np.isfinite(bert.encode(["", " ", "\u0000", "\ud800 обрывок", "🐘" * 100])).all()
    with pytest.raises(TypeError, match="one string"):
        bert.encode("одна строка")


def test_a_tokenizer_without_specials_still_gives_every_text_a_vector() -> None:
    toy = tiny.tokenizer("bpe")
    toy.post_processor = None
    encoder = TorchEncoder(tiny.model("roberta", vocab_size=toy.get_vocab_size()), toy, SentenceConfig(max_length=64))
    assert np.isfinite(encoder.encode(["", "слон"])).all()
    assert [len(tokens.vectors) for tokens in encoder.encode_tokens(["", "слон"])] == [
        len(ids) for ids in encoder.tokenize(["", "слон"])
    ]


def test_unknown_pooling_is_refused(bert: TorchEncoder, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="it has cls, mean, pooler"):
        bert.encode_poolings(["слон"], ["max"])
    modern = models.load(tiny.checkpoint(tmp_path / "modern", "modernbert"))
    with pytest.raises(SlonikError, match="no pooling 'pooler'"):
        modern.encode_poolings(["слон"], ["pooler"])


@pytest.mark.parametrize(("dtype", "weights"), [("bfloat16", torch.bfloat16), ("autocast", torch.float32)])
def test_bfloat16_stays_close_and_gives_float32(
    dtype: str, weights: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: True)
    folder = tiny.checkpoint(tmp_path / "xlmr", "xlm-roberta")
    half = models.load(folder, dtype=dtype)
    vectors, exact = half.encode(tiny.TEXTS), models.load(folder).encode(tiny.TEXTS)
    assert next(half.model.parameters()).dtype == weights
    assert vectors.dtype == np.float32
    cosines = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(exact, axis=1)
    assert 0.995 < cosines.min() < 1 - 1e-6
    with pytest.raises(SlonikError, match="did you mean 'bfloat16'"):
        models.load(folder, dtype="bfloat")


def test_one_thread_and_several_tokenise_alike(bert: TorchEncoder) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = bert.tokenize(tiny.TEXTS)
        torch.set_num_threads(2)
        assert bert.tokenize(tiny.TEXTS) == one
    finally:
        torch.set_num_threads(threads)


def test_sentence_transformers_reads_what_we_save(bert: TorchEncoder, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    sentence = SentenceConfig(prefixes={"query": "вопрос: "}, default_prefix="query", max_length=64)
    encoder = TorchEncoder(bert.model, bert.tokenizer, sentence)
    theirs = library.SentenceTransformer(str(models.save(encoder, tmp_path / "saved")), device="cpu")
    np.testing.assert_allclose(theirs.encode(tiny.TEXTS), encoder.encode(tiny.TEXTS), atol=1e-5)


def test_identity_is_everything_that_decides_the_vectors(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "model")
    first = models.load(folder)
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert models.load(tmp_path / "elsewhere").identity() == first.identity()
    found = {first.identity()}
    for change in (
        {"config.json": {"hidden_act": "relu"}},
        {"config.json": {"num_attention_heads": 2}},
        {"1_Pooling/config.json": {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}},
        {"sentence_bert_config.json": {"max_seq_length": 7}},
        {"config_sentence_transformers.json": {"prompts": {"query": "q: "}, "default_prompt_name": "query"}},
        {"tokenizer.json": {"normalizer": None}},
    ):
        other = shutil.copytree(folder, tmp_path / str(len(found)))
        for name, fields in change.items():
            path = other / name
            content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            path.write_text(json.dumps(content | fields), encoding="utf-8")
        found.add(models.load(other).identity())
    first.long_texts = "average"
    found.add(first.identity())
    assert len(found) == 8
