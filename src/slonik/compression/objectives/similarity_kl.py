"""The student orders texts by similarity as the teacher does: KL divergence of rows of similarities.

Only similarities are compared, so student and teacher may have different dimensions. Source: relational
distillation of similarity rows as in Tejankar et al., "ISD: Self-Supervised Learning by Iterative Similarity
Distillation" (2021) and Fang et al., "SEED" (2021, with fixed anchors). Shapes: B texts, K anchors, D dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher row || student row) over the other texts of the batch, mean over rows.

    A row is softmax(cos(text, other texts) / temperature); the text itself is left out, since its similarity of 1
    is the same for both and would take most of the row's mass.

    Args:
        student: (B, D) vectors. teacher: (B, E) vectors, no gradient.
        temperature: above 0; .05 suits spaces whose similarities lie close together.

    Returns:
        () divergence in nats; 0 for fewer than three texts, where a row has no choice.
    """
    if len(student) < 3:
        return student.sum() * 0.0
    own = torch.eye(len(student), dtype=torch.bool, device=student.device)
    return _row_kl(_cosines(student, student), _cosines(teacher, teacher), temperature, own)


def anchor_kl(student: Tensor, teacher: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    """As `similarity_kl`, with the same fixed teacher vectors as columns for student and teacher.

    Costs one (B, D) x (D, K) product and no forward pass, so K may be thousands: many more comparisons per text
    than the batch offers. Needs the student in the teacher's space (equal D).

    Args:
        student: (B, D). teacher: (B, D). anchors: (K, D) teacher vectors of any texts.
    """
    return _row_kl(_cosines(student, anchors), _cosines(teacher, anchors), temperature, None)


def _cosines(rows: Tensor, columns: Tensor) -> Tensor:
    return F.normalize(rows.float(), dim=-1) @ F.normalize(columns.float(), dim=-1).T


def _row_kl(student: Tensor, teacher: Tensor, temperature: float, excluded: Tensor | None) -> Tensor:
    """KL of softmax rows of (B, K) similarities; `excluded` (B, K) columns have probability 0."""
    student, teacher = student / temperature, teacher / temperature
    if excluded is not None:
        # A large finite number: minus infinity would give 0 * (-inf) inside the divergence.
        student, teacher = student.masked_fill(excluded, -1e4), teacher.masked_fill(excluded, -1e4)
    target = torch.log_softmax(teacher, dim=-1)
    return F.kl_div(torch.log_softmax(student, dim=-1), target, reduction="batchmean", log_target=True)
