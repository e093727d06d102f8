"""Heads cut with their encoders: masked = cut, whatever the head reads."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from slonik.compression.gates import gated
from slonik.compression.head_surgery import adopted_head, mixed
from slonik.compression.headed import HeadedEncoder
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.surgery import apply, masks
from slonik.core.passport import Passport
from slonik.models.encoder import TorchEncoder
from slonik.models.language_model import LanguageModel
from slonik.models.task_model import TaskModel, load_task_model
from tests.compression.families import tiny as tiny_model
from tests.compression.heads import KINDS, batch, encoder, outputs, plan_of, task_model


def cut(model: TaskModel, plan: Plan) -> TaskModel:
    """The task model after surgery."""
    before = model.encoder
    smaller = TorchEncoder(
        apply(before.model, plan, check_parent=False), before.tokenizer, before.sentence.cut(plan.hidden, 32)
    )
    made = HeadedEncoder(before, task=model).on(smaller, plan).task
    assert made is not None
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_model_answers_as_the_cut_one(kind: str) -> None:
    model = task_model(kind)
    plan, fields = plan_of(model, hidden=False), batch(model)
    made = cut(model, plan)
    with gated(model.encoder.model, masks(model.encoder.model, plan)):
        torch.testing.assert_close(outputs(made, fields), outputs(model, fields), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tags of all layers"])
def test_so_it_does_without_hidden_dimensions(kind: str) -> None:
    model = task_model(kind)
    plan, fields = plan_of(model, hidden=True), batch(model)
    made = cut(model, plan)
    with gated(model.encoder.model, masks(model.encoder.model, plan)):
        expected = outputs(_without(model, plan), fields)
    torch.testing.assert_close(outputs(made, fields), expected, atol=1e-4, rtol=1e-4)


def _without(model: TaskModel, plan: Plan) -> TaskModel:
    """The uncut model with a head whose own layers put nothing into the dropped dimensions."""
    gone = [index for index in range(32) if index not in (plan.hidden or ())]
    head = copy.deepcopy(model.head)
    with torch.no_grad():
        for part in head.modules():
            if isinstance(part, torch.nn.Linear) and part.out_features == 32:
                part.weight[gone] = 0
                part.bias[gone] = 0
            if isinstance(part, torch.nn.BatchNorm1d):  # a dropped feature is taken for its mean
                assert part.running_mean is not None
                for start in range(0, part.num_features - 1, 32):
                    part.running_mean[[start + index for index in gone]] = 0
    return TaskModel(model.encoder, head, model.config).eval()


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "deberta-v2", "modernbert", "distilbert", "electra"])
@pytest.mark.parametrize("kind", ["stock sequence", "stock tags"])
def test_a_stock_head_is_cut_as_its_class(kind: str, family: str) -> None:
    model = task_model(kind, family)
    plan, fields = plan_of(model, hidden=True), batch(model)
    head: Any = model.head
    with head.whole(model.transformer) as stock:
        expected = apply(copy.deepcopy(stock), plan, check_parent=False)
    made = cut(model, plan)
    inputs = {name: fields[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        logits = expected(**inputs).logits
    if kind == "stock tags":
        logits = logits[torch.arange(len(logits))[:, None], fields["positions"]]
    torch.testing.assert_close(outputs(made, fields), logits, atol=1e-4, rtol=1e-4)


def test_a_mixture_gives_the_shares_of_dropped_layers_to_the_state_before() -> None:
    weights = torch.tensor([0.1, 0.5, 0.2, 0.15, 0.05]).log()
    found = mixed(weights, (1, 3), 4).softmax(0)
    torch.testing.assert_close(found, torch.tensor([0.6, 0.35, 0.05]))


@pytest.mark.parametrize("kind", ["sequence", "tags of all layers", "stock sequence", "stock answer"])
def test_a_cut_model_is_the_same_when_it_is_loaded(kind: str, tmp_path: Path) -> None:
    model = task_model(kind)
    plan = plan_of(model, hidden=kind == "sequence")
    made = cut(model, plan)
    HeadedEncoder(made.encoder, task=made).save(tmp_path / "out")
    loaded = load_task_model(tmp_path / "out", device="cpu")
    torch.testing.assert_close(outputs(loaded, batch(made)), outputs(made))
    assert loaded.labels == model.labels and loaded.config.target == model.config.target


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "deberta-v2", "modernbert", "electra", "distilbert"])
def test_the_head_that_guesses_words_is_cut_too(family: str) -> None:
    bare = encoder(family)
    model = tiny_model(family, head="mlm", vocab=bare.tokenizer.get_vocab_size())
    language = LanguageModel(model, bare.tokenizer, {}, bare.sentence, Passport(name="x"), "x", has_head=True)
    before = HeadedEncoder(language.encoder(), words=language)
    plan = keep_layers(whole(language.body, with_parent=False), (0, 2))
    update = {"hidden": tuple(range(4, 28)), "heads": ((0, 1), (1, 2, 3))}
    plan = plan.model_copy(update=update)
    expected = apply(copy.deepcopy(model), plan, check_parent=False)
    smaller = TorchEncoder(apply(language.body, plan, check_parent=False), bare.tokenizer, bare.sentence)
    made = before.on(smaller, plan).words
    assert made is not None
    ids = torch.arange(10, 22).reshape(2, 6)
    with torch.inference_mode():
        torch.testing.assert_close(made.model(ids).logits, expected(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_student_of_another_depth_gets_a_mixture_of_its_own() -> None:
    teacher = task_model("tags of all layers")
    head, config = adopted_head(teacher, encoder(layers=2))
    assert config.head["layers"] == 3 and torch.equal(head.state_dict()["mixture"], torch.zeros(3))
    assert torch.equal(head.state_dict()["output.weight"], teacher.head.state_dict()["output.weight"])
