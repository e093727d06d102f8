"""MiniLMv2: the student's tokens relate to one another as the teacher's do.

Source: Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation" (2021), equations 3 to 5: Q-Q, K-K
and V-V relations of one layer, split into relation heads whose number is free, so that student and teacher may
differ in heads and in width. Shapes: B texts, T tokens, D width, R relation heads.
"""

from __future__ import annotations

import torch
from torch import Tensor


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    """KL(teacher || student) of one kind of self-relation, mean over real tokens and heads.

    Args:
        student: (B, T, D) queries, keys or values. teacher: (B, T, E), no gradient.
        mask: (B, T), nonzero for real tokens; padded tokens are neither rows nor columns.
        heads: relation heads R; must divide D and E.

    Returns:
        () divergence in nats.
    """
    real = mask.bool()
    target = _log_relations(teacher, real, heads)
    divergence = (target.exp() * (target - _log_relations(student, real, heads))).sum(-1)  # (B, R, T)
    rows = real[:, None, :].to(divergence.dtype)
    return (divergence * rows).sum() / (rows.sum() * heads).clamp_min(1.0)


def _log_relations(vectors: Tensor, real: Tensor, heads: int) -> Tensor:
    """log softmax(x x^T / sqrt(width of a head)) over real columns, (B, R, T, T)."""
    batch, tokens, width = vectors.shape
    split = vectors.float().view(batch, tokens, heads, width // heads).transpose(1, 2)
    scores = split @ split.transpose(-1, -2) / (width // heads) ** 0.5
    return torch.log_softmax(scores.masked_fill(~real[:, None, None, :], -1e4), dim=-1)
