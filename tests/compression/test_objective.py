"""The distillation objective: what each term needs, teachers, and a student that is its own teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slonik.compression.objective import Distillation, DistillationTerms, TokenTeacher
from slonik.core.errors import SlonikError
from slonik.models.padding import pad
from slonik.train.protocols import Batch
from tests import tiny
from tests.train.toy import mean_pool

ALONE = {"cosine": 0.0, "similarity_kl": 0.0, "pairs": 0.0}
ROWS = [np.array([0, 7, 9, 11, 2]), np.array([0, 8, 2]), np.array([0, 21, 22, 2])]


def _objective(terms: dict[str, Any], **options: Any) -> Distillation:
    return Distillation(DistillationTerms(**terms), pool=mean_pool, pad_id=1, dimension=32, **options)


def _qkv(model: nn.Module, layer: int) -> list[nn.Module]:
    attention = model.get_submodule(f"encoder.layer.{layer}.attention.self")
    return [attention.query, attention.key, attention.value]  # type: ignore[list-item]


def _batch(model: nn.Module | None = None) -> Batch:
    batch = pad(ROWS, pad_id=1)
    if model is None:
        batch["teacher"] = torch.randn(3, 32, generator=torch.Generator().manual_seed(0)).half()
    else:
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        batch |= {"teacher": mean_pool(hidden, batch["attention_mask"]), "teacher_hidden": hidden}
    return batch


def _gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


def test_a_student_equal_to_its_teacher_has_neither_loss_nor_gradient() -> None:
    student, teacher = tiny.model("bert"), tiny.model("bert")
    terms = {"cosine": 1.0, "mse": 1.0, "normalized_mse": 1.0, "similarity_kl": 1.0, "hidden": 1.0, "relations": 1.0}
    objective = _objective(
        {**terms, "pairs": 0.0, "layers": {1: 1, -1: -1}, "relation_heads": 4},
        token_teacher=TokenTeacher(teacher, qkv=_qkv(teacher, 1)),
        student_qkv=_qkv(student, 1),
    )
    loss = objective.loss(student, _batch(teacher))
    loss.total.backward()
    assert set(loss.parts) == set(terms)
    assert float(loss.total.detach()) == pytest.approx(0, abs=1e-4)
    assert _gradient(student).abs().max() < 1e-3


def test_total_is_the_weighted_sum_of_its_parts() -> None:
    student = tiny.model("bert")
    batch = _batch() | {"teacher_partner": torch.ones(3, 32)}
    loss = _objective({"cosine": 2.0, "mse": 0.5, "pairs": 0.25, "similarity_kl": 3.0}).loss(student, batch)
    parts = {name: float(value) for name, value in loss.parts.items()}
    expected = 2 * parts["cosine"] + 0.5 * parts["mse"] + 0.25 * parts["pairs"] + 3 * parts["similarity_kl"]
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-6)
    assert loss.weight == 3


@pytest.mark.parametrize("family", tiny.ENCODERS)
def test_padding_does_not_change_the_loss(family: str) -> None:
    student = tiny.model(family)
    teacher = tiny.model(family, seed=1)
    terms = {"hidden": 1.0, "mse": 1.0, "pairs": 0.0}
    objective = _objective(terms, token_teacher=TokenTeacher(teacher))
    batch = _batch()
    wide = {**batch, **pad([*ROWS, np.zeros(12, dtype=np.int64)], pad_id=1)}
    wide = {name: tensor[:3] for name, tensor in wide.items()}
    assert float(objective.loss(student, wide).total) == pytest.approx(
        float(objective.loss(student, batch).total), rel=1e-4
    )


@pytest.mark.parametrize("width", [16, 32])
def test_further_teachers_get_heads_that_are_trained_along(width: int) -> None:
    student = tiny.model("bert")
    batch = _batch() | {"second": torch.randn(3, width, generator=torch.Generator().manual_seed(3))}
    objective = _objective({}, teachers={"teacher": 32, "second": width})
    loss = objective.loss(student, batch)
    loss.total.backward()
    assert {name.partition(".")[2] for name in loss.parts} == {"teacher", "second"}
    assert [tuple(p.shape) for p in objective.parameters()] == [(width, 32)]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in objective.parameters())


def test_beside_others_the_first_teacher_is_still_compared_directly() -> None:
    student = tiny.model("bert")
    batch = _batch(student) | {"second": torch.randn(3, 32, generator=torch.Generator().manual_seed(3))}
    objective = _objective({"normalized_mse": 1.0} | ALONE, teachers={"teacher": 32, "second": 32})
    parts = objective.loss(student, batch).parts
    assert float(parts["normalized_mse.teacher"]) == pytest.approx(0.0, abs=1e-6)
    assert float(parts["normalized_mse.second"]) > 0.1


def test_one_teacher_of_the_same_width_adds_no_parameters() -> None:
    assert list(_objective({}).parameters()) == []


def test_teacher_reads_the_students_pieces_through_the_id_map_and_after_its_prefix() -> None:
    teacher = tiny.model("bert", seed=1)
    kept = torch.tensor([0, 1, 2, 40, 41, 42, 43])
    student_ids = torch.tensor([[0, 3, 4, 2], [0, 5, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    targets = TokenTeacher(teacher, ids=kept, prefix_ids=[50, 51]).targets(student_ids, mask, [-1])
    with torch.no_grad():
        direct = teacher(input_ids=torch.tensor([[0, 50, 51, 42, 2]])).last_hidden_state
    assert torch.allclose(targets.hidden[-1][1, :3], direct[0, [0, 3, 4]], atol=1e-5)


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        (ALONE, "every distillation term is 0"),
        ({"relations": 1.0}, "relations needs a token teacher"),
        ({"anchor_kl": 1.0}, "anchor_kl needs anchors"),
    ],
)
def test_a_term_without_what_it_needs_is_refused(terms: dict[str, float], sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        _objective(terms)


def test_hidden_states_that_are_nowhere_are_asked_for() -> None:
    with pytest.raises(SlonikError, match="teacher_hidden"):
        _objective({**ALONE, "hidden": 1.0}).loss(tiny.model("bert"), _batch())


def test_anchors_train_a_single_text() -> None:
    student = tiny.model("bert")
    anchors = torch.randn(10, 32, generator=torch.Generator().manual_seed(5))
    batch = {name: tensor[:1] for name, tensor in _batch().items()}
    loss = _objective({**ALONE, "anchor_kl": 1.0}, anchors=anchors).loss(student, batch)
    loss.total.backward()
    assert float(loss.total) > 0 and _gradient(student).abs().max() > 0
