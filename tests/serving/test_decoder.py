"""A real (tiny, random) causal language model behind the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.models.generation import TextGenerator, load_generator
from slonik.runtime.sampling import SamplingConfig
from slonik.runtime.writing import WritingBatch
from tests.serving.conftest import Serve
from tests.tiny import models as tiny
from tests.tiny import tokenizers as toy

PROMPT = "Маленький слон"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny GPT-2 with its language model head."""
    from transformers import GPT2LMHeadModel, set_seed

    set_seed(0)
    tokenizer = toy.tokenizer("bpe")
    folder = tmp_path_factory.mktemp("gpt") / "tiny-gpt"
    GPT2LMHeadModel(tiny.config("gpt2", vocab_size=tokenizer.get_vocab_size())).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def decoder(folder: Path) -> TextGenerator:
    writer = load_generator(folder, dtype="auto")
    writer.name = folder.name
    return writer


def test_greedy_text_is_that_of_transformers(decoder: TextGenerator) -> None:
    import torch

    model, tokenizer = decoder.model, decoder.tokenizer
    ids = decoder.prompt_ids(PROMPT)
    whole = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=1)[0].tolist()
    expected = tokenizer.decode(whole)[len(tokenizer.decode(ids)) :]
    written = "".join(decoder.generate(PROMPT, max_tokens=12, temperature=0))
    assert written == expected.rstrip("\ufffd")
    assert written


def test_a_tiny_nucleus_is_greedy(decoder: TextGenerator) -> None:
    greedy = "".join(decoder.generate(PROMPT, max_tokens=8, temperature=0))
    assert "".join(decoder.generate(PROMPT, max_tokens=8, top_p=1e-9)) == greedy


def test_what_is_drawn_differs_from_request_to_request(decoder: TextGenerator) -> None:
    texts = {"".join(decoder.generate(PROMPT, max_tokens=20, temperature=1.5)) for _ in range(4)}
    assert len(texts) > 1


def test_there_is_a_piece_per_token_and_no_broken_character(decoder: TextGenerator) -> None:
    for seed in range(8):
        sampling = SamplingConfig(max_tokens=9, temperature=1.5, seed=seed)
        text, batch = decoder.begin(PROMPT, sampling), WritingBatch(decoder)
        batch.add([text])
        while text.open:
            batch.step()
        pieces = list(decoder.stream(PROMPT, sampling, rest=False))
        assert len(pieces) == len(text.written)
        whole = "".join(decoder.stream(PROMPT, sampling))
        assert whole.startswith("".join(pieces)) and whole.rstrip("\ufffd") == "".join(pieces).rstrip("\ufffd")


def test_the_context_is_a_limit(decoder: TextGenerator) -> None:
    room = decoder.max_tokens - decoder.count_tokens(PROMPT)
    assert len(list(decoder.generate(PROMPT, max_tokens=1000, temperature=1.5))) <= room
    with pytest.raises(SlonikError, match="tiny-gpt takes fewer than 64"):
        next(decoder.generate("слон " * 200, max_tokens=1))


def test_a_broken_checkpoint_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(SlonikError, match=r"has no model.safetensors"):
        load_generator(tmp_path)


def test_it_answers_over_http(serve: Serve, decoder: TextGenerator) -> None:
    client = serve(decoder)
    body = {"model": "tiny-gpt", "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    answer = client.post("/v1/completions", json=body).json()
    assert answer["choices"][0]["text"] == "".join(decoder.generate(PROMPT, max_tokens=8, temperature=0))
    assert answer["usage"]["prompt_tokens"] == decoder.count_tokens(PROMPT)
    predicted = client.post("/gpt3/predict", json={"text": PROMPT}).json()["predictions"]
    assert predicted.startswith(PROMPT)
