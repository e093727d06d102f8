"""What must not stand in one column or one row is put apart, and said: nothing is mixed, nothing is dropped.

- One task on other items or by another protocol (hashes differ, or are not given): two columns.
- One name with other weights: two rows. One figure twice with two values: two rows, each told by its file.
- An interval that does not hold its value, and a score beyond 1: shown, marked, told.

Names of one model in several places (`rubert` of MOROCCO's logs, "RuBERT plain" of the leaderboard) become one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from slonik.core.records import Record
from slonik.reporting.board.reading import Figure, Found
from slonik.reporting.formatting import WRITTEN
from slonik.reporting.overview import MODEL_HASHES
from slonik.reporting.scores import is_difference
from slonik.reporting.trade_offs import SAME_MODEL

_SPLIT = "split"
_ANY_ITEMS = frozenset({"size", "cold_start"})  # tasks of speed measurements that no text has a part in
_NOT_STATED = "items not stated"
_FITTED = frozenset({"russian_superglue", "own", "ner"})  # each task has weights of its own: no conflict between tasks


def put_apart(found: Found, aliases: Mapping[str, str] | None = None) -> None:
    """Give every figure its model, qualifier and part; add to the notices what was parted and why.

    Args:
        aliases: name -> the name that it stands under, beside those that are known.
    """
    names = SAME_MODEL | dict(aliases or {})
    met = sorted({figure.record.model for figure in found.figures if figure.record.model in names})
    for name in met:
        found.notices.append(f"{name} and {names[name]} are one model and stand in one row")
    figures = [replace(figure, model=names.get(figure.record.model, figure.record.model)) for figure in found.figures]
    figures = _by_items(figures, found.notices)
    figures = _by_weights(figures, found.notices)
    figures = _by_file(figures, found.notices)
    found.figures = figures
    found.passports = {names.get(name, name): passport for name, passport in found.passports.items()}
    found.facts = {names.get(name, name): facts for name, facts in found.facts.items()}
    found.notices += _doubts(figures)


def _column(figure: Figure) -> tuple[object, ...]:
    record = figure.record
    return (record.suite, record.variant, record.task, record.metric, record.layer, *_machine(figure))


def _items_of(figure: Figure) -> tuple[object, ...]:
    """What has one set of items: every engine of a speed measurement runs the same texts."""
    record = figure.record
    variant = "" if record.suite == "resources" else record.variant
    return (record.suite, variant, record.task, record.metric, record.layer, *_machine(figure))


def _by_items(figures: Sequence[Figure], notices: list[str]) -> list[Figure]:
    """Columns: each set of hashes of data and protocol its own; published figures stand with the first."""
    groups: dict[tuple[object, ...], dict[tuple[tuple[str, str], ...], list[int]]] = defaultdict(dict)
    for number, figure in enumerate(figures):
        record = figure.record
        if figure.standing == "published" or is_difference(record) or record.task in _ANY_ITEMS:
            continue
        hashes = tuple(sorted((k, v) for k, v in record.hashes.items() if k not in MODEL_HASHES))
        groups[_items_of(figure)].setdefault(hashes, []).append(number)
    result, told = list(figures), defaultdict(set)
    for column, by_hashes in groups.items():
        if len(by_hashes) < 2:
            continue
        labels = _labels([([result[i] for i in numbers], dict(hashes)) for hashes, numbers in by_hashes.items()])
        for numbers, label in zip(by_hashes.values(), labels, strict=True):
            for number in numbers:
                result[number] = replace(result[number], part=label)
        told[str(column[0])].add(str(column[2]))
    notices += [
        f"{suite}: {', '.join(sorted(tasks))} measured on different items or by different protocols: own columns"
        for suite, tasks in told.items()
    ]
    return result


def _labels(groups: Sequence[tuple[Sequence[Figure], Mapping[str, str]]]) -> list[str]:
    """A short name for each of several sets of hashes: the split where it differs, else the hash that does."""
    splits = [str(figures[0].record.detail.get(_SPLIT, "")) for figures, _ in groups]
    if all(splits) and len(set(splits)) == len(groups):
        return splits
    shared = [name for name in groups[0][1] if len({hashes.get(name) for _, hashes in groups}) == 1]
    labels = []
    for (_, hashes), split in zip(groups, splits, strict=True):
        told = [f"{name} {digest[:8]}" for name, digest in hashes.items() if name not in shared]
        labels.append(" ".join([split, *(told or [_NOT_STATED])]).strip())
    return labels


def _by_weights(figures: Sequence[Figure], notices: list[str]) -> list[Figure]:
    """Rows: the same name with other weights is another model."""
    seen: dict[tuple[object, ...], dict[str, list[int]]] = defaultdict(dict)
    for number, figure in enumerate(figures):
        digest = figure.record.hashes.get("weights")
        if digest and not is_difference(figure.record):
            fitted = (figure.record.suite, *_column(figure)) if figure.record.suite in _FITTED else ()
            seen[(figure.model, *fitted)].setdefault(digest, []).append(number)
    result, told = list(figures), defaultdict(set)
    for (model, *_), by_digest in seen.items():
        if len(by_digest) < 2:
            continue
        for digest, numbers in by_digest.items():
            told[str(model)].add(_short(figures[numbers[0]].source))
            for number in numbers:
                result[number] = replace(result[number], qualifier=f"weights {digest[:8]}")
    notices += [
        f"two different models are called {model} (other weights in {', '.join(sorted(files))}): a row each"
        for model, files in told.items()
    ]
    return result


def _by_file(figures: Sequence[Figure], notices: list[str]) -> list[Figure]:
    """Rows: a figure that two files give with two values stands twice, equal ones once."""
    places: dict[tuple[object, ...], list[Figure]] = defaultdict(list)
    for figure in figures:
        key = (*_column(figure), figure.part, figure.model, figure.qualifier, figure.standing)
        places[key].append(figure)
    result, told = [], defaultdict(set)
    for found in places.values():
        kept: dict[tuple[object, ...], Figure] = {}
        for figure in found:
            record = figure.record
            values = (_rounded(record, value) for value in (record.value, record.low, record.high))
            kept.setdefault((*values, figure.by), figure)
        first, *others = kept.values()
        result.append(first)
        for other in others:
            note = other.by or f"from {_short(other.source)}"
            result.append(replace(other, qualifier=f"{other.qualifier}, {note}".lstrip(", ")))
            if not is_difference(other.record):
                told[other.model].add(_short(other.source))
    notices += [
        f"{model} was measured more than once, with other values in {', '.join(sorted(files))}: a row each"
        for model, files in told.items()
    ]
    return result


def _rounded(record: Record, value: float | None) -> float | None:
    """A score as it is written, so that what was measured again with the same outcome stands once."""
    if value is None or record.metric in WRITTEN or record.suite not in SCORED:
        return value
    return round(value, 3)


def _machine(figure: Figure) -> tuple[str, ...]:
    detail = figure.record.detail
    if figure.record.suite != "resources":
        return ()
    return tuple(str(detail.get(name, "")) for name in ("machine", "threads"))


def _short(source: str) -> str:
    path = PurePath(source)
    return str(PurePath(*path.parts[-2:]))


def _doubts(figures: Iterable[Figure]) -> list[str]:
    """Sentences about figures that cannot be what they say."""
    outside, beyond, valueless = [], [], []
    for figure in figures:
        record = figure.record
        if record.value is None or not math.isfinite(record.value):
            why = record.detail.get("reason") or record.detail.get("warnings") or "none is given"
            valueless.append(f"{figure.model} on {record.suite} {record.task} ({record.metric}): {why}")
            continue
        what = f"{figure.model} on {record.suite} {record.task} ({record.metric}) in {_short(figure.source)}"
        if interval_is_wrong(figure):
            outside.append(f"{what}: {record.value:g} is not in [{record.low:g}, {record.high:g}]")
        elif score_is_beyond(figure):
            beyond.append(f"{what}: {record.value:g}")
    told = [f"without a value, so not in the tables: {one}" for one in valueless]
    told += [f"an interval that does not hold its value, shown and marked: {one}" for one in outside]
    return told + [f"a score that is no fraction, shown and marked: {one}" for one in beyond]


def interval_is_wrong(figure: Figure) -> bool:
    """Whether both ends are there and the value is outside, by more than rounding."""
    record = figure.record
    if record.value is None or record.low is None or record.high is None:
        return False
    slack = 1e-6 * max(1.0, abs(record.value))
    return not record.low - slack <= record.value <= record.high + slack


def score_is_beyond(figure: Figure) -> bool:
    """Whether a score lies outside [-1, 1]: a percentage, where a fraction was meant."""
    record = figure.record
    scored = record.metric not in WRITTEN and record.suite in SCORED
    return scored and record.value is not None and not -1 <= record.value <= 1


SCORED = frozenset({"encodechka", "russian_superglue", "ner", "retrieval", "mteb", "probing", "own", "agreement"})
"""Suites whose values are fractions, but for times and sizes."""
