"""`slonik ensemble`: saved predictions of several runs, put together task by task, and what that gains.

Every method is measured by a nested split of the labelled items (what is answered had no say in weights or choice);
what goes out is the asked-for method: on the labelled split its out-of-fold answers, on every other split those of a
combination fitted to all labelled items. No model is run here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.numbers import check_seed
from slonik.core.paths import data_dir as data_folder
from slonik.core.records import Record
from slonik.core.run import Result, Run
from slonik.evaluation.russian_superglue.ballots import Ballots, Scorer
from slonik.evaluation.russian_superglue.parts import FOLDS, SPLITS, Part, find_part, fold_numbers, part_of
from slonik.evaluation.russian_superglue.predictions import (
    Prediction,
    Predictions,
    check_items,
    find_predictions,
    has_header,
    predicted,
    read_predictions,
    write_predictions,
)
from slonik.evaluation.russian_superglue.records import Scored, difference_records, score_record, scored
from slonik.evaluation.russian_superglue.submission import official_files, read_official_file
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.finetuning.ensembles.combine import Combiner
from slonik.finetuning.ensembles.methods import METHODS, Problem, disagreement, equal, fit, out_of_fold
from slonik.finetuning.ensembles.own import OwnEnsembled, own_ensemble, own_places

COMBINATIONS = "ensemble.json"
SINGLE = "single"
TEST = "test"


@dataclass(frozen=True)
class SavedRun:
    """Saved predictions of one model: (task, split) -> predictions."""

    name: str
    files: Mapping[tuple[str, str], Predictions]


@dataclass
class TaskEnsemble:
    """One task put together.

    Attributes:
        members: names of the runs.
        combiner: the asked-for method, fitted to all labelled items.
        scored: method or run -> its metrics by the nested split; empty without labels.
        answers: split -> (items, predictions).
        disagreement: (R, R) share of items that two runs answer differently.
        fitted: method -> its combination of all labelled items.
    """

    members: list[str]
    combiner: Combiner
    scored: dict[str, Scored]
    answers: dict[str, tuple[Part, list[Prediction]]]
    disagreement: list[list[float]]
    fitted: dict[str, Combiner]


@dataclass(frozen=True, kw_only=True)
class Ensembled(Result):
    """What `ensemble` found.

    Attributes:
        tasks: task id -> how its runs were put together.
    """

    tasks: dict[str, TaskEnsemble]


def ensemble(
    results: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    method: str = "best",
    tasks: Sequence[str] | None = None,
    seed: int = 0,
) -> Ensembled | OwnEnsembled:
    """Combine saved predictions of several runs by every method, measured by a nested split, and write the chosen one.

    Args:
        results: folders of predictions, folders of such folders, what `finetune` left, or files of `slonik predict`.
        out: new folder for the predictions of the ensemble; None writes nothing.
        data_dir: the data folder; None = $SLONIK_DATA, or the user's cache folder.
        method: one of `METHODS`.
        tasks: task ids; None = all that two runs answer.
        seed: of the nested split and of the bootstrap.

    Raises:
        SlonikError: as `read_runs` and `combine_runs`; `out` is there already.
    """
    check_seed(seed)
    data = data_folder(Path(data_dir) if data_dir else None)
    started = time.perf_counter()
    own = own_places(results)
    if own:
        if len(own) < len(results) or tasks:
            raise SlonikError("some of these are predictions of your own task: leave out --tasks, and official tasks")
        return own_ensemble(own, out, method=method, seed=seed)
    if out is None:
        found = combine_runs(read_runs(results, data), data, method=method, tasks=tasks, seed=seed)
    else:
        with Run(out, command="ensemble", seed=seed) as run:
            found = combine_runs(read_runs(results, data), data, method=method, tasks=tasks, seed=seed)
            with run.result() as folder:
                write_ensemble(folder, found, f"ensemble: {method}")
    records = tuple(ensemble_records(found, seed=seed))
    place = None if out is None else Path(out)
    return Ensembled(checkpoint=place, records=records, tasks=found, seconds=time.perf_counter() - started)


def read_runs(paths: Sequence[str | Path], data: Path) -> list[SavedRun]:
    """Runs in folders (or single files) of predictions; a folder of such folders is opened.

    Files without a header, as `slonik predict` writes them, are taken when they are called after their task
    (`TERRa.jsonl`, `terra.a.jsonl`); which split they answer is told by their numbers.

    Args:
        data: the data folder, for files without a header.

    Raises:
        SlonikError: a place without predictions, a damaged file, another protocol version, fewer than two runs.
    """
    places: list[Path] = []
    for path in map(Path, paths):
        found = _run_places(path)
        if not found:
            raise SlonikError(f"{path} holds no predictions: give folders with TASK.SPLIT.jsonl and their headers")
        places += [place for place in found if place not in places]
    if len(places) < 2:
        raise SlonikError(f"an ensemble needs two runs, there is {len(places)}: give more folders of predictions")
    return [_read_run(place, data) for place in places]


def combine_runs(
    runs: Sequence[SavedRun], data: Path, *, method: str = "best", tasks: Sequence[str] | None = None, seed: int = 0
) -> dict[str, TaskEnsemble]:
    """Put every task together that at least two runs answer.

    Args:
        data: the data folder.
        method: one of `METHODS`.
        tasks: task ids; None = all.
        seed: of folds and bootstrap.

    Raises:
        SlonikError: unknown task or method; runs that answer other items; nothing to put together; a method that
            learns, without labelled items.
    """
    lookup(method, METHODS, "method")
    chosen = [lookup(name, TASKS, "task").id for name in tasks or TASKS]
    found: dict[str, TaskEnsemble] = {}
    for task in sorted(chosen, key=lambda name: TASKS[name].train_on is not None):
        own = [run for run in runs if any(known == task for known, _ in run.files)]
        if len(own) > 1:
            teacher = found.get(TASKS[task].train_on or "")
            # weights are of these very runs: with others beside, what was fitted to them is not to be had
            same = teacher is not None and teacher.members == [run.name for run in own]
            found[task] = _combine_task(task, own, data, method, seed, teacher.fitted if teacher and same else {})
    if not found:
        raise SlonikError("no task is answered by two of the runs: give predictions of the same tasks and splits")
    return found


def write_ensemble(folder: Path, ensembles: Mapping[str, TaskEnsemble], name: str) -> None:
    """Predictions of every task and split, and the combinations, into a folder."""
    for task, one in ensembles.items():
        detail = {"members": one.members, "combination": one.combiner.as_dict()}
        for split, (part, rows) in one.answers.items():
            weights = sha256_json(detail)
            made = predicted(task, split, part.examples, rows, model=name, weights=weights, detail=detail)
            write_predictions(folder, made)
    content = {
        task: {**one.combiner.as_dict(), "members": one.members, "disagreement": one.disagreement}
        for task, one in ensembles.items()
    }
    write_json(folder / COMBINATIONS, content)


def ensemble_records(ensembles: Mapping[str, TaskEnsemble], *, seed: int = 0) -> list[Record]:
    """Metrics of every run and method, the nine-task score where there is one, and each method minus the best run."""
    names = list(dict.fromkeys(name for one in ensembles.values() for name in one.scored))
    records = []
    for name in names:
        found = {task: one.scored[name] for task, one in ensembles.items() if name in one.scored}
        records += [record for scored_task in found.values() for record in scored_task.records]
        whole = score_record(found, _title(name), seed=seed)
        records += [whole] if whole else []
    for name in (name for name in names if name in METHODS and name != SINGLE):
        for task, one in ensembles.items():
            if {name, SINGLE} <= set(one.scored):
                pair = ({task: one.scored[name]}, {task: one.scored[SINGLE]})
                records += difference_records(_title(name), pair[0], _title(SINGLE), pair[1])
    return records


def _combine_task(
    task: str, runs: Sequence[SavedRun], data: Path, method: str, seed: int, known: Mapping[str, Combiner]
) -> TaskEnsemble:
    splits = [split for split in _ordered(runs[0], task) if all((task, split) in run.files for run in runs)]
    if not splits:
        raise SlonikError(f"the runs answer no common split of {task}: {_splits_of(task, runs)}")
    parts = {split: _common_part(task, split, runs, data) for split in splits}
    ballots = {split: _ballots(part, split, runs) for split, part in parts.items()}
    labelled = next((split for split in splits if parts[split].is_labelled), None)

    def answered(combiner: Combiner, split: str) -> list[Prediction]:
        given = ballots[split]
        return given.picked(combiner.combine(given.probabilities, given.known))

    members = [run.name for run in runs]
    if labelled is None or labelled == TEST or TASKS[task].train_on:
        # nothing is fitted to a test set: a diagnostic takes what the task of its training data has fitted
        fitted = dict(known) or {"mean": equal("mean", len(runs)), "vote": equal("vote", len(runs))}
        nested = {name: answered(found, labelled) for name, found in fitted.items() if labelled}
    else:
        problem = _problem(task, ballots[labelled], seed)
        everything = np.arange(len(parts[labelled].examples))
        fitted = {name: fit(name, problem, everything) for name in METHODS}
        nested = {name: ballots[labelled].picked(out_of_fold(name, problem)) for name in METHODS}
    if method not in fitted:
        source = TASKS[task].train_on
        wanted = f"{TASKS[source].name} by the same runs" if source else "a development set"
        raise SlonikError(
            f"the method {method!r} learns from labelled items, and {TASKS[task].name} has none: take one "
            f"of {', '.join(fitted)}, or give predictions of {wanted} too"
        )
    answers = {split: (parts[split], answered(fitted[method], split)) for split in splits if split != labelled}
    nested_scores: dict[str, Scored] = {}
    if labelled is not None:
        answers[labelled] = parts[labelled], nested[method]
        nested_scores = _scored(parts[labelled], labelled, runs, nested, seed)
    apart = disagreement(ballots[labelled or splits[0]].probabilities)
    diversity = [[round(float(value), 4) for value in row] for row in apart]
    return TaskEnsemble(members, fitted[method], nested_scores, answers, diversity, fitted)


def _scored(
    part: Part, split: str, runs: Sequence[SavedRun], nested: Mapping[str, list[Prediction]], seed: int
) -> dict[str, Scored]:
    """Members as they are, methods by their nested answers."""
    found: dict[str, Scored] = {}
    for run in runs:
        predictions = run.files[part.task.id, split]
        rows = check_items(predictions, part.examples, run.name)
        found[run.name] = scored(part, rows, run.name, seed=seed, weights=predictions.header.weights)
    facts: dict[str, Any] = {"nested_folds": FOLDS, "members": [run.name for run in runs]}
    for name, answers in nested.items():
        found[name] = scored(part, answers, _title(name), seed=seed, detail=facts)
    return found


def _problem(task: str, ballots: Ballots, seed: int) -> Problem:
    # other folds than those of cross-fitting: where one model answered all of a fold, what was fitted elsewhere (of its
    # calibration above all) would not carry over to it
    own = derive_seed(seed, "ensemble", task)
    folds = np.asarray(fold_numbers(task, ballots.examples, seed=own), dtype=np.int64)
    return Problem(ballots.probabilities, ballots.known, ballots.right, folds, Scorer(ballots).value)


def _ballots(part: Part, split: str, runs: Sequence[SavedRun]) -> Ballots:
    rows = [
        check_items(run.files[part.task.id, split], part.examples, f"{run.name} ({part.task.id}, {split})")
        for run in runs
    ]
    return Ballots.of(part.task, part.examples, rows)


def _common_part(task: str, split: str, runs: Sequence[SavedRun], data: Path) -> Part:
    first = runs[0].files[task, split]
    for run in runs[1:]:
        if run.files[task, split].header.items != first.header.items:
            raise SlonikError(
                f"{run.name} and {runs[0].name} answer different items of {task} ({split}): put together predictions "
                "of the same file only"
            )
    return part_of(first, data, f"{runs[0].name} ({task}, {split})")


def _ordered(run: SavedRun, task: str) -> list[str]:
    found = [split for known, split in run.files if known == task]
    return sorted(found, key=lambda split: SPLITS.index(split) if split in SPLITS else len(SPLITS))


def _splits_of(task: str, runs: Sequence[SavedRun]) -> str:
    return "; ".join(f"{run.name} has {', '.join(_ordered(run, task))}" for run in runs)


def _title(name: str) -> str:
    if name == SINGLE:
        return "best single run (chosen on other folds)"
    return f"ensemble: {name}" if name in METHODS else name


def _run_places(path: Path) -> list[Path]:
    """Files or folders, each of one run."""
    if path.is_file() or find_predictions(path) or (path.is_dir() and official_files(path)):
        return [path]
    inside = path / "predictions" if (path / "predictions").is_dir() else path
    if not inside.is_dir():
        return []
    found = [folder for folder in sorted(inside.iterdir()) if folder.is_dir() and find_predictions(folder)]
    # the mean of the seeds beside them is an ensemble of the same runs
    return [folder for folder in found if folder.name != "mean"] or found


def _read_run(place: Path, data: Path) -> SavedRun:
    if place.is_file() and not has_header(place):
        name = place.name.split(".")[0].lower()
        if name not in TASKS:
            raise SlonikError(
                f"{place} has no header and is not called after a task: call it TASK.jsonl, for example "
                f"{TASKS['terra'].name}.jsonl"
            )
        return SavedRun(str(place), dict([_matched(name, place, data)]))
    found = [place] if place.is_file() else find_predictions(place)
    if not found:
        return SavedRun(str(place), dict(_matched(task, path, data) for task, path in official_files(place).items()))
    files = {}
    for path in found:
        predictions = read_predictions(path)
        files[predictions.header.task, predictions.header.split] = predictions
    return SavedRun(str(place), files)


def _matched(task: str, path: Path, data: Path) -> tuple[tuple[str, str], Predictions]:
    """Answers without a header, as predictions of the first split whose numbers they have."""
    refused: SlonikError | None = None
    for split in SPLITS:
        part = find_part(task, data, split=split, labelled=False)
        if part is None:
            continue
        try:
            rows = read_official_file(task, path, part.examples)
        except SlonikError as error:
            refused = refused or error
        else:
            return (task, split), predicted(task, split, part.examples, rows, model=str(path))
    raise refused or SlonikError(f"{path} answers {TASKS[task].name}, of which there is no data in {data}")
