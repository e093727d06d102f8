"""Writing: against transformers' own greedy generation, alone and in batches, streams, ends, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from slonik.core.errors import SlonikError
from slonik.models.fresh import Shape, TokenIds, build
from slonik.models.generation import TextGenerator, load_generator
from slonik.models.writing import generate
from slonik.runtime.sampling import SamplingConfig
from slonik.runtime.writing import WritingBatch
from slonik.text.tokenizing import write_tokenizer
from tests import tiny

PROMPTS = ["Маленький слон", "Снег", "Вчера в городе выпал первый снег и"]
GREEDY = SamplingConfig(max_tokens=12, temperature=0)


def _writer(family: str, seed: int = 3, **fields: object) -> TextGenerator:
    shape = {"family": family, "layers": 2, "hidden": 32, "heads": 4, "ffn": 64, "max_length": 64, **fields}
    tokenizer = tiny.tokenizer("bpe")
    model = build(Shape.model_validate(shape), TokenIds(tokenizer.get_vocab_size(), pad=1, bos=0, eos=2), seed=seed)
    with torch.no_grad():  # random models are nearly indifferent: make their choices plain
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(3.0 if "shared" not in name else 1.0)
    return TextGenerator(model, tokenizer, family)


def _tokens(writer: TextGenerator, prompt: str, config: SamplingConfig) -> list[int]:
    text = writer.begin(prompt, config)
    batch = WritingBatch(writer)
    batch.add([text])
    while text.open:
        batch.step()
    return text.written


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_greedy_writing_is_that_of_transformers(family: str) -> None:
    writer = _writer(family)
    for prompt in PROMPTS:
        ids = torch.tensor([writer.prompt_ids(prompt)])
        expected = writer.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=1, eos_token_id=2
        )[0].tolist()
        expected = expected[1:] if family == "t5" else expected[ids.shape[1] :]
        expected = expected[: expected.index(2)] if 2 in expected else expected
        assert _tokens(writer, prompt, GREEDY) == expected


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_batch_writes_what_each_prompt_gets_alone(family: str) -> None:
    writer = _writer(family)
    sampling = SamplingConfig(max_tokens=10, temperature=0.8, top_p=0.9, top_k=50, repetition_penalty=1.2, seed=5)
    together = writer.complete(PROMPTS, sampling)
    alone = [writer.complete([prompt], sampling, first=number)[0] for number, prompt in enumerate(PROMPTS)]
    assert together == alone
    assert together != writer.complete(PROMPTS, sampling.model_copy(update={"seed": 6}))


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_stream_is_the_text_in_pieces(family: str) -> None:
    writer = _writer(family)
    sampling = SamplingConfig(max_tokens=15, seed=1)
    pieces = list(writer.stream(PROMPTS[0], sampling))
    assert "".join(pieces) == writer.complete(PROMPTS[:1], sampling)[0]
    assert len(pieces) > 3


def test_writing_stops_at_the_end_token_and_at_the_context() -> None:
    writer = _writer("gpt2", max_length=16)
    ids = writer.prompt_ids(PROMPTS[0])
    assert 0 < len(_tokens(writer, PROMPTS[0], SamplingConfig(max_tokens=500, top_k=1))) <= 16 - len(ids)
    writer.prompts.facts = replace(writer.facts, ends=frozenset(range(500)))
    assert writer.complete([PROMPTS[0]], GREEDY) == [""]


def test_prompts_begin_with_the_begin_token_and_need_room() -> None:
    writer = _writer("gpt2", max_length=16)
    assert writer.prompt_ids("слон")[0] == 0 and writer.prompt_ids("слон")[-1] != 2
    assert writer.prompt_ids("") == [0]
    with pytest.raises(SlonikError, match="takes fewer than 16"):
        writer.complete(["слон " * 30])


def test_a_model_that_does_not_write_is_refused(tmp_path: Path) -> None:
    model = build(Shape(family="bert", layers=1, hidden=16, heads=2), TokenIds(300))
    model.save_pretrained(tmp_path)
    with pytest.raises(SlonikError, match="does not write texts"):
        load_generator(tmp_path)


SMALL = {"vocab_size": 500, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OTHERS = {
    "opt": {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    "gemma": {**SMALL, "intermediate_size": 64, "num_key_value_heads": 4, "head_dim": 8},
    "bloom": {"vocab_size": 500, "hidden_size": 32, "n_layer": 2, "n_head": 4},
}


@pytest.mark.parametrize("family", OTHERS)
def test_other_decoders_write_in_batches_and_answer(family: str, tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer("bpe")
    config = AutoConfig.for_model(family, **OTHERS[family], bos_token_id=0, pad_token_id=1, eos_token_id=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    write_tokenizer(tokenizer, tmp_path, names={"eos_token": "</s>"}, max_length=64, types=False)
    writer = load_generator(tmp_path, max_length=40)
    alone = [writer.complete([prompt], GREEDY)[0] for prompt in PROMPTS]
    assert writer.complete(PROMPTS, GREEDY) == alone
    assert [row.shape for row in writer.likelihoods(PROMPTS[:2], [["да", "нет"], ["да"]])] == [(2,), (1,)]
    assert writer.answers(["слон " * 100], max_tokens=4)


def test_the_end_of_a_prompt_is_put_where_the_tokenizer_does_not() -> None:
    writer = _writer("t5")
    for prompt in PROMPTS:
        ids = writer.prompt_ids(prompt)
        assert ids[-1] == writer.eos_id == 2 and ids.count(2) == 1


def test_generate_takes_any_number_of_prompts_and_a_loaded_model() -> None:
    writer = _writer("gpt2")
    made = generate(writer, PROMPTS, max_tokens=6, temperature=0, batch_size=2)
    assert [one.prompt for one in made] == PROMPTS
    assert [one.text for one in made] == writer.complete(PROMPTS, SamplingConfig(max_tokens=6, temperature=0))
    assert all(one.whole == one.prompt + one.text for one in made)
    with pytest.raises(SlonikError, match="top_p"):
        generate(writer, PROMPTS, top_p=2)


def test_checkpoint_writes_the_same_as_the_model(tmp_path: Path) -> None:
    writer = _writer("gpt2")
    writer.model.save_pretrained(tmp_path)
    write_tokenizer(writer.tokenizer, tmp_path, names={"eos_token": "</s>"}, max_length=64, types=False)
    assert load_generator(tmp_path).complete(PROMPTS, GREEDY) == writer.complete(PROMPTS, GREEDY)
