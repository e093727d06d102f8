"""Terms of distillation against values computed by hand, and what they must not depend on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slonik.compression.losses import (
    anchor_kl,
    cosine_distance,
    hidden_mse,
    near_difference,
    normalized_vector_mse,
    pair_closeness,
    relation_kl,
    similarity_kl,
    translation_choice,
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


def test_choice_of_a_translation_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 3.0], [2.0, 0.0], [1.0, 0.0]])
    partner = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    # The first text: its translation at cos .707, the second and third at cos 1; itself is no choice. The third: its
    # translation at .707, which the second and itself are; only the first (.707) is another choice.
    sure = 0.5**0.5 / 0.5
    first = math.log(math.exp(sure) + 2 * math.exp(1 / 0.5)) - sure
    value = translation_choice(student, teacher, partner, 0.5)
    assert float(value) == pytest.approx((first + math.log(2)) / 2, abs=1e-5)
    value.backward()
    assert student.grad is not None and student.grad[1].abs().max() == 0
    assert float(translation_choice(student, teacher, torch.zeros(3, 2), 0.5)) == 0


def _vectors(rows: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_equals_the_sum_over_pairs_by_hand() -> None:
    ours, theirs = _vectors(5), _vectors(5, 1)
    groups = torch.tensor([7, -1, 2, 7, 2])
    missed = wanted = 0.0
    for left, right in ((0, 3), (2, 4)):
        difference = theirs[left] - theirs[right]
        missed += float(((ours[left] - ours[right]) - difference).square().sum())
        wanted += float(difference.square().sum())
    torch.testing.assert_close(near_difference(ours, theirs, groups), torch.tensor(missed / wanted))


def test_zero_for_the_teacher_one_for_a_student_that_sees_no_difference() -> None:
    theirs, groups = _vectors(4), torch.tensor([0, 0, 1, 1])
    assert float(near_difference(3 * theirs, theirs, groups)) < 1e-10
    blind = theirs[[0, 0, 2, 2]]
    torch.testing.assert_close(near_difference(blind, theirs, groups), torch.tensor(1.0))


def test_a_batch_without_pairs_costs_nothing_and_gives_no_gradient() -> None:
    ours = _vectors(3).requires_grad_()
    loss = near_difference(ours, _vectors(3, 1), torch.tensor([-1, -1, -1]))
    loss.backward()
    assert float(loss.detach()) == 0 and ours.grad is not None and float(ours.grad.abs().max()) == 0


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
