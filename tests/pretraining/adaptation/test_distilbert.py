"""DistilBERT's triple loss: zero gradient at the teacher, T^2, and the restricted teacher after a vocabulary trim."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from slonik.core.errors import SlonikError
from slonik.pretraining.adaptation.distilbert import DistilBert, DistilBertTerms, soft_cross_entropy, student_of
from slonik.pretraining.objectives import MaskedLanguageModel
from tests import tiny
from tests.pretraining import vocabulary


def _parts(student, teacher, terms: DistilBertTerms, ids=None):  # type: ignore[no-untyped-def]
    goal = DistilBert(MaskedLanguageModel(vocabulary.pieces()), teacher, terms, teacher_ids=ids)
    batch = goal.corrupt(vocabulary.texts(4, np.random.default_rng(0)), np.random.default_rng(1))
    return goal.loss(student, batch), batch


def test_no_gradient_from_the_teacher_terms_where_the_student_equals_it() -> None:
    teacher = vocabulary.masked_model("bert")
    student = copy.deepcopy(teacher)
    loss, _ = _parts(student, teacher, DistilBertTerms(alpha=0.0))
    loss.total.backward()
    assert max(float(p.grad.abs().max()) for p in student.parameters() if p.grad is not None) < 1e-5
    assert float(loss.parts["cosine"]) == pytest.approx(0, abs=1e-6)


def test_total_is_the_weighted_sum() -> None:
    torch.manual_seed(0)
    loss, _ = _parts(vocabulary.masked_model("bert"), vocabulary.masked_model("bert"), DistilBertTerms())
    parts = {name: float(value) for name, value in loss.parts.items()}
    assert float(loss.total) == pytest.approx(2 * parts["mlm"] + 5 * parts["teacher"] + parts["cosine"], rel=1e-5)


def test_soft_cross_entropy_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.5, 2.0, 0.0]])
    p, q = torch.softmax(teacher[0] / 2, -1), torch.softmax(student[0] / 2, -1)
    assert float(soft_cross_entropy(student, teacher, 2.0)) == pytest.approx(float(-(p * q.log()).sum() * 4), rel=1e-6)


def test_after_a_trim_the_teacher_is_restricted_and_renormalised() -> None:
    torch.manual_seed(0)
    teacher, student = vocabulary.masked_model("bert"), vocabulary.masked_model("bert")
    order = torch.randperm(400)  # the student's 400 pieces: ids of the teacher
    trimmed = copy.deepcopy(student)
    trimmed.bert.embeddings.word_embeddings.weight = torch.nn.Parameter(
        student.bert.embeddings.word_embeddings.weight[order].clone()
    )
    trimmed.cls.predictions.decoder = torch.nn.Linear(32, 400)
    facts = vocabulary.pieces()
    goal = DistilBert(MaskedLanguageModel(facts), teacher, teacher_ids=order)
    ids = torch.randint(15, 300, (2, 8))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.where(ids % 2 == 0, ids, -100)}
    loss = goal.loss(trimmed, batch)
    where = batch["labels"] != -100
    with torch.no_grad():
        full = torch.softmax(teacher(order[ids]).logits[where] / 2, -1)
        restricted = full[:, order] / full[:, order].sum(-1, keepdim=True)
        own = torch.log_softmax(trimmed(ids).logits[where] / 2, -1)
    assert float(loss.parts["teacher"]) == pytest.approx(float(-(restricted * own).sum(-1).mean() * 4), rel=1e-4)


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(SlonikError, match="every term"):
        DistilBert(
            MaskedLanguageModel(vocabulary.pieces()),
            vocabulary.masked_model("bert"),
            DistilBertTerms(alpha=0, beta=0, gamma=0),
        )


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_student_has_every_second_layer_and_the_teachers_head(family: str) -> None:
    torch.manual_seed(0)
    teacher = AutoModelForMaskedLM.from_config(tiny.config(family, layers=4)).eval()
    student = student_of(teacher)
    assert type(student) is type(teacher) and student.config.num_hidden_layers == 2
    assert student.get_output_embeddings().weight.data_ptr() == student.get_input_embeddings().weight.data_ptr()
    # the first layer and the head are the teacher's: with the other layers skipped both agree
    ids = torch.arange(20, 40)[None]
    first = [model(ids, output_hidden_states=True).hidden_states[1] for model in (teacher, student)]
    assert torch.allclose(first[0], first[1], atol=1e-5)


def test_a_few_steps_bring_the_student_nearer_to_its_teacher() -> None:
    torch.manual_seed(0)
    teacher = AutoModelForMaskedLM.from_config(tiny.config("bert", layers=4)).eval()
    student = student_of(teacher).train()
    goal = DistilBert(MaskedLanguageModel(vocabulary.pieces()), teacher)
    batch = goal.corrupt(vocabulary.texts(8, np.random.default_rng(0)), np.random.default_rng(1))
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = goal.loss(student, batch)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.total.detach()))
    assert losses[-1] < losses[0]


def test_the_teacher_itself_is_no_student() -> None:
    with pytest.raises(SlonikError, match="give 2 or more"):
        student_of(vocabulary.masked_model("bert"), every=1)
