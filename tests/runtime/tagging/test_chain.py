"""The chain in numpy: best sequence and marginals against counting all sequences, and against torch."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.models.heads.crf import LinearChainCrf
from slonik.runtime.tagging.chain import Chain

LABELS = 5


def problem(seed: int, length: int = 4) -> tuple[np.ndarray, Chain, LinearChainCrf]:
    torch.manual_seed(seed)
    layer = LinearChainCrf(LABELS)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    emissions = np.random.default_rng(seed).standard_normal((length, LABELS)).astype(np.float32)
    return emissions, layer.chain(), layer


def scores_of_all(emissions: np.ndarray, chain: Chain) -> dict[tuple[int, ...], float]:
    found = {}
    for path in itertools.product(range(LABELS), repeat=len(emissions)):
        score = chain.start[path[0]] + chain.end[path[-1]] + sum(emissions[t, y] for t, y in enumerate(path))
        found[path] = float(score + sum(chain.transitions[a, b] for a, b in itertools.pairwise(path)))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_best_sequence_and_marginals_are_those_of_counting_every_sequence(seed: int) -> None:
    emissions, chain, _ = problem(seed)
    scores = scores_of_all(emissions, chain)
    assert tuple(chain.decode(emissions).tolist()) == max(scores, key=lambda path: scores[path])
    weights = {path: np.exp(score) for path, score in scores.items()}
    expected = np.zeros((len(emissions), LABELS))
    for path, weight in weights.items():
        expected[np.arange(len(path)), path] += weight
    assert np.allclose(chain.marginals(emissions), expected / sum(weights.values()), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_it_reads_as_torch_does(seed: int) -> None:
    emissions, chain, layer = problem(seed, length=40)
    assert np.array_equal(chain.decode(emissions), layer.decode(emissions))
    mask = torch.ones(1, len(emissions), dtype=torch.bool)
    assert np.allclose(
        chain.marginals(emissions), layer.marginals(torch.from_numpy(emissions)[None], mask)[0], atol=1e-5
    )


def test_without_scores_the_rules_alone_decide() -> None:
    rules = Chain.of(LABELS)
    emissions = np.zeros((3, LABELS), np.float32)
    emissions[1, 2] = 9  # I of the first class, which nothing begins
    assert rules.decode(emissions).tolist() in ([1, 2, 0], [1, 2, 1], [1, 2, 2])
    assert np.allclose(rules.marginals(emissions).sum(-1), 1)
    assert rules.decode(emissions[:0]).tolist() == [] and rules.marginals(emissions[:0]).shape == (0, LABELS)


def test_a_thousand_words_neither_overflow_nor_vanish() -> None:
    emissions, chain, _ = problem(0, length=1000)
    found = chain.marginals(emissions * 50)
    assert np.isfinite(found).all() and np.allclose(found.sum(-1), 1, atol=1e-4)


def test_its_file_gives_it_back_and_another_is_refused(tmp_path: Path) -> None:
    _, chain, _ = problem(1)
    path = tmp_path / "chain.safetensors"
    chain.write(path)
    read = Chain.read(path, LABELS)
    assert np.array_equal(read.transitions, chain.transitions) and np.array_equal(read.end, chain.end) and read.trained
    with pytest.raises(SlonikError, match="no transitions of 7 labels"):
        Chain.read(path, 7)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SlonikError, match=r"chain\.safetensors"):
        Chain.read(path, LABELS)
    with pytest.raises(SlonikError, match=r"chain\.safetensors"):
        Chain.read(tmp_path / "none" / "chain.safetensors", LABELS)
