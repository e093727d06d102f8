"""Task models: every head learns eight examples, its outputs do not depend on padding, and a saved one is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

import slonik
from slonik import models
from slonik.core.errors import SlonikError
from slonik.finetuning.config import Tuning
from slonik.finetuning.objective import Supervised
from slonik.finetuning.train import prepared
from slonik.models.heads import HEADS
from slonik.models.task_model import (
    TaskModel,
    TokenMasking,
    load_task_model,
    new_task_model,
    save_task_model,
)
from slonik.text.pairs import PairTokenizer, TaskInput, TextSpan
from slonik.text.task_config import TaskConfig
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.loaders import PadFields
from tests import tiny

LABELS = ("да", "нет")
CONFIGS = {
    "sequence": TaskConfig(kind="sequence", labels=LABELS, head={"dropout": 0.0, "dense": True}),
    "several": TaskConfig(kind="sequence", target="multi", labels=("а", "б", "в"), head={"dropout": 0.0}),
    "number": TaskConfig(kind="sequence", target="number", head={"dropout": 0.0, "pooling": "cls"}),
    "pair": TaskConfig(kind="pair", labels=LABELS, head={"dropout": 0.0}),
    "apart": TaskConfig(kind="pair", labels=LABELS, pairs="separate", head={"dropout": 0.0, "hidden": 16}),
    "words": TaskConfig(kind="words", labels=LABELS, head={"dropout": 0.0, "whole": True}),
    "choice": TaskConfig(kind="choice", target="choice", head={"dropout": 0.0, "relations": True}),
    "answer": TaskConfig(kind="answer", target="answer", head={"dropout": 0.0}),
}


def examples(name: str) -> tuple[list[TaskInput], list[Any]]:
    """Eight examples with labels that only their texts tell."""
    texts, partners = tiny.TEXTS[:8], tiny.TEXTS[8:16]
    label: list[Any] = [number % 2 for number in range(8)]
    if name in ("sequence", "several", "number"):
        inputs = [TaskInput(((text,),)) for text in texts]
        if name == "several":
            label = [[number & 1, number >> 1 & 1, number >> 2 & 1] for number in range(8)]
        return inputs, [n / 4 - 1 for n in range(8)] if name == "number" else label
    pairs = list(zip(texts, partners, strict=True))
    if name == "pair":
        return [TaskInput((pair,)) for pair in pairs], label
    if name == "apart":
        return [TaskInput(((a,), (b,))) for a, b in pairs], label
    if name == "words":
        return [TaskInput((pair,), (TextSpan(0, 0, 0, 4), TextSpan(0, 1, 0, 4))) for pair in pairs], label
    if name == "choice":
        inputs = [TaskInput(((a, b), (b, a), (a, a))[: 2 + n % 2]) for n, (a, b) in enumerate(pairs)]
        return inputs, [[float(place == n % 2) for place in range(2 + n % 2)] for n in range(8)]
    return [TaskInput((pair,)) for pair in pairs], label


def fields_of(model: TaskModel, name: str) -> list[dict[str, Any]]:
    tokenizer = PairTokenizer(model.encoder.tokenizer, model.max_length)
    made = []
    for given, label in zip(*examples(name), strict=True):
        fields = tokenizer.fields(given)
        if name == "answer":
            place = int(np.flatnonzero(fields["segments"] == 2)[label])
            label = [place, place + 1]
        kind = np.int64 if name in ("sequence", "pair", "apart", "words", "answer") else np.float32
        made.append({**fields, "label": np.asarray(label, dtype=kind)})
    return made


def build(folder: Path, name: str, family: str = "bert") -> TaskModel:
    encoder = slonik.load(tiny.checkpoint(folder / family, family))
    return new_task_model(encoder, CONFIGS[name], seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("task_models")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_head_learns_eight_examples(folder: Path, name: str) -> None:
    model = build(folder / name, name)
    batch = PadFields({"input_ids": 1})(fields_of(model, name))
    objective = Supervised(CONFIGS[name].target)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = float(objective.loss(model, batch).total)
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective.loss(model, batch).total
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.25 * first


@pytest.mark.parametrize("name", CONFIGS)
def test_an_example_has_the_same_outputs_alone_and_padded(folder: Path, name: str) -> None:
    model = build(folder / f"padded-{name}", name, "xlm-roberta").eval()
    fields, pad = fields_of(model, name), PadFields({"input_ids": 1})
    with torch.no_grad():
        together = model(pad(fields))
        for number in (0, 3):
            alone = model(pad([fields[number]]))[0]
            own = together[number][..., : alone.shape[-1]]
            torch.testing.assert_close(own, alone, atol=2e-5, rtol=1e-4)


def test_a_saved_model_is_loaded_with_the_same_outputs_and_is_still_an_encoder(folder: Path, tmp_path: Path) -> None:
    model = build(folder / "saved", "words").eval()
    out = save_task_model(model, tmp_path / "out")
    again = load_task_model(out)
    batch = PadFields({"input_ids": 1})(fields_of(model, "words"))
    with torch.no_grad():
        torch.testing.assert_close(again(batch), model(batch), atol=0, rtol=0)
    assert again.config == model.config
    assert again.weights_hash() == model.weights_hash()
    np.testing.assert_array_equal(slonik.load(out).encode(["Привет"]), model.encoder.encode(["Привет"]))
    assert AutoModel.from_pretrained(out).config.model_type == "bert"


def test_equal_seeds_make_equal_heads_and_leave_the_random_state(folder: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(folder / "seeds", "bert"))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two = (new_task_model(encoder, CONFIGS["pair"], seed=1) for _ in range(2))
    other = new_task_model(encoder, CONFIGS["pair"], seed=2)
    assert one.weights_hash() == two.weights_hash() != other.weights_hash()
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    model = build(folder / "wrong", "sequence")
    out = save_task_model(model, tmp_path / "out")
    with pytest.raises(SlonikError, match="is not a task model"):
        load_task_model(folder / "wrong" / "bert")
    TaskConfig(kind="sequence", labels=("а", "б", "в"), head={"dense": True}).write(out)
    with pytest.raises(SlonikError, match=r"does not fit task\.json"):
        load_task_model(out)
    model.config.write(models.save(model.encoder, tmp_path / "bare"))
    with pytest.raises(SlonikError, match="the head is missing"):
        load_task_model(tmp_path / "bare")
    with pytest.raises(SlonikError, match="did you mean 'sequence'"):
        new_task_model(model.encoder, TaskConfig(kind="sequnce", labels=LABELS))
    with pytest.raises(SlonikError, match="cannot be made with the options"):
        new_task_model(model.encoder, TaskConfig(kind="sequence", labels=LABELS, head={"depth": 2}))
    assert set(HEADS) >= {config.kind for config in CONFIGS.values()}


def test_the_share_is_hidden_and_specials_stay() -> None:
    special = torch.arange(50) < 5
    masking = TokenMasking(0.3, 4, special)
    ids = torch.arange(50).repeat(400, 1)
    torch.manual_seed(0)
    found = masking(ids)
    assert (found[:, :5] == ids[:, :5]).all()
    changed = found != ids
    assert (found[changed] == 4).all() and changed[:, 5:].float().mean() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(found, masking(ids))


def _mood_model(folder: Path) -> TaskModel:
    config = TaskConfig(kind="sequence", task="mood", labels=("да", "нет"))
    return new_task_model(models.load(tiny.checkpoint(folder, "bert")), config)


def test_a_task_model_hides_tokens_while_it_is_trained(tmp_path: Path) -> None:
    model = _mood_model(tmp_path)
    batch = {"input_ids": torch.randint(10, 60, (4, 12)), "attention_mask": torch.ones(4, 12, dtype=torch.long)}
    model.eval()
    before = model(batch)
    with prepared(model, Tuning(masked_pieces=0.5, encoder_dropout=0.0, head={"dropout": 0.0})):
        assert torch.equal(model(batch), before)  # as when the held-out texts are looked at
        model.transformer.train()
        model.training = True
        torch.manual_seed(1)
        first = model(batch)
        assert not torch.allclose(first, before) and not torch.allclose(first, model(batch))
        torch.manual_seed(1)
        assert torch.allclose(first, model(batch), atol=1e-6)  # torch's state decides: a resumed run hides the same
        model.eval()
    model.training = True
    assert torch.equal(model(batch), before)


def test_without_a_mask_token_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _mood_model(tmp_path)
    bare = TokenFacts(special=torch.zeros(60).bool().numpy(), starts_word=torch.ones(60).bool().numpy(),
                  bytes=torch.ones(60).long().numpy(), pad=0)  # fmt: skip
    monkeypatch.setattr("slonik.finetuning.train.token_facts", lambda *_, **__: bare)
    with (
        pytest.raises(SlonikError, match="no mask token, and masked_pieces needs one"),
        prepared(model, Tuning(masked_pieces=0.1)),
    ):
        pass
