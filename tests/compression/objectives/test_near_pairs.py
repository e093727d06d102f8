"""The near-pair term: by hand, blind to a shared error, and to texts without a partner."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from slonik.compression.objectives.near_pairs import near_difference


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
