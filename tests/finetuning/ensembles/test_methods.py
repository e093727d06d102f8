"""Ensembles against direct computation, and what they must gain on models whose mistakes are independent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax as reference_softmax

from slonik.core.errors import SlonikError
from slonik.finetuning.ensembles.combine import Combiner, mean, select, softmax, stack, vote
from slonik.finetuning.ensembles.methods import METHODS, Problem, disagreement, fit, out_of_fold

Floats = NDArray[np.float64]


def _problem(strengths: list[float], items: int = 400, classes: int = 3, seed: int = 0) -> Problem:
    """Runs whose logits are the truth times a strength plus noise of their own."""
    rng = np.random.default_rng(seed)
    right = np.eye(classes, dtype=bool)[rng.integers(0, classes, items)]
    logits = np.stack([strength * right + rng.normal(size=(items, classes)) for strength in strengths])
    folds = np.arange(items) % 5

    def score(combined: Floats, chosen: NDArray[np.int64]) -> float:
        return float(right[chosen, combined.argmax(axis=1)].mean())

    return Problem(reference_softmax(logits, axis=-1), np.ones((items, classes), bool), right, folds, score)


def _everything(problem: Problem) -> NDArray[np.int64]:
    return np.arange(len(problem.known))


def test_mean_and_weighted_mean_by_hand() -> None:
    table = np.array([[[0.8, 0.2]], [[0.4, 0.6]]])
    assert mean(table) == pytest.approx(np.array([[0.6, 0.4]]))
    assert mean(table, [1, 3]) == pytest.approx(np.array([[0.5, 0.5]]))
    assert mean(table, [0, 0]) == pytest.approx(mean(table))


def test_votes_are_counted_and_ties_go_to_the_greater_mean() -> None:
    table = np.array([[[0.6, 0.4]], [[0.55, 0.45]], [[0.0, 1.0]]])
    assert vote(table).argmax(axis=1) == [0]  # two votes against one, though the mean says otherwise
    assert mean(table).argmax(axis=1) == [1]
    assert vote(table[1:]).argmax(axis=1) == [1]  # one vote each: the surer run decides
    assert vote(table, [1, 1, 3]).argmax(axis=1) == [1]


def test_softmax_leaves_candidates_out_that_there_are_not() -> None:
    scores, known = np.array([[1.0, 2.0, 9.0]]), np.array([[True, True, False]])
    assert softmax(scores, known)[0] == pytest.approx([*reference_softmax([1.0, 2.0]), 0.0])


def test_selection_finds_the_best_bag_that_it_can_meet() -> None:
    problem = _problem([1.0, 1.0, 0.8, 0.0], items=200)
    items = _everything(problem)
    weights = select(problem.probabilities, lambda combined: problem.score(combined, items), rounds=6)
    assert weights.sum() == pytest.approx(1)
    chosen = problem.score(np.tensordot(weights, problem.probabilities, axes=1), items)
    singles = max(problem.score(run, items) for run in problem.probabilities)
    pairs = max(
        problem.score(problem.probabilities[a] + problem.probabilities[b], items)
        for a, b in itertools.combinations_with_replacement(range(4), 2)
        if a == int(np.argmax([problem.score(run, items) for run in problem.probabilities]))
    )
    assert chosen >= max(singles, pairs)


def test_stacking_reaches_the_optimum_and_trusts_the_better_run() -> None:
    problem = _problem([2.0, 0.3], items=600)
    weights, biases = stack(problem.probabilities, problem.known, problem.right, with_biases=True)
    assert weights[0] > 2 * weights[1] > 0 and len(biases) == 3

    def loss(first: float, second: float) -> float:
        logs = np.log(np.maximum(problem.probabilities, 1e-6))
        shares = reference_softmax(first * logs[0] + second * logs[1] + biases, axis=1)
        own = np.array([first, second])
        return float(-np.log(shares[problem.right]).sum() + ((own - 0.5) ** 2).sum() + (biases**2).sum())

    best = loss(*weights)
    assert all(best <= loss(weights[0] + a, weights[1] + b) + 1e-4 for a in (-0.05, 0, 0.05) for b in (-0.05, 0, 0.05))


def test_stacking_on_candidates_of_differing_number_has_no_biases_and_skips_items_without_a_right_one() -> None:
    problem = _problem([2.0, 1.0], items=50)
    known, right = problem.known.copy(), problem.right.copy()
    known[:10, 2] = False
    right[10:20] = False
    probabilities = np.where(known, problem.probabilities, 0)
    weights, biases = stack(probabilities, known, right & known, with_biases=False)
    assert len(biases) == 0 and np.isfinite(weights).all()
    combined = Combiner("stacking", "logits", tuple(weights)).combine(probabilities, known)
    assert combined.sum(axis=1) == pytest.approx(np.ones(50)) and (combined[:10, 2] == 0).all()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_gives_probabilities_and_beats_chance_out_of_fold(method: str) -> None:
    problem = _problem([1.0, 0.9, 0.8])
    combined = out_of_fold(method, problem)
    assert combined.sum(axis=1) == pytest.approx(np.ones(len(combined)), abs=1e-9)
    assert problem.score(combined, _everything(problem)) > 0.5
    found = fit(method, problem, _everything(problem))
    assert len(found.weights) == 3 and found.as_dict()["rule"] in ("mean", "vote", "logits")


def test_runs_with_independent_mistakes_gain_from_each_other() -> None:
    problem = _problem([1.0] * 5, items=1000)
    single = problem.score(out_of_fold("single", problem), _everything(problem))
    for method in ("mean", "weighted", "greedy", "stacking", "best"):
        assert problem.score(out_of_fold(method, problem), _everything(problem)) > single + 0.1


def test_weights_go_to_the_runs_that_know_something() -> None:
    problem = _problem([2.0, 0.0, 0.0], items=600)
    weights = fit("weighted", problem, _everything(problem)).weights
    assert weights[0] > 0.7
    assert problem.score(out_of_fold("weighted", problem), _everything(problem)) > problem.score(
        out_of_fold("mean", problem), _everything(problem)
    )


def test_the_nested_figure_does_not_reward_choosing_among_runs_of_noise() -> None:
    gains = []
    for seed in range(4):
        problem = _problem([0.0] * 12, items=100, classes=2, seed=seed)
        chosen = fit("greedy", problem, _everything(problem))
        fooled = problem.score(chosen.combine(problem.probabilities, problem.known), _everything(problem))
        honest = problem.score(out_of_fold("greedy", problem), _everything(problem))
        assert fooled > 0.56
        gains.append(fooled - honest)
    assert np.mean(gains) > 0.08  # what selecting and measuring on the same items would have claimed


def test_out_of_fold_answers_do_not_depend_on_their_own_labels() -> None:
    problem = _problem([1.0, 0.5, 0.2], items=100)
    flipped = problem.right.copy()
    inside = problem.folds == 2
    flipped[inside] = ~flipped[inside] & (np.arange(3) == flipped[inside].argmax(axis=1)[:, None] - 1)
    other = Problem(problem.probabilities, problem.known, flipped, problem.folds, problem.score)
    for method in ("weighted", "stacking"):
        assert out_of_fold(method, problem)[inside] == pytest.approx(out_of_fold(method, other)[inside])


def test_disagreement_by_hand() -> None:
    picks = np.array([[0, 0, 1, 1], [0, 1, 1, 0]])
    assert disagreement(np.eye(2)[picks]) == pytest.approx(np.array([[0, 0.5], [0.5, 0]]))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(SlonikError, match="did you mean 'stacking'"):
        fit("staking", _problem([1.0]), np.arange(3))
