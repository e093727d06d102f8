"""Russian SuperGLUE over several systems: answers, records, paired differences with the baselines, tables, submissions.

What is a system here is a function from a part to predictions (`systems`); running task models is handed in by the
caller, reading predictions and fitting baselines is done here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import new_file
from slonik.core.numbers import check_seed
from slonik.core.passport import FILE_NAME as PASSPORT
from slonik.core.paths import data_dir as data_folder
from slonik.core.paths import own_names
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.evaluation.russian_superglue.baselines import BASELINES
from slonik.evaluation.russian_superglue.parts import Part, find_part, parts_table, size_warnings
from slonik.evaluation.russian_superglue.predictions import Prediction, predicted, write_predictions
from slonik.evaluation.russian_superglue.records import (
    Scored,
    difference_records,
    published_records,
    score_record,
    scored,
)
from slonik.evaluation.russian_superglue.submission import check_complete, read_submission, write_submission
from slonik.evaluation.russian_superglue.systems import (
    Answer,
    RunModel,
    System,
    baseline,
    choose_parts,
    find_system,
    official_tests,
)
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, several, task_names, teller
from slonik.reporting.scores import category_tables, difference_tables, rank_tables, score_tables


def russian_superglue(
    models: Any,
    *,
    data_dir: str | Path | None = None,
    tasks: str | Sequence[str] | None = None,
    split: str | None = None,
    baselines: bool = True,
    published: bool = True,
    predictions: str | Path | None = None,
    submission: str | Path | None = None,
    seed: int = 0,
    passport: bool = False,
    run: RunModel | None = None,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Score systems on the tasks whose labelled data is there, with intervals and baselines.

    Args:
        models: one or several: bare names of baselines, folders of task models or of predictions, submission zips, task
            models that are loaded, `System` objects.
        data_dir: the data folder, with russian_superglue/ in it; None = $SLONIK_DATA or the user's cache folder.
        tasks: one id to score, or several; None = all.
        split: "val", "test", "val_crowd" or "train_dev"; None = the first with labels.
        baselines: score the baselines on the same items beside the models.
        published: the leaderboard's rows in the tables, marked as not measured here; they are no records.
        predictions: write each system's answers to a folder in this folder.
        submission: answer the nine test sets and write the leaderboard's zip; without labelled data nothing more is
            done, unless a split is named.
        seed: of the bootstrap and of random baselines.
        passport: add the records to the passport of a model that is a checkpoint.
        run: (folder of a task model, or a loaded one; part) -> predictions: what answers for task models.
        progress: show bars, and systems as they begin, on standard error.
        on_task: called with a system and its tasks instead.

    Raises:
        SlonikError: nothing of that name, no data, or answers to other items.
    """
    check_seed(seed)
    started = time.perf_counter()
    folder, tell = data_folder(data_dir), teller(on_task, progress)
    systems = [_system(model, run, seed) for model in several(models)]
    notes: list[str] = []
    warnings: list[str] = []
    with shown(progress):
        if submission is not None:
            notes.append(_submit(systems, folder, Path(submission)))
            if split is None and not any(find_part(task, folder) is not None for task in TASKS):
                return Evaluation(notes=tuple(notes), seconds=time.perf_counter() - started)
        parts, missing = choose_parts(systems, folder, tasks=task_names(tasks), split=split)
        found = [_scored(system, parts, seed, tell) for system in systems]
        beside = _baselines(found, parts, seed, tell, warnings) if baselines else []
    each_once = [*found, *(scores for scores in beside if scores not in found)]
    records = [record for scores in each_once for record in scores.records]
    compared = differences(found, beside)
    if predictions is not None:
        notes += _write_predictions(Path(predictions), found, parts, seed)
    for system, scores in zip(systems, found, strict=True):
        if passport and system.folder is not None and (system.folder / PASSPORT).is_file():
            warnings += add_to_passport(system.folder, scores.records)
    notes += [
        f"{record.task}, {record.model}, {record.metric}: {record.detail['interval']}"
        for record in records
        if "interval" in record.detail and record.model not in BASELINES
    ]
    if missing:
        names = "; ".join(f"{task} ({files})" for task, files in missing.items())
        notes.append(
            f"not scored, as their labelled files are not there: {names}. There is no nine-task score without."
        )
    rows = [*records, *(published_records() if published else [])]
    return Evaluation(
        records=(*records, *compared),
        tables=(
            parts_table(list(parts.values())),
            *score_tables(rows),
            *difference_tables(compared),
            *category_tables(records),
            *rank_tables(records),
        ),
        warnings=(*size_warnings(list(parts.values())), *warnings),
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


@dataclass
class SystemScores:
    """One model on the tasks that it answered.

    Attributes:
        model: its name.
        tasks: task id -> what was found.
        answers: task id -> its predictions, in the order of the part's items.
        seed: of the bootstrap.
    """

    model: str
    seed: int = 0
    tasks: dict[str, Scored] = field(default_factory=dict)
    answers: dict[str, tuple[Prediction, ...]] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        """One record per task and metric, and the nine-task score where all nine are there."""
        found = [record for task in TASKS if task in self.tasks for record in self.tasks[task].records]
        whole = score_record(self.tasks, self.model, seed=self.seed)
        return [*found, *([whole] if whole else [])]


def answer_and_score(
    model: str, answer: Answer, parts: Mapping[str, Part], *, seed: int = 0, **facts: Any
) -> SystemScores:
    """Answer and score every part; `facts` as in `records.scored`.

    Raises:
        SlonikError: whatever `answer` refuses.
    """
    found = SystemScores(model, seed)
    for task, part in parts.items():
        start = time.perf_counter()
        found.answers[task] = tuple(answer(part))
        seconds = time.perf_counter() - start
        found.tasks[task] = scored(part, found.answers[task], model, seed=seed, seconds=seconds, **facts)
    return found


def differences(models: Sequence[SystemScores], beside: Sequence[SystemScores]) -> list[Record]:
    """Each model minus each baseline, and each later model minus the first, on the tasks that both answered.

    Args:
        models: what was measured; baselines among them are only compared with as such.
        beside: the baselines.
    """
    names = {scores.model for scores in beside}
    models = [scores for scores in models if scores.model not in names]
    pairs = [(scores, other) for scores in models for other in beside]
    pairs += [(scores, models[0]) for scores in models[1:]]
    return [
        record for own, other in pairs for record in difference_records(own.model, own.tasks, other.model, other.tasks)
    ]


def _system(model: Any, run: RunModel | None, seed: int) -> System:
    if isinstance(model, System):
        return model
    answer = run or _no_task_models
    if isinstance(model, str | Path):
        return find_system(str(model), answer, seed=seed)
    return System(str(getattr(model, "name", type(model).__name__)), lambda part: answer(model, part))


def _no_task_models(model: Any, part: Part) -> Sequence[Prediction]:
    raise SlonikError(f"{model} is a task model: say with `run` what answers for it, or give its predictions")


def _scored(system: System, parts: Mapping[str, Part], seed: int, tell: OnTask) -> SystemScores:
    own = {task: part for task, part in parts.items() if system.answers(task)}
    tell(system.name, ", ".join(own))
    return answer_and_score(system.name, system.answer, own, seed=seed, weights=system.weights)


def _baselines(
    found: Sequence[SystemScores], parts: Mapping[str, Part], seed: int, tell: OnTask, warnings: list[str]
) -> list[SystemScores]:
    """Baselines on the items that any system answered; those that are named as models are taken from there."""
    answered = {task: part for task, part in parts.items() if any(task in one.tasks for one in found)}
    named = {one.model: one for one in found}
    beside = []
    for name in BASELINES:
        if name not in named:
            tell(name, ", ".join(answered))
        try:
            beside.append(named.get(name) or answer_and_score(name, baseline(name, seed=seed), answered, seed=seed))
        except MissingExtra as error:
            warnings.append(f"without the baseline {name}: {error}")
    return beside


def _submit(systems: Sequence[System], folder: Path, path: Path) -> str:
    """Write the zip of one system, read it again, and say what is in it."""
    if len(systems) != 1:
        raise SlonikError(f"--submission packs the answers of one model, {len(systems)} are named: name one")
    system, parts = systems[0], official_tests(folder)
    check_complete(parts, "test files")
    check_complete({task: part for task, part in parts.items() if system.answers(task, "test")}, "predictions")
    tests = {task: part.examples for task, part in parts.items()}
    with new_file(path) as unfinished:
        write_submission(unfinished, {task: system.answer(part) for task, part in parts.items()}, tests)
        read_submission(unfinished, tests)
    return f"submission: {path} ({', '.join(f'{part.task.name} {len(part.examples)}' for part in parts.values())})"


def _write_predictions(folder: Path, found: Sequence[SystemScores], parts: Mapping[str, Part], seed: int) -> list[str]:
    names = own_names([scores.model for scores in found])
    for scores, name in zip(found, names, strict=True):
        for task, rows in scores.answers.items():
            part = parts[task]
            whole = predicted(task, part.split, part.examples, rows, model=scores.model, seed=seed)
            write_predictions(folder / name, whole)
    return [f"predictions of {scores.model}: {folder / name}" for scores, name in zip(found, names, strict=True)]
