"""The terms of distillation: how far a student's sentence vectors, similarities and token states are from a teacher's.

All are computed in float32, and zero with zero gradient where the student is as the teacher (but for the choice of a
translation, which the teacher itself is not always sure of). Which of them are summed, and with what weight, is said in
`objective`. Shapes: B texts, T tokens, D dimensions, K anchors.

Source of the distances of sentence vectors: Reimers and Gurevych, "Making Monolingual Sentence Embeddings Multilingual
using Knowledge Distillation" (2020), section 3.
"""

from __future__ import annotations

import torch
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


def translation_choice(student: Tensor, teacher: Tensor, partner: Tensor, temperature: float) -> Tensor:
    """How sure each text is of its translation among the teacher's vectors of the other texts of the batch, in nats.

    -log softmax(cos / temperature) of the translation (van den Oord et al., "Representation Learning with Contrastive
    Predictive Coding", 2018, equation 4; as for translations in Feng et al., "LaBSE", 2020, without the margin). The
    text itself, and a row that is its translation, are no wrong choices.

    Args:
        student: (B, D) sentence vectors. teacher: (B, D) those of the teacher, no gradient.
        partner: (B, D) the teacher's of the translations; a row of zeros means "no translation".
        temperature: above 0.

    Returns:
        () mean over rows with a partner, 0 where there are none.
    """
    present = partner.abs().sum(-1) > 0  # (B,)
    same = _cosines(partner, teacher) > 0.999  # the translation itself stands in the batch
    same |= torch.eye(len(teacher), dtype=torch.bool, device=teacher.device)
    wrong = (_cosines(student, teacher) / temperature).masked_fill(same, -1e4)
    wanted = F.cosine_similarity(student.float(), partner.float(), dim=-1) / temperature
    unsure = torch.logsumexp(torch.cat([wanted[:, None], wrong], dim=1), dim=1) - wanted
    return (unsure * present).sum() / present.sum().clamp_min(1)


def similarity_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher row || student row) over the other texts of the batch, mean over rows.

    A row is softmax(cos(text, other texts) / temperature); the text itself is left out, since its similarity of 1
    is the same for both and would take most of the row's mass. Only similarities are compared, so student and teacher
    may have different dimensions. Source: Tejankar et al., "ISD: Self-Supervised Learning by Iterative Similarity
    Distillation" (2021).

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
    Source: Fang et al., "SEED: Self-supervised Distillation for Visual Representation" (2021).

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


def near_difference(student: Tensor, teacher: Tensor, groups: Tensor) -> Tensor:
    """Sum of |(s_a - s_b) - (t_a - t_b)|^2 over near pairs, divided by the sum of |t_a - t_b|^2; unit vectors.

    Errors that two near texts share leave their similarity as it is; what harms it is the part in which their errors
    differ. This term weighs just that part, against the (small) distance of the pair, where the squared error of
    vectors counts it as next to nothing.

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


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor, *, normalize: bool = False) -> Tensor:
    """Mean squared error of token vectors over real tokens and dimensions.

    Source: Jiao et al., "TinyBERT" (2020), equation 8.

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


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    """KL(teacher || student) of one kind of self-relation, mean over real tokens and heads.

    Source: Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation" (2021), equations 3 to 5: Q-Q, K-K
    and V-V relations of one layer, split into relation heads whose number is free, so that student and teacher may
    differ in heads and in width.

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
