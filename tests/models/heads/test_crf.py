"""The CRF layer keeps the BIO rules, and its distillation loss is the divergence over whole sequences."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from slonik.models.heads.crf import LinearChainCrf, allowed_first, allowed_steps
from slonik.runtime.tagging.labels import BioLabels

LABELS = BioLabels(("ORG", "PER"))
SIZE = len(LABELS)


def layer(*, trainable: bool = True, seed: int = 0) -> LinearChainCrf:
    crf = LinearChainCrf(SIZE, trainable=trainable)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return crf


def valid(path: tuple[int, ...]) -> bool:
    return bool(allowed_first(SIZE)[path[0]]) and all(allowed_steps(SIZE)[a, b] for a, b in itertools.pairwise(path))


def sequence_probabilities(
    local: Tensor, crf: LinearChainCrf | None, temperature: float
) -> dict[tuple[int, ...], Tensor]:
    """Probability of every valid sequence of one text of `len(local)` words."""
    scores = {}
    for path in itertools.product(range(SIZE), repeat=len(local)):
        if not valid(path):
            continue
        score = sum(local[t, y] for t, y in enumerate(path))
        if crf is not None:
            score = score + crf.start[path[0]] + crf.end[path[-1]]
            score = score + sum(crf.transitions[a, b] for a, b in itertools.pairwise(path))
        scores[path] = score / temperature
    whole = torch.logsumexp(torch.stack(list(scores.values())), 0)
    return {path: (score - whole).exp() for path, score in scores.items()}


def test_decoding_never_breaks_the_rules() -> None:
    crf = layer()
    emissions = torch.randn(20, 12, SIZE, generator=torch.Generator().manual_seed(1)) * 3
    emissions[..., 2::2] += 4  # every word wants to be an I
    for crf_kind in (crf, layer(trainable=False)):
        assert all(valid(tuple(crf_kind.decode(rows.numpy()).tolist())) for rows in emissions)


def test_without_trainable_scores_nothing_is_trained_or_saved() -> None:
    crf = layer(trainable=False)
    assert not list(crf.parameters()) and not crf.state_dict()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_divergence_equals_the_sum_over_all_sequences(temperature: float) -> None:
    crf = layer(seed=3)
    generator = torch.Generator().manual_seed(4)
    emissions = torch.randn(2, 3, SIZE, generator=generator)
    teacher = torch.randn(2, 3, SIZE, generator=generator).mul(2).softmax(-1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = crf.divergence(emissions, teacher, mask, temperature)
    for row, length in enumerate((3, 2)):
        student = sequence_probabilities(emissions[row, :length], crf, temperature)
        taught = sequence_probabilities(teacher[row, :length].log(), None, temperature)
        expected = sum(p * (p.log() - student[path].log()) for path, p in taught.items())
        assert torch.isclose(found[row], torch.as_tensor(expected), atol=1e-5)


def test_divergence_is_zero_where_the_student_is_the_teacher() -> None:
    crf = LinearChainCrf(SIZE)
    logits = torch.randn(3, 6, SIZE, generator=torch.Generator().manual_seed(5)).requires_grad_()
    mask = torch.ones(3, 6, dtype=torch.bool)
    loss = crf.divergence(logits, logits.detach().softmax(-1), mask, 1.5)
    loss.sum().backward()
    assert torch.allclose(loss, torch.zeros(3), atol=1e-4)
    assert logits.grad is not None and float(logits.grad.abs().max()) < 1e-5


def test_likelihood_of_all_valid_sequences_sums_to_one() -> None:
    crf = layer(seed=6)
    emissions = torch.randn(1, 3, SIZE, generator=torch.Generator().manual_seed(7))
    paths = [path for path in itertools.product(range(SIZE), repeat=3) if valid(path)]
    mask = torch.ones(len(paths), 3, dtype=torch.bool)
    loss = crf.negative_log_likelihood(emissions.expand(len(paths), -1, -1), torch.tensor(paths), mask)
    assert float((-loss).exp().sum().detach()) == pytest.approx(1.0, abs=1e-5)


def test_training_on_one_sequence_makes_it_the_best() -> None:
    crf = layer()
    emissions = torch.zeros(1, 5, SIZE)
    tags, mask = torch.tensor([[1, 2, 0, 3, 0]]), torch.ones(1, 5, dtype=torch.bool)
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        crf.negative_log_likelihood(emissions, tags, mask).sum().backward()
        optimizer.step()
    assert [crf.decode(rows.numpy()).tolist() for rows in emissions.detach()] == tags.tolist()
