"""Fresh models: stock classes that save and load, published sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from slonik.core.errors import SlonikError
from slonik.models.fresh import FAMILIES, Shape, TokenIds, build
from slonik.models.language_model import load_language_model, save_language_model
from tests import tiny

IDS = TokenIds(size=300, pad=0, bos=1, eos=2, cls=3, sep=4, mask=5)


def shape_of(family: str, **fields: object) -> Shape:
    sizes = {"family": family, "layers": 2, "hidden": 32, "heads": 4, "ffn": 48, "max_length": 64}
    return Shape.model_validate({**sizes, **fields})


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_seed_alone_decides_the_weights_and_the_generator_is_left_alone(family: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = (build(shape_of(family), IDS, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


PUBLISHED = [
    # family, vocabulary, shape, parameters in millions as the authors or the checkpoints give them
    ("bert", 119_547, {"layers": 12, "hidden": 768, "heads": 12}, 178.0),  # RuBERT (DeepPavlov) with its MLM head
    ("roberta", 50_265, {"layers": 24, "hidden": 1024, "heads": 16}, 355.4),  # ruRoBERTa-large
    ("deberta-v2", 128_100, {"layers": 24, "hidden": 1536, "heads": 24, "ffn": 6144}, 880.0),  # v2-xlarge: 900
    ("modernbert", 50_368, {"layers": 22, "hidden": 768, "heads": 12, "ffn": 1152, "max_length": 8192}, 149.0),
    ("gpt2", 50_257, {"layers": 24, "hidden": 1024, "heads": 16, "max_length": 1024}, 354.8),  # GPT-2 medium
    ("t5", 32_128, {"layers": 12, "hidden": 768, "heads": 12, "head_size": 64, "ffn": 2048}, 247.6),  # v1.1 base
    ("fred-t5", 50_364, {"layers": 24, "hidden": 1024, "heads": 16, "head_size": 64, "ffn": 2816}, 820.0),
    ("fred-t5", 50_364, {"layers": 24, "hidden": 1536, "heads": 24, "head_size": 64, "ffn": 4096}, 1740.0),
    ("ltg-bert", 16_384, {"layers": 12, "hidden": 768, "heads": 12, "ffn": 2048}, 98.0),
]


@pytest.mark.parametrize(("family", "vocabulary", "sizes", "millions"), PUBLISHED)
def test_published_sizes(family: str, vocabulary: int, sizes: dict[str, int], millions: float) -> None:
    shape = Shape.model_validate({"family": family, "max_length": 512, **sizes})
    model = build(shape, TokenIds(vocabulary, bos=1, eos=2, cls=1, sep=2), device="meta")
    assert model.num_parameters() / 1e6 == pytest.approx(millions, rel=0.02)


def test_t5_has_a_head_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    model = build(shape_of("t5"), IDS)
    assert model.lm_head.weight.data_ptr() != model.shared.weight.data_ptr()
    assert not model.config.scale_decoder_outputs
    with torch.no_grad():
        model.lm_head.weight[0] = 5.0
    model.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert torch.equal(again.shared.weight, model.shared.weight)
    assert not again.config.scale_decoder_outputs
    ids = torch.tensor([[7, 8, 9]])
    with torch.no_grad():
        ours = model.eval()(input_ids=ids, decoder_input_ids=ids).logits
        assert torch.allclose(again(input_ids=ids, decoder_input_ids=ids).logits, ours, atol=1e-6)


@pytest.mark.parametrize("family", ["t5", "fred-t5"])
def test_a_folder_with_a_parted_head_says_so_however_often_it_is_saved(family: str, tmp_path: Path) -> None:
    model = build(shape_of(family), IDS)
    model.save_pretrained(tmp_path / "first")
    tiny.tokenizer("bpe").save(str(tmp_path / "first" / "tokenizer.json"))
    save_language_model(load_language_model(tmp_path / "first"), tmp_path / "second")
    for name in ("first", "second"):  # Transformers 4 reads the flag, Transformers 5 the weights
        assert json.loads((tmp_path / name / "config.json").read_text())["tie_word_embeddings"] is False
        again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / name)
        assert torch.equal(again.lm_head.weight, model.lm_head.weight) and not again.config.scale_decoder_outputs
        assert not torch.equal(again.lm_head.weight, again.shared.weight)


def test_a_tied_head_goes_on_to_call_itself_tied(tmp_path: Path) -> None:
    config = T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "first")
    tiny.tokenizer("bpe").save(str(tmp_path / "first" / "tokenizer.json"))
    language = load_language_model(tmp_path / "first")
    save_language_model(language, tmp_path / "second")
    assert json.loads((tmp_path / "second" / "config.json").read_text()).get("tie_word_embeddings", True)
    assert language.model.config.scale_decoder_outputs


def test_roberta_positions_begin_behind_the_padding_id() -> None:
    model = build(shape_of("roberta"), TokenIds(300, pad=1, bos=0, eos=2))
    ids = torch.randint(5, 300, (1, 64), generator=torch.Generator().manual_seed(0))
    assert model(input_ids=ids).logits.shape == (1, 64, 300)


def test_next_sentence_head_is_there_when_asked_for(tmp_path: Path) -> None:
    assert hasattr(build(shape_of("bert", next_sentence=True), IDS).cls, "seq_relationship")
    plain = build(shape_of("bert"), IDS)
    assert not hasattr(plain.cls, "seq_relationship")
    plain.save_pretrained(tmp_path)
    assert AutoModelForMaskedLM.from_pretrained(tmp_path).num_parameters() == plain.num_parameters()


@pytest.mark.parametrize(
    ("family", "fields", "sentence"),
    [
        ("bert", {"heads": 5}, "does not divide by 5 heads"),
        ("gpt2", {"decoder_layers": 2}, "decoder_layers is for t5"),
        ("roberta", {"next_sentence": True}, "next_sentence is for bert"),
    ],
)
def test_sizes_that_do_not_fit_the_family_are_refused(family: str, fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        shape_of(family, **fields)


def test_an_option_of_the_wrong_kind_is_one_sentence() -> None:
    with pytest.raises(SlonikError, match="no bert can be made with this shape"):
        build(shape_of("bert", options={"hidden_act": "no such function"}), IDS)


def test_an_option_that_nothing_reads_is_refused() -> None:
    with pytest.raises(SlonikError, match="unknown option of bert 'layer_norm_epsilon'; did you mean 'layer_norm_eps'"):
        build(shape_of("bert", options={"layer_norm_epsilon": 1e-6}), IDS)
    # No field of the config, and yet read by the model.
    options = {"conv_kernel_size": 3, "conv_act": "gelu"}
    assert any("conv" in name for name, _ in build(shape_of("deberta-v2", options=options), IDS).named_parameters())
    assert build(shape_of("ltg-bert", options={"layer_norm_eps": 1e-5}), IDS).config.layer_norm_eps == 1e-5
