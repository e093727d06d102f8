"""Sentence-level distances against values computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from slonik.compression.objectives.vector_distance import (
    cosine_distance,
    normalized_vector_mse,
    pair_closeness,
    vector_mse,
)

STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
TEACHER = torch.tensor([[6.0, 8.0], [0.0, 2.0]])


def test_values_computed_by_hand() -> None:
    assert float(cosine_distance(STUDENT, TEACHER)) == pytest.approx((0 + 1) / 2, abs=1e-6)
    assert float(vector_mse(STUDENT, TEACHER)) == pytest.approx((9 + 16 + 1 + 4) / 4)
    assert float(normalized_vector_mse(STUDENT, TEACHER)) == pytest.approx((0 + 2) / 2, abs=1e-6)


@pytest.mark.parametrize("term", [cosine_distance, vector_mse, normalized_vector_mse, pair_closeness])
def test_zero_and_without_gradient_where_student_is_the_teacher(term: Callable[[Tensor, Tensor], Tensor]) -> None:
    teacher = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    student = teacher.clone().requires_grad_()
    value = term(student, teacher)
    value.backward()
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert student.grad is not None and student.grad.abs().max() < 1e-6


def test_half_precision_teacher_is_compared_in_float32() -> None:
    assert cosine_distance(STUDENT.bfloat16(), TEACHER.half()).dtype == torch.float32


def test_pairs_count_only_texts_with_a_translation() -> None:
    partner = torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    student = STUDENT.clone().requires_grad_()
    value = pair_closeness(student, partner)
    value.backward()
    assert float(value) == pytest.approx(1.0)
    assert student.grad is not None and student.grad[0].abs().max() == 0


def test_pairs_without_any_translation_are_zero() -> None:
    student = STUDENT.clone().requires_grad_()
    value = pair_closeness(student, torch.zeros(2, 2))
    value.backward()
    assert float(value) == 0
    assert student.grad is not None and torch.isfinite(student.grad).all()
