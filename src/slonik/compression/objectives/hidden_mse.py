"""Squared error of token vectors between a student layer and a teacher layer, padding left out.

Source: Jiao et al., "TinyBERT" (2020), equation 8; the layer norm of both sides as in Wang et al., "MiniLM" follow-ups
and Transformers' DistilBERT practice of comparing directions rather than scales. Shapes: B texts, T tokens,
D dimensions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor, *, normalize: bool = False) -> Tensor:
    """Mean squared error over real tokens and dimensions.

    Args:
        student: (B, T, D). teacher: (B, T, D), no gradient.
        mask: (B, T), nonzero for real tokens; padded positions change neither value nor gradient.
        normalize: layer-normalise both first (no learned scale), so that a few large dimensions do not rule.

    Returns:
        () mean; 0 where nothing is real.
    """
    student, teacher = student.float(), teacher.float()
    if normalize:
        shape = student.shape[-1:]
        student, teacher = F.layer_norm(student, shape), F.layer_norm(teacher, shape)
    real = mask.to(student.dtype)
    per_token = (student - teacher).square().mean(-1)  # (B, T)
    return (per_token * real).sum() / real.sum().clamp_min(1.0)
