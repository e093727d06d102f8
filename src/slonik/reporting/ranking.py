"""Rankings that do not depend on the scale of tasks: Borda, Dowdall, Copeland and minimax, beside the mean.

A mean over tasks is driven by the tasks that spread most; where a rank-based rule orders models otherwise, the
table says so. Missing scores are never imputed: two models are compared on the tasks that both have.

Source: Rofin et al. 2023 (Vote'n'Rank), for the rules and for what they show on SuperGLUE-like boards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Scores = Mapping[str, Mapping[str, float]]
_EQUAL = 1e-12  # scores that differ by rounding alone are equal


@dataclass(frozen=True)
class Ranking:
    """Points of each model under one rule, more is better."""

    rule: str
    points: Mapping[str, float]

    def order(self) -> list[str]:
        """Models, best first; ties in the order of their names."""
        return sorted(self.points, key=lambda model: (-self.points[model], model))


def borda(scores: Scores, tasks: Sequence[str]) -> Ranking:
    """Mean over a model's tasks of the share of rivals it beats there (a tie counts one half).

    Args:
        scores: model -> task -> score, more is better.
    """
    points = {}
    for model in scores:
        shares = [share for task in tasks if (share := _beaten(scores, model, task)) is not None]
        points[model] = sum(shares) / len(shares) if shares else 0.0
    return Ranking("Borda", points)


def copeland(scores: Scores, tasks: Sequence[str]) -> Ranking:
    """Duels won minus duels lost; a duel goes to the model that is better on more of the tasks both have."""
    points = dict.fromkeys(scores, 0.0)
    for model in scores:
        for rival in scores:
            wins = sum(_compare(scores, model, rival, task) for task in tasks)
            points[model] += (wins > 0) - (wins < 0)
    return Ranking("Copeland", points)


def mean_rank(scores: Scores, tasks: Sequence[str]) -> Ranking:
    """The plain mean over tasks, of models that have every task."""
    complete = {model: found for model, found in scores.items() if all(task in found for task in tasks)}
    return Ranking("mean", {model: sum(found[t] for t in tasks) / len(tasks) for model, found in complete.items()})


def dowdall(scores: Scores, tasks: Sequence[str]) -> Ranking:
    """Mean over a model's tasks of 1 / rank there (equal scores share the mean of their points)."""
    points = dict.fromkeys(scores, 0.0)
    counts = dict.fromkeys(scores, 0)
    for task in tasks:
        known = sorted((found[task] for found in scores.values() if task in found), reverse=True)
        for model, found in scores.items():
            if task in found:
                places = [place for place, score in enumerate(known, 1) if score == found[task]]
                points[model] += sum(1 / place for place in places) / len(places)
                counts[model] += 1
    return Ranking("Dowdall", {model: points[model] / max(1, counts[model]) for model in scores})


def minimax(scores: Scores, tasks: Sequence[str]) -> Ranking:
    """Minus the margin, in tasks, of a model's worst defeat in a duel; 0 for one that no rival defeats."""
    points = {}
    for model in scores:
        margins = [sum(_compare(scores, rival, model, task) for task in tasks) for rival in scores if rival != model]
        points[model] = 0.0 - max([0, *margins])
    return Ranking("minimax", points)


def ranks(ranking: Ranking) -> dict[str, int]:
    """Place of each model, best 1; models with equal points share the better place."""
    return {
        model: 1 + sum(other > points + _EQUAL for other in ranking.points.values())
        for model, points in ranking.points.items()
    }


def disagreement(rankings: Sequence[Ranking]) -> str | None:
    """A sentence when the rules do not name the same best model."""
    best = {ranking.rule: ranking.order()[0] for ranking in rankings if ranking.points}
    if len(set(best.values())) <= 1:
        return None
    return "the rules disagree on the best: " + ", ".join(f"{model} by {rule}" for rule, model in best.items())


def _beaten(scores: Scores, model: str, task: str) -> float | None:
    if task not in scores[model]:
        return None
    rivals = [rival for rival in scores if rival != model and task in scores[rival]]
    if not rivals:
        return None
    return sum((_compare(scores, model, rival, task) + 1) / 2 for rival in rivals) / len(rivals)


def _compare(scores: Scores, model: str, rival: str, task: str) -> int:
    """1, 0 or -1; 0 where one of them lacks the task."""
    own, other = scores[model].get(task), scores[rival].get(task)
    if own is None or other is None:
        return 0
    return (own > other) - (own < other)
