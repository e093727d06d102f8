"""Sums, maxima and gradients of the chain equal those over every label sequence written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from slonik.models.heads import crf
from slonik.models.heads.crf import (
    LinearChainCrf,
    Posterior,
    Scores,
    forward_backward,
    log_partition,
    path_score,
    viterbi,
)

LABELS = 5
LENGTHS = (4, 1, 3)


def problem(seed: int = 0, *, forbid: bool = True) -> tuple[Tensor, Tensor, Scores]:
    """Random scores of three sequences of 4, 1 and 3 words; two transitions and a start forbidden."""
    generator = torch.Generator().manual_seed(seed)
    emissions = torch.randn(len(LENGTHS), max(LENGTHS), LABELS, generator=generator) * 2
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    transitions = torch.randn(LABELS, LABELS, generator=generator)
    start, end = torch.randn(LABELS, generator=generator), torch.randn(LABELS, generator=generator)
    if forbid:
        transitions[0, 2] = transitions[1, 4] = start[2] = float("-inf")
    return emissions, mask, Scores(transitions, start, end)


def every_sequence(emissions: Tensor, length: int, scores: Scores) -> dict[tuple[int, ...], Tensor]:
    """Score of each of the L^n label sequences."""
    found = {}
    for path in itertools.product(range(LABELS), repeat=length):
        total = scores.start[path[0]] + scores.end[path[-1]] + sum(emissions[t, y] for t, y in enumerate(path))
        found[path] = total + sum(scores.transitions[a, b] for a, b in itertools.pairwise(path))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_sums_equal_brute_force(seed: int) -> None:
    emissions, mask, scores = problem(seed)
    found = forward_backward(emissions, mask, scores)
    for row, length in enumerate(LENGTHS):
        paths = every_sequence(emissions[row].double(), length, scores)
        whole = torch.logsumexp(torch.stack(list(paths.values())), 0)
        assert torch.allclose(found.log_partition[row], whole.double(), atol=1e-5)
        marginals = torch.zeros(max(LENGTHS), LABELS, dtype=torch.float64)
        pairs = torch.zeros(LABELS, LABELS, dtype=torch.float64)
        for path, score in paths.items():
            chance = (score - whole).exp()
            for time, label in enumerate(path):
                marginals[time, label] += chance
            for before, after in itertools.pairwise(path):
                pairs[before, after] += chance
        assert torch.allclose(found.marginals[row], marginals, atol=1e-6)
        assert torch.allclose(found.pairs[row], pairs, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_viterbi_finds_the_best_of_all_sequences(seed: int) -> None:
    emissions, _, scores = problem(seed)
    for row, length in enumerate(LENGTHS):
        paths = every_sequence(emissions[row], length, scores)
        best = viterbi(emissions[row, :length].numpy(), scores)
        assert tuple(best.tolist()) == max(paths, key=lambda path: float(paths[path]))


def test_of_equal_sequences_the_lower_numbers_win() -> None:
    free = Scores(torch.zeros(LABELS, LABELS), torch.zeros(LABELS), torch.zeros(LABELS))
    assert viterbi(np.zeros((4, LABELS), np.float32), free).tolist() == [0, 0, 0, 0]
    assert len(viterbi(np.zeros((0, LABELS), np.float32), free)) == 0


def test_score_of_a_path_equals_the_sum_written_out() -> None:
    emissions, mask, scores = problem(1)
    tags = torch.tensor([[0, 1, 3, 2], [4, 0, 0, 0], [1, 1, 0, 4]])
    found = path_score(emissions, tags, mask, scores)
    for row, length in enumerate(LENGTHS):
        path = tuple(tags[row, :length].tolist())
        assert torch.isclose(found[row], every_sequence(emissions[row], length, scores)[path])


def test_gradient_of_the_sum_equals_automatic_differentiation() -> None:
    emissions, mask, scores = problem(2, forbid=False)
    weights = torch.tensor([1.0, -2.0, 0.5])
    leaves = [part.clone().requires_grad_() for part in (emissions, scores.transitions, scores.start, scores.end)]
    (log_partition(leaves[0], mask, Scores(*leaves[1:])) * weights).sum().backward()
    own = [leaf.grad for leaf in leaves]
    again = [part.clone().requires_grad_() for part in (emissions, scores.transitions, scores.start, scores.end)]
    total = torch.zeros(())
    for row, length in enumerate(LENGTHS):
        paths = every_sequence(again[0][row], length, Scores(*again[1:]))
        total = total + weights[row] * torch.logsumexp(torch.stack(list(paths.values())), 0)
    total.backward()
    for mine, reference in zip(own, again, strict=True):
        assert mine is not None and reference.grad is not None
        assert torch.allclose(mine, reference.grad, atol=1e-5)


def test_forbidden_transitions_leave_gradients_finite() -> None:
    emissions, mask, scores = problem(0)
    leaf = emissions.clone().requires_grad_()
    log_partition(leaf, mask, scores).sum().backward()
    assert leaf.grad is not None and torch.isfinite(leaf.grad).all()
    assert torch.allclose(leaf.grad.sum(-1), mask.float(), atol=1e-6)  # marginals of a word sum to 1


def test_padding_changes_nothing() -> None:
    emissions, mask, scores = problem(1)
    longer = torch.cat([emissions, torch.full((len(LENGTHS), 3, LABELS), 50.0)], 1)
    longer_mask = torch.cat([mask, torch.zeros(len(LENGTHS), 3, dtype=torch.bool)], 1)
    short, long = (forward_backward(*part, scores) for part in ((emissions, mask), (longer, longer_mask)))
    assert torch.allclose(short.log_partition, long.log_partition)
    assert torch.allclose(short.marginals, long.marginals[:, : max(LENGTHS)])
    assert torch.allclose(short.pairs, long.pairs)


def test_a_thousand_words_with_large_scores_stay_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    emissions = torch.randn(2, 1000, LABELS, generator=generator) * 60
    mask = torch.ones(2, 1000, dtype=torch.bool)
    found = forward_backward(emissions, mask, problem(0)[2])
    assert torch.isfinite(found.log_partition).all()
    assert torch.allclose(found.marginals.sum(-1), torch.ones(2, 1000, dtype=torch.float64), atol=1e-9)


def test_a_sequence_without_words_counts_nothing() -> None:
    emissions, _, scores = problem(0)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    found = forward_backward(emissions, mask, scores)
    assert not found.log_partition.any() and not found.marginals.any() and not found.pairs.any()
    assert not path_score(emissions, torch.zeros(3, 4, dtype=torch.long), mask, scores).any()


@pytest.mark.parametrize("trainable", [False, True])
def test_chains_are_read_where_the_emissions_are(trainable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tagger on a GPU has its emissions on the processor; "meta" stands for another device."""
    layer = LinearChainCrf(LABELS, trainable=trainable)
    emissions = torch.zeros(1, 3, LABELS, device="meta")
    mask = torch.ones(1, 3, dtype=torch.bool, device="meta")
    met: list[str] = []

    def sums(values: Tensor, _: Tensor, scores: Scores) -> Posterior:
        met.extend(part.device.type for part in (values, scores.transitions, scores.start, scores.end))
        return Posterior(values, values, values)

    monkeypatch.setattr(crf, "forward_backward", sums)
    layer.marginals(emissions, mask)
    assert met == (["meta"] * 4 if trainable else [])
