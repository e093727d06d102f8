"""The structural probe finds a tree that is in the vectors, and scores what it finds as by hand."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.inspection.probing.trees import (
    StructuralProbe,
    Tree,
    control_tree_of,
    in_a_row,
    score_distances,
    spanning_tree,
    tree_of,
)
from tests.inspection.probing.test_labels import sentence


def test_distances_are_edges_of_the_tree_without_punctuation() -> None:
    made = sentence(
        ("старый", "ADJ", 2, "amod", {}), ("слон", "NOUN", 3, "nsubj", {}), ("идёт", "VERB", 0, "root", {}),
        (",", "PUNCT", 3, "punct", {}), ("домой", "ADV", 3, "advmod", {}),
    )  # fmt: skip
    tree = tree_of(made)
    assert tree is not None
    assert tree.words.tolist() == [0, 1, 2, 4]
    assert tree.distances.tolist() == [[0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1], [3, 2, 1, 0]]
    assert tree.edges == {(0, 1), (1, 2), (2, 3)}
    assert spanning_tree(in_a_row(tree)) == tree.edges
    scores = score_distances([tree], [in_a_row(tree)])
    assert scores.uuas == 1.0
    assert np.isnan(scores.spearman)  # four words are too few for it
    control = control_tree_of(made, 0)
    assert control is not None
    assert len(control.edges) == 3
    assert all(0 in edge or 3 in edge for edge in control.edges)


def _random_tree(rng: np.random.Generator, size: int) -> Tree:
    heads = [0, *(int(rng.integers(at)) for at in range(1, size))]
    distances = np.zeros((size, size))
    for at in range(1, size):
        distances[at, :at] = distances[:at, at] = distances[heads[at], :at] + 1
    edges = frozenset((heads[at], at) for at in range(1, size))
    return Tree(np.arange(size), distances, edges)


def _embedded(tree: Tree, rng: np.random.Generator) -> np.ndarray:
    """Vectors whose squared distances are those of the tree in sixteen of twenty-four dimensions, noise in the rest."""
    size = len(tree.words)
    centred = np.eye(size) - 1 / size
    values, axes = np.linalg.eigh(-0.5 * centred @ tree.distances @ centred)
    placed = np.zeros((size, 24))
    placed[:, :size] = axes * np.sqrt(np.maximum(values, 0))
    placed[:, 16:] = rng.normal(size=(size, 8))
    return placed


def test_a_planted_tree_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    trees = [_random_tree(rng, int(rng.integers(6, 12))) for _ in range(110)]
    vectors = [_embedded(tree, rng) for tree in trees]
    noise = [rng.normal(size=part.shape) for part in vectors]
    scores = []
    for found in (vectors, noise):
        probe = StructuralProbe(found[:60], trees[:60], (found[60:80], trees[60:80]), rank=24)
        scores.append(score_distances(trees[80:], probe.distances(found[80:])))
    assert scores[0].uuas > 0.9
    assert scores[0].spearman > 0.9
    assert scores[1].uuas < 0.4
    low, high = np.percentile(scores[1].resampled(rng.multinomial(30, [1 / 30] * 30, size=200))[0], [2.5, 97.5])
    assert low < scores[1].uuas < high


def test_correlation_is_that_of_scipy_averaged_by_length() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    trees = [_random_tree(rng, size) for size in (6, 6, 9)]
    found = []
    for tree in trees:
        part = rng.random(tree.distances.shape)
        found.append(part + part.T)
    scores = score_distances(trees, found)
    by_word = [
        np.mean([
            spearmanr(np.delete(part[at], at), np.delete(tree.distances[at], at)).statistic for at in range(len(part))
        ])
        for tree, part in zip(trees, found, strict=True)
    ]  # fmt: skip
    assert scores.correlations == pytest.approx(by_word)
    assert scores.spearman == pytest.approx(((by_word[0] + by_word[1]) / 2 + by_word[2]) / 2)
