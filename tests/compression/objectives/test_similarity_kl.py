"""KL of similarity rows: by hand, invariant to scale and rotation, zero at the teacher."""

from __future__ import annotations

import math

import pytest
import torch

from slonik.compression.objectives.similarity_kl import anchor_kl, similarity_kl


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_three_texts_by_hand() -> None:
    # Cosines of the teacher: 1 with 2: 0, 1 with 3: 1, 2 with 3: 0; of the student: all 0.
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    student = torch.eye(3)
    near = 1 / (1 + math.exp(-1 / 0.5))
    one_row = near * math.log(near / 0.5) + (1 - near) * math.log((1 - near) / 0.5)
    # Rows 1 and 3 see one near and one far text; row 2 sees two equally far ones and costs nothing.
    assert float(similarity_kl(student, teacher, 0.5)) == pytest.approx(2 * one_row / 3, rel=1e-5)


def test_zero_and_without_gradient_for_a_rotated_and_scaled_teacher() -> None:
    teacher = _random(6, 4)
    rotation = torch.linalg.qr(_random(4, 4, seed=1))[0]
    student = (3 * teacher @ rotation).requires_grad_()
    value = similarity_kl(student, teacher, 0.05)
    value.backward()
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert student.grad is not None and student.grad.abs().max() < 1e-4


def test_dimensions_may_differ() -> None:
    student = _random(6, 3).requires_grad_()
    similarity_kl(student, _random(6, 8, seed=1), 0.05).backward()
    assert student.grad is not None and student.grad.abs().max() > 0


@pytest.mark.parametrize("texts", [1, 2])
def test_too_few_texts_have_no_choice(texts: int) -> None:
    student = _random(texts, 3).requires_grad_()
    value = similarity_kl(student, _random(texts, 3, seed=1), 0.05)
    value.backward()
    assert float(value) == 0


def test_anchors_see_a_rotation() -> None:
    teacher, anchors = _random(6, 4), _random(20, 4, seed=2)
    assert float(anchor_kl(5 * teacher, teacher, anchors, 0.1)) == pytest.approx(0, abs=1e-5)
    assert float(anchor_kl(-teacher, teacher, anchors, 0.1)) > 0.1
