"""Score against cost: the points of the Pareto plot and of MOROCCO's discs, from records of several suites.

A model's score is the average that its suite defines. A model that was scored once and timed with several engines
gives a point per engine. MOROCCO's own picture joins Russian SuperGLUE's score with MOROCCO's speed and memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, median

from slonik.core.records import Record
from slonik.reporting.formatting import write
from slonik.reporting.plots import Point
from slonik.reporting.resources import system_name
from slonik.reporting.scores import AVERAGES, is_difference, is_published, title_of
from slonik.reporting.table import Cell, Content, Table

# Tasks on another scale (reading comprehension) or too quick to time: left out of the mean speed, as in the original.
NOT_IN_MEAN_SPEED = frozenset({"muserc", "rucos", "parus"})
# Costs that a score is set against: (task, metric) -> (name, less is better).
COSTS: dict[tuple[str, str], tuple[str, bool]] = {
    ("batch_1", "ms_per_text"): ("ms per text", True),
    ("best_batch", "texts_per_second"): ("texts per second", False),
    ("memory", "peak_bytes"): ("peak memory", True),
    ("size", "bytes"): ("bytes on disk", True),
    ("size", "parameters"): ("parameters", True),
}
# Names of one model in two places: MOROCCO's folders of logs, and the leaderboard of Russian SuperGLUE.
SAME_MODEL = {
    "rubert": "RuBERT plain",
    "rubert-conversational": "RuBERT conversational",
    "bert-multilingual": "Multilingual Bert",
    "rugpt3-small": "RuGPT3Small",
    "rugpt3-medium": "RuGPT3Medium",
    "rugpt3-large": "RuGPT3Large",
}


@dataclass(frozen=True)
class TradeOff:
    """Models on one cost and one score.

    Attributes:
        cost, score: names for the axes.
        less_is_better: of the cost.
        metric: of the cost, for writing its values.
    """

    cost: str
    score: str
    metric: str
    less_is_better: bool
    points: tuple[Point, ...]


def main_scores(records: Iterable[Record]) -> dict[str, dict[str, Record]]:
    """Name of an average ("encodechka, compatible: mean_s") -> model -> its record; the fullest average of a suite."""
    found: dict[tuple[str, str, str], dict[str, Record]] = {}
    for record in records:
        if record.task in AVERAGES and record.value is not None and not is_difference(record):
            found.setdefault((record.suite, record.variant, record.task), {})[record.model] = record
    # mean_s speaks for sentences; mean_sw mixes in the two word tasks and is shown in the tables.
    ranks = ("mean_s5", "mean_sw", "score", "mean_s")
    best = {(suite, variant): task for suite, variant, task in sorted(found, key=lambda key: ranks.index(key[2]))}
    places = dict.fromkeys((suite, variant) for suite, variant, _ in found)
    return {f"{title_of(*place)}: {best[place]}": found[*place, best[place]] for place in places}


def trade_offs(records: Sequence[Record]) -> list[TradeOff]:
    """One per average and cost for which at least two models have both."""
    own = [record for record in records if record.suite == "resources" and record.value is not None]
    result = []
    for score_name, by_model in main_scores(records).items():
        for key, (cost_name, less_is_better) in COSTS.items():
            costs = {system_name(r): r for r in own if (r.task, r.metric) == key and r.model in by_model}
            points = [
                Point(name, float(cost.value or 0), float(by_model[cost.model].value or 0))
                for name, cost in costs.items()
            ]
            if len(points) < 2:
                continue
            front = pareto_front([(p.x, p.y) for p in points], less_is_better=(less_is_better, False))
            marked = tuple(Point(p.label, p.x, p.y, front=on_front) for p, on_front in zip(points, front, strict=True))
            result.append(TradeOff(cost_name, score_name, key[1], less_is_better, marked))
    return result


def pareto_table(found: Sequence[TradeOff]) -> Table:
    """Which systems are on the front of which trade-off: bold where no other is better on both."""
    points = {(point.label, number): point for number, trade in enumerate(found) for point in trade.points}
    several = len({trade.score for trade in found}) > 1

    def content(name: str, number: int) -> Content:
        point = points.get((name, number))
        if point is None:
            return None
        text = f"{write('score', point.y)} at {write(found[number].metric, point.x)}"
        return Cell(text, mark="best" if point.front else "")

    return Table.grid(
        "Score against cost",
        "model [engine]",
        {label: label for trade in found for label in (point.label for point in trade.points)},
        {
            number: f"{trade.score if several else trade.score.split(': ')[-1]} against {trade.cost}"
            for number, trade in enumerate(found)
        },
        content,
        notes=["bold: on the Pareto front, no other is at least as good on both and better on one"],
    )


def morocco_points(records: Sequence[Record]) -> list[Point]:
    """The discs: mean records per second (without MuSeRC, RuCoS, PARus), score, and memory in GiB.

    GPU memory where there was a GPU, else the process's own. A model without the score of nine tasks has the mean of
    the tasks that it has, and its label says of how many; one without any is left out. Names of one model in the logs
    and on the leaderboard (`SAME_MODEL`) are one.
    """
    logs: dict[str, list[Record]] = {}
    for record in records:
        if record.suite == "morocco" and record.value is not None:
            logs.setdefault(SAME_MODEL.get(record.model, record.model), []).append(record)
    points = []
    for model, own in logs.items():
        name, score, tasks, published = _superglue_score(records, model)
        rates = [r.value for r in own if r.metric == "rps" and r.task not in NOT_IN_MEAN_SPEED]
        memory = [r.value for r in own if r.metric == "gpu_ram"] or [r.value for r in own if r.metric == "ram"]
        if rates and memory and score is not None:
            speed, gib = mean(v for v in rates if v is not None), median(v for v in memory if v is not None)
            label = name if tasks is None else f"{name} ({tasks} of 9 tasks)"
            points.append(Point(label, speed, score, area=gib, published=published))
    return points


def _superglue_score(records: Sequence[Record], model: str) -> tuple[str, float | None, int | None, bool]:
    """The name under which a model was scored, its score, of how many tasks (None = all nine), whether published."""
    own = [
        record
        for record in records
        if record.suite == "russian_superglue" and SAME_MODEL.get(record.model, record.model) == model
        and record.value is not None and not is_difference(record)
    ]  # fmt: skip
    for record in own:
        if record.task == "score":
            return record.model, float(record.value or 0), None, is_published(record)
    tasks: dict[str, Record] = {}
    for record in own:
        if record.metric == "mean" or record.task not in tasks:
            tasks[record.task] = record
    if not tasks:
        return model, None, None, False
    values = [float(record.value or 0) for record in tasks.values()]
    return own[0].model, sum(values) / len(values), len(values), all(map(is_published, tasks.values()))


def disc_points(records: Sequence[Record]) -> tuple[str, list[Point]]:
    """The same picture for encoders: the score's name; texts per second, the average, and peak memory in GiB."""
    memory = {system_name(r): r.value for r in records if (r.task, r.metric) == ("memory", "peak_bytes")}
    rates = [r for r in records if (r.task, r.metric) == ("best_batch", "texts_per_second")]
    for score_name, by_model in main_scores(records).items():
        points = []
        for record in rates:
            name = system_name(record)
            gib = (memory.get(name) or 0) / 2**30
            if record.value and gib and record.model in by_model:
                points.append(Point(name, record.value, by_model[record.model].value or 0, area=gib))
        if len(points) >= 2:
            return score_name, points
    return "", []


def fitness(score: float, rps: float, gib: float) -> float:
    """max(1, log(score * rps / memory)): one number for MOROCCO's three, as we remember arXiv 2104.14314.

    Not confirmed as the authors' formula, therefore an option and never "the" MOROCCO score. Natural logarithm;
    score a fraction, memory in GiB.
    """
    return max(1.0, math.log(score * rps / gib)) if min(score, rps, gib) > 0 else 1.0


def pareto_front(points: Sequence[tuple[float, float]], *, less_is_better: tuple[bool, bool]) -> list[bool]:
    """For each point, whether no other point is at least as good on both criteria and better on one.

    Args:
        points: (first, second) of each model.
        less_is_better: for each criterion; False = more is better.
    """
    signs = [-1.0 if less else 1.0 for less in less_is_better]
    good = [(signs[0] * first, signs[1] * second) for first, second in points]
    return [not any(other[0] >= own[0] and other[1] >= own[1] and other != own for other in good) for own in good]
