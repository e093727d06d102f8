"""Every second layer of a teacher, and a step of DistilBERT's loss that makes the student better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from slonik.core.errors import SlonikError
from slonik.pretraining.adaptation.distilbert_student import student_of
from slonik.train.objectives.distilbert import DistilBert
from slonik.train.objectives.mlm import MaskedLanguageModel
from tests import tiny
from tests.train.objectives import vocabulary


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
