"""The difference of two very similar texts is to be what the teacher says it is.

Errors that two near texts share leave their similarity as it is; what harms it is the part in which their errors
differ. This term weighs just that part, against the (small) distance of the pair, where the squared error of vectors
counts it as next to nothing. Shapes: B texts, D dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def near_difference(student: Tensor, teacher: Tensor, groups: Tensor) -> Tensor:
    """Sum of |(s_a - s_b) - (t_a - t_b)|^2 over near pairs, divided by the sum of |t_a - t_b|^2; unit vectors.

    Args:
        student, teacher: (B, D) sentence vectors. groups: (B,) equal for the two texts of a pair, -1 for all others.

    Returns:
        () 0 where all differences are the teacher's or there is no pair, 1 for a student that sees no difference.
    """
    order = torch.argsort(groups, stable=True)
    sorted_groups = groups[order]
    paired = (sorted_groups[1:] == sorted_groups[:-1]) & (sorted_groups[1:] >= 0)
    left, right = order[:-1][paired], order[1:][paired]
    ours, theirs = F.normalize(student.float(), dim=-1), F.normalize(teacher.float(), dim=-1)
    wanted = theirs[left] - theirs[right]
    missed = (ours[left] - ours[right] - wanted).square().sum()
    return missed / wanted.square().sum().clamp_min(1e-6)
