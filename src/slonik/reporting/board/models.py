"""What is known of each model on the board: size, family, licence, where it comes from, what each step cost and gained.

From passports, folders, size records and published rows; what none of them says stays unsaid. Names are no facts: a
family is read from a configuration or a passport, never guessed from how a model is called.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.reporting.board.reading import Figure, Found
from slonik.reporting.lineage import findings, settings
from slonik.reporting.scores import AVERAGES, is_difference
from slonik.reporting.trade_offs import NOT_IN_MEAN_SPEED

_BASELINES = ("hashing_", "majority", "random", "tfidf", "navec", "bm25", "heuristic")


def model_facts(found: Found) -> list[dict[str, Any]]:
    """One object per model, in the order in which the figures name them."""
    by_model: dict[str, list[Figure]] = defaultdict(list)
    for figure in found.figures:
        if not is_difference(figure.record):
            by_model[figure.model].append(figure)
    for name in found.passports:
        by_model.setdefault(name, [])
    weights = _weights(found.figures)
    discs = _disc_facts(found.figures)
    return [_facts(name, figures, found, weights, discs.get(name)) for name, figures in by_model.items()]


def _facts(
    name: str, figures: Sequence[Figure], found: Found, weights: Mapping[str, str], disc: dict[str, Any] | None
) -> dict[str, Any]:
    facts = dict(found.facts.get(name, {}))
    passport = found.passports.get(name)
    for figure in figures:
        record = figure.record
        if (record.suite, record.task) == ("resources", "size") and record.metric in ("parameters", "bytes"):
            facts.setdefault(record.metric, record.value)
        for key in ("parameters", "dimension", "licence", "family", "url", "max_tokens", "languages"):
            if record.detail.get(key) not in (None, "", []) and figure.standing != "measured":
                facts.setdefault(key, record.detail[key])
        if record.detail.get("baseline"):
            facts["baseline"] = True
    if name.split(" ")[0].startswith(_BASELINES):
        facts["baseline"] = True
    engines = {f.record.variant for f in figures if f.record.suite == "resources" and f.record.variant}
    told: dict[str, Any] = {"n": name, "s": sorted({figure.standing for figure in figures})}
    if passport is not None and passport.lineage:
        facts.setdefault("origin", passport.origin)
        told["lineage"] = lineage(passport, weights)
        if "family" not in facts and passport.origin:
            facts["family"] = passport.origin.split("/")[-1]
    by = sorted({figure.by for figure in figures if figure.by})
    return told | facts | ({"e": sorted(engines)} if engines else {}) | ({"by": by} if by else {}) | (disc or {})


def _weights(figures: Iterable[Figure]) -> dict[str, str]:
    """Hash of weights -> the model that was measured with them."""
    return {
        figure.record.hashes["weights"]: figure.model
        for figure in figures
        if figure.record.hashes.get("weights") and not is_difference(figure.record)
    }


def lineage(passport: Passport, weights: Mapping[str, str]) -> list[dict[str, Any]]:
    """The steps of a model's life, oldest first, each with its parents, its cost, and what it found.

    Args:
        weights: hash of weights -> model on the board, to tell a parent that has figures of its own.
    """
    steps = []
    for number, step in enumerate(passport.lineage):
        parents = [passport.origin or passport.name] if number == 0 else []
        known = [weights[digest] for name, digest in step.inputs.items() if digest in weights]
        told: dict[str, Any] = {
            "command": step.command,
            "parents": parents + [one for one in known if one not in parents],
            "seconds": step.seconds,
            "seed": step.seed,
            "version": step.version,
            "licence": step.license,
            "inputs": {name: digest[:12] for name, digest in list(step.inputs.items())[:8]},
            "config": settings(step),
            "found": findings(step.summary),
        }
        steps.append({key: value for key, value in told.items() if value not in (None, {}, [])})
    return steps


def _disc_facts(figures: Iterable[Figure]) -> dict[str, dict[str, Any]]:
    """MOROCCO's three numbers of each model that has logs: score (of how many tasks), records per second, memory."""
    logs: dict[str, list[Record]] = defaultdict(list)
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    whole: dict[str, float] = {}
    for figure in figures:
        record = figure.record
        if record.value is None or is_difference(record):
            continue
        if record.suite == "morocco":
            logs[figure.model].append(record)
        elif record.suite == "russian_superglue" and record.task in AVERAGES:
            whole.setdefault(figure.model, record.value)
        elif record.suite == "russian_superglue" and (
            record.metric == "mean" or record.task not in scores[figure.model]
        ):
            scores[figure.model][record.task] = record.value
    found = {}
    for model, records in logs.items():
        rates = [r.value for r in records if r.metric == "rps" and r.task not in NOT_IN_MEAN_SPEED and r.value]
        memory = sorted(r.value for r in records if r.metric == "gpu_ram" and r.value) or sorted(
            r.value for r in records if r.metric == "ram" and r.value
        )
        own = scores.get(model, {})
        score = whole.get(model, sum(own.values()) / len(own) if own else None)
        if rates and memory:
            tasks = None if model in whole else len(own)
            found[model] = {
                "disc": [sum(rates) / len(rates), score, memory[len(memory) // 2], tasks],
            }
    return found
