"""Ensembles of the user's own tasks: saved predictions of several runs on the same rows, put together.

What fine-tuning writes has the right label of every measured row beside the answer, so no data is needed again. One
label per row: every method, measured by a nested split as for official tasks. Several labels and numbers: the mean.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json, write_text
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.records import Record
from slonik.core.run import Result, Run
from slonik.evaluation.statistics import Statistic, interval, paired_difference, replicates, value_of
from slonik.finetuning.ensembles.combine import Combiner
from slonik.finetuning.ensembles.methods import METHODS, Problem, disagreement, equal, fit, out_of_fold
from slonik.finetuning.items import Item
from slonik.finetuning.metrics import SHARES, metrics_of
from slonik.text.answers import answer_line
from slonik.text.lines import json_lines
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig

SUITE = "finetune"
SINGLE = "single"
FOLDS = 5
_MEAN_ONLY = ("single", "mean")


@dataclass(frozen=True)
class OwnRun:
    """Predictions of one model for one task: its name, and its lines by row."""

    name: str
    lines: Mapping[int | str, Mapping[str, Any]]


@dataclass(frozen=True)
class OwnEnsemble:
    """One task put together.

    Attributes:
        members: names of the runs. combiner: the asked-for method, fitted to all rows.
        answers: row -> answer of the asked-for method, each out of its fold.
        disagreement: (R, R) share of rows that two runs answer differently; empty of numbers.
        records: of every run and method.
        config: the task.
    """

    members: list[str]
    combiner: Combiner
    answers: Mapping[int | str, Any]
    disagreement: list[list[float]]
    records: list[Record]
    config: TaskConfig


@dataclass(frozen=True, kw_only=True)
class OwnEnsembled(Result):
    """What was found: "TASK SPLIT" -> how its runs were put together."""

    tasks: dict[str, OwnEnsemble] = field(default_factory=dict)


def own_files(path: Path) -> list[Path]:
    """Predictions of own tasks (TASK.SPLIT.jsonl with the right labels) in a folder, or the file itself."""
    files = [path] if path.is_file() else sorted(path.glob("*.*.jsonl")) if path.is_dir() else []
    return [file for file in files if _is_own(file)]


def _is_own(file: Path) -> bool:
    try:
        with open(file, encoding="utf-8") as stream:
            first = json.loads(stream.readline())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    return isinstance(first, dict) and {"idx", "label", "right"} <= set(first)


def own_places(paths: Sequence[str | Path]) -> list[Path]:
    """Folders (or files) of one run each: those given, or what fine-tuning left in them."""
    found: list[Path] = []
    for path in map(Path, paths):
        inside = path / "predictions" if (path / "predictions").is_dir() else path
        runs = [folder for folder in sorted(inside.iterdir()) if folder.is_dir()] if inside.is_dir() else []
        runs = [folder for folder in runs if own_files(folder)]
        own = [path] if own_files(path) else [folder for folder in runs if folder.name != "mean"] or runs
        found += [place for place in own if place not in found]
    return found


def own_ensemble(
    places: Sequence[Path], out: str | Path | None = None, *, method: str = "best", seed: int = 0
) -> OwnEnsembled:
    """Combine saved predictions of one's own tasks by every method, and write those of the chosen one.

    Raises:
        SlonikError: fewer than two runs of a task, runs that answer other rows, labels that are no probabilities, a
            method that the task cannot have; `out` is there already.
    """
    lookup(method, METHODS, "method")
    started = time.perf_counter()
    runs: dict[tuple[str, str], list[OwnRun]] = {}
    for place in places:
        for file in own_files(place):
            task, split = file.name.removesuffix(".jsonl").rsplit(".", 1)
            lines = {row["idx"]: row for _, row in json_lines(file)}
            runs.setdefault((task, split), []).append(OwnRun(str(place), lines))
    if not any(len(found) > 1 for found in runs.values()):
        raise SlonikError("no task is answered by two of the runs on the same split: give more folders of predictions")

    def combined() -> dict[str, OwnEnsemble]:
        several = {key: found for key, found in runs.items() if len(found) > 1}
        return {
            f"{task} {split}": _combined(task, split, found, method, seed) for (task, split), found in several.items()
        }

    if out is None:
        found = combined()
    else:
        with Run(out, command="ensemble", seed=seed) as run:
            found = combined()
            with run.result() as folder:
                for key, one in found.items():
                    _write(folder, key, one)
    records = tuple(record for one in found.values() for record in one.records)
    made = None if out is None else Path(out)
    return OwnEnsembled(checkpoint=made, records=records, tasks=found, seconds=time.perf_counter() - started)


def _write(folder: Path, key: str, one: OwnEnsemble) -> None:
    task, split = key.rsplit(" ", 1)
    lines = [{"idx": idx, **answer_line(one.config, values)} for idx, values in one.answers.items()]
    write_text(folder / f"{task}.{split}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_json(folder / "ensemble.json", {key: {**one.combiner.as_dict(), "members": one.members}})


def _combined(task: str, split: str, runs: Sequence[OwnRun], method: str, seed: int) -> OwnEnsemble:
    keys = list(runs[0].lines)
    for run in runs[1:]:
        if set(run.lines) != set(keys):
            raise SlonikError(
                f"{run.name} and {runs[0].name} answer different rows of {task} ({split}): they cannot be combined"
            )
        other = next((key for key in keys if run.lines[key]["right"] != runs[0].lines[key]["right"]), None)
        if other is not None:
            raise SlonikError(
                f"{run.name} and {runs[0].name} have other right labels for row {other} of {task}: other data"
            )
    config, items = _task(task, runs[0], keys)
    table = np.stack([[_values(run, key, config) for key in keys] for run in runs])  # (R, N, K)
    if config.target == "single":
        right = np.eye(len(config.labels), dtype=bool)[[int(item.label) for item in items]]
        folds = np.random.default_rng(derive_seed(seed, "own ensemble", task, len(keys))).permutation(len(keys)) % FOLDS
        problem = Problem(
            table, np.ones_like(right), right, folds.astype(np.int64),
            lambda combined, numbers: float(right[numbers, combined.argmax(1)].mean()),
        )  # fmt: skip
        nested = {name: out_of_fold(name, problem) for name in METHODS}
        combiner, apart = fit(method, problem, np.arange(len(keys))), disagreement(table).round(4).tolist()
    else:
        if method not in ("best", "mean"):
            raise SlonikError(f"{task} gives a {config.target}, which is put together by the mean alone: --method mean")
        nested, combiner, apart = {"mean": table.mean(0)}, equal("mean", len(runs)), []
        method = "mean"
    records = _records(task, split, runs, table, nested, items, config, seed)
    answers = dict(zip(keys, nested[method].astype(np.float32), strict=True))
    return OwnEnsemble([run.name for run in runs], combiner, answers, apart, records, config)


def _task(task: str, run: OwnRun, keys: Sequence[int | str]) -> tuple[TaskConfig, list[Item]]:
    """The task as its predictions show it, and its rows as items without texts.

    Raises:
        SlonikError: answers in free words, or without probabilities.
    """
    lines = [run.lines[key] for key in keys]
    chances = lines[0].get("probabilities")
    numbers = all(isinstance(line["right"], int | float) and not isinstance(line["right"], bool) for line in lines)
    if chances is None and not numbers:
        raise SlonikError(f"the answers to {task} have no probabilities (free words, spans): they cannot be combined")
    labels = tuple(chances or ())
    target: Any = "number" if chances is None else "multi" if isinstance(lines[0]["right"], list) else "single"
    config = TaskConfig(kind="sequence", task=task, target=target, labels=labels)
    items = []
    for key, line in zip(keys, lines, strict=True):
        wanted = line["right"]
        label: Any = float(wanted) if target == "number" else None
        if target == "multi":
            label = [float(name in wanted) for name in labels]
        if target == "single":
            label = labels.index(str(wanted))
        items.append(Item(key, TaskInput((("",),)), label, str(key)))
    return config, items


def _values(run: OwnRun, key: int | str, config: TaskConfig) -> list[float]:
    line = run.lines[key]
    if config.target == "number":
        return [float(line["label"])]
    chances = line.get("probabilities") or {}
    if set(chances) != set(config.labels):
        raise SlonikError(f"{run.name} knows other labels of {config.task} than the first run: they cannot be combined")
    return [float(chances[name]) for name in config.labels]


def _records(
    task: str, split: str, runs: Sequence[OwnRun], table: Any, nested: Mapping[str, Any], items: Sequence[Item],
    config: TaskConfig, seed: int,
) -> list[Record]:  # fmt: skip
    """Metrics of every run and method, and each method minus the single run that other folds chose (or the first)."""
    rights = sha256_json([[str(item.key), item.label] for item in items])
    common: dict[str, Any] = {"suite": SUITE, "task": task, "variant": split, "hashes": {"data": rights}, "seed": seed}
    found: dict[str, dict[str, Statistic]] = {
        run.name: metrics_of(items, list(values), config) for run, values in zip(runs, table, strict=True)
    }
    found |= {_title(name): metrics_of(items, list(values), config) for name, values in nested.items()}
    against = _title(SINGLE) if SINGLE in nested else runs[0].name
    records = []
    for name, metrics in found.items():
        for metric, statistic in metrics.items():
            value, drawn = value_of(statistic), replicates(statistic, seed=seed, sample=task)
            if not np.isfinite(value):
                continue
            bounds = interval(value, drawn, n=statistic.n if metric in SHARES else None)
            records.append(
                Record(**common, model=name, metric=metric, n=statistic.n, detail=bounds.told, **bounds.fields)
            )
            base = found[against][metric]
            if name.startswith("ensemble") and np.isfinite(value_of(base)):
                change = paired_difference(value_of(base), replicates(base, seed=seed, sample=task), value, drawn)
                records.append(
                    change.record(name, against, metric, metric=f"{metric}_difference", n=statistic.n, **common)
                )
    return records


def _title(name: str) -> str:
    return "best single run (chosen on other folds)" if name == SINGLE else f"ensemble: {name}"
