"""Hidden states and relations: padding changes nothing, the teacher itself costs nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slonik.compression.objectives.hidden_mse import hidden_mse
from slonik.compression.objectives.relations import relation_kl

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])


def _states(seed: int, width: int = 8) -> Tensor:
    return torch.randn(2, 4, width, generator=torch.Generator().manual_seed(seed))


def _spoiled(states: Tensor) -> Tensor:
    """The same where tokens are real, noise where there is padding."""
    return torch.where(MASK[..., None].bool(), states, 100 * _states(99, states.shape[-1]))


def test_hidden_mse_by_hand() -> None:
    student = torch.zeros(1, 2, 2)
    teacher = torch.tensor([[[1.0, 3.0], [50.0, 50.0]]])
    assert float(hidden_mse(student, teacher, torch.tensor([[1, 0]]))) == pytest.approx((1 + 9) / 2)


def test_normalized_hidden_mse_ignores_scale_and_shift() -> None:
    states = _states(0)
    assert float(hidden_mse(3 * states + 2, states, MASK, normalize=True)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
def test_hidden_mse_is_blind_to_padding(normalize: bool) -> None:
    student, teacher = _states(0).requires_grad_(), _states(1)
    value = hidden_mse(student, teacher, MASK, normalize=normalize)
    value.backward()
    spoiled = hidden_mse(_spoiled(student.detach()), _spoiled(teacher), MASK, normalize=normalize)
    assert float(spoiled) == pytest.approx(float(value), rel=1e-6)
    assert student.grad is not None and student.grad[MASK == 0].abs().max() == 0
    cut = hidden_mse(student[:, :3], teacher[:, :3], MASK[:, :3], normalize=normalize)
    assert float(cut) == pytest.approx(float(value), rel=1e-6)


def test_relations_by_hand() -> None:
    teacher = torch.tensor([[[1.0], [0.0]]])
    student = torch.zeros(1, 2, 1)
    near = math.e / (math.e + 1)
    first = near * math.log(near / 0.5) + (1 - near) * math.log((1 - near) / 0.5)
    assert float(relation_kl(student, teacher, torch.ones(1, 2), heads=1)) == pytest.approx(first / 2, rel=1e-5)


def test_relations_are_blind_to_padding() -> None:
    student, teacher = _states(0).requires_grad_(), _states(1, width=12)
    value = relation_kl(student, teacher, MASK, heads=4)
    value.backward()
    assert float(relation_kl(_spoiled(student.detach()), _spoiled(teacher), MASK, heads=4)) == pytest.approx(
        float(value), rel=1e-5
    )
    assert student.grad is not None and student.grad[MASK == 0].abs().max() == 0


def test_relations_of_the_teacher_itself_are_zero_without_gradient() -> None:
    teacher = _states(1)
    student = teacher.clone().requires_grad_()
    value = relation_kl(student, teacher, MASK, heads=2)
    value.backward()
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert student.grad is not None and student.grad.abs().max() < 1e-6


def test_all_padding_gives_zero() -> None:
    assert float(hidden_mse(_states(0), _states(1), torch.zeros(2, 4))) == 0
    assert float(relation_kl(_states(0), _states(1), torch.zeros(2, 4), heads=2)) == 0
