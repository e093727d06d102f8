"""Distances from the student's sentence vectors to the teacher's: cosine and squared error.

Source: the cosine and MSE embedding losses of Reimers and Gurevych, "Making Monolingual Sentence Embeddings
Multilingual using Knowledge Distillation" (2020), section 3. Shapes: B texts, D dimensions. All are means over
texts, zero with zero gradient where student equals teacher, and computed in float32.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cos(student, teacher); (B, D), (B, D) -> (). Blind to lengths."""
    return (1.0 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).mean()


def vector_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over texts and dimensions; (B, D), (B, D) -> ()."""
    return F.mse_loss(student.float(), teacher.float())


def normalized_vector_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the unit vectors, mean over texts (= 2 (1 - cos)); (B, D), (B, D) -> ()."""
    difference = F.normalize(student.float(), dim=-1) - F.normalize(teacher.float(), dim=-1)
    return difference.square().sum(-1).mean()


def pair_closeness(student: Tensor, partner: Tensor) -> Tensor:
    """Cosine distance to the teacher's vector of the *translation*, over the texts that have one.

    Pulls the student's Russian to the teacher's English, so that the two languages stay one space.

    Args:
        student: (B, D) sentence vectors of the texts.
        partner: (B, D) teacher vectors of their translations; a row of zeros means "no translation".

    Returns:
        () mean of 1 - cos over rows with a partner, 0 where there are none.
    """
    present = partner.abs().sum(-1) > 0  # (B,)
    distance = 1.0 - F.cosine_similarity(student.float(), partner.float(), dim=-1)
    return (distance * present).sum() / present.sum().clamp_min(1)
