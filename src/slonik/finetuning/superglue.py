"""Fine-tuning on Russian SuperGLUE: items from the data that is there, predictions and records from the answers.

What is measured is chosen as `evaluate russian-superglue` does (official development set, human-labelled test items,
a fifth of the training data), so that models stand beside baselines on the same items. Test sets without labels are
answered for a submission. Nothing is chosen on what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.data.fetch import fetch_command
from slonik.evaluation.russian_superglue.baselines import BASELINES, fit
from slonik.evaluation.russian_superglue.metrics import score, task_value
from slonik.evaluation.russian_superglue.parts import Part, find_part, fold_numbers, missing_files
from slonik.evaluation.russian_superglue.predictions import Prediction, predicted, write_predictions
from slonik.evaluation.russian_superglue.records import LEAST, Scored, difference_records, scored
from slonik.evaluation.russian_superglue.tasks import TASKS, Example, items_hash
from slonik.evaluation.statistics import paired_difference
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.data_check import text_key
from slonik.finetuning.items import Floats, Item
from slonik.finetuning.metrics import over_seeds
from slonik.finetuning.tasks import LEARNED_FROM, SHAPES, answers_of, items_of, task_config
from slonik.finetuning.training import Answers, Fold, TaskData, TrainingResult

ALL_TASKS = ("terra", "lidirus", "rcb", "parus", "muserc", "russe", "rwsd", "danetqa", "rucos")
"""Quick ones first."""
TEST = "test"
DIAGNOSTIC = "lidirus"
DIAGNOSED_BY = "terra"


@dataclass(frozen=True)
class Measured:
    """What the models of one task answer: task id -> its part, and its test examples where there are any."""

    parts: Mapping[str, Part]
    tests: Mapping[str, Sequence[Example]]


def task_data(
    task_id: str, recipe: FinetuneRecipe, *, in_words: bool, with_diagnostic: bool = False
) -> tuple[TaskData, Measured]:
    """A task as training sees it, and what its models answer; TERRa's models answer LiDiRus too.

    Args:
        in_words: the learner reads prompts.

    Raises:
        SlonikError: no data for this task.
    """
    measured = _measured(task_id, recipe, with_diagnostic=with_diagnostic)
    parts, tests, part = measured.parts, measured.tests, measured.parts[task_id]
    pairs = _first(recipe.per_task.get(task_id, {}).get("pairs"), recipe.tuning.pairs, SHAPES[task_id].pairs)
    # a model of one fold has learned from the other folds' items: whoever scores it must be able to know
    seen = {LEARNED_FROM: items_hash(part.examples)} if part.train is None and recipe.train else {}
    config = task_config(task_id, pairs=pairs, details=seen)

    def items(name: str, examples: Sequence[Example]) -> list[Item]:
        return items_of(name, examples, pairs, prompts=recipe.prompts if in_words else None)

    given = {f"{name} {found.split}": items(name, found.examples) for name, found in parts.items()}
    given |= {f"{name} {TEST}": items(name, found) for name, found in tests.items()}
    train = None if part.train is None else items(task_id, part.train)
    folds = _folds(part, given, train, recipe)
    return TaskData(task_id, config, folds, _score(part), SHAPES[task_id].tuning, TASKS[task_id].metrics), measured


def _measured(task_id: str, recipe: FinetuneRecipe, *, with_diagnostic: bool = False) -> Measured:
    """What the models of a task answer: its own part, LiDiRus beside it if asked for, and unlabelled test sets.

    Raises:
        SlonikError: no data for this task.
    """
    data = Path(str(recipe.data_dir))
    parts = {name: _part(name, data, recipe) for name in (task_id, *([DIAGNOSTIC] if with_diagnostic else []))}
    tests = {}
    for name, part in parts.items():
        # labels of a test set, where there are some (LiDiRus), are no reason to answer it twice
        done = part.split == TEST or not recipe.answer_test
        test = None if done else find_part(name, data, split=TEST, labelled=False)
        if test is not None:
            tests[name] = test.examples
    return Measured(parts, tests)


def shared_texts(part: Part) -> str:
    """What measured items share with training ones, for people; "" where they share nothing, or nothing is learned."""
    field = SHAPES[part.task.id].group
    known = {text_key((str(example.fields[field]),)) for example in part.train or ()}
    places = [place for place, one in enumerate(part.examples) if text_key((str(one.fields[field]),)) in known]
    if not places:
        return ""
    shown = str(part.examples[places[0]].fields[field])[:60]
    return (
        f"{part.task.id}: {len(places):,} of {len(part.examples):,} items of {part.split} share their {field} with the "
        f"training data ({shown!r}): kept, as the benchmark has them"
    )


def chosen_tasks(recipe: FinetuneRecipe, announce: Callable[[str], None]) -> list[str]:
    """The tasks of a recipe, once each; those without data are left out, saying so, where the recipe allows it.

    Raises:
        SlonikError: none has data.
    """
    tasks = list(dict.fromkeys(recipe.tasks))
    data = Path(str(recipe.data_dir))
    missing = [task for task in tasks if find_part(task, data) is None] if recipe.skip_missing else []
    if missing:
        announce(f"left out, for there is no data: {', '.join(missing)}")
    if len(missing) == len(tasks):
        raise SlonikError(f"{recipe.data_dir} has no data of any task: `{fetch_command('russian-superglue', data)}`")
    return [task for task in tasks if task not in missing]


def trained_tasks(tasks: Sequence[str], *, train: bool = True) -> dict[str, bool]:
    """Task to train -> whether its models answer LiDiRus too, which has no training data: those of TERRa do.

    Args:
        train: a model that is asked as it is owes nothing to TERRa: LiDiRus is a task as any other then.
    """
    if not train:
        return dict.fromkeys(tasks, False)
    trained = [task for task in tasks if task != DIAGNOSTIC]
    diagnosed = DIAGNOSTIC in tasks
    if diagnosed and DIAGNOSED_BY not in trained:
        trained.insert(0, DIAGNOSED_BY)
    return {task: diagnosed and task == DIAGNOSED_BY for task in trained}


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _part(task_id: str, data: Path, recipe: FinetuneRecipe) -> Part:
    wants_crowd = recipe.crossfit == "always" and task_id != DIAGNOSTIC
    part = find_part(task_id, data, split="val_crowd" if wants_crowd else None)
    if part is None:
        raise SlonikError(
            f"there is no data for {task_id} in {data} ({missing_files(task_id)}): "
            f"`{fetch_command('russian-superglue', data)}` gets it"
        )
    if wants_crowd:
        return replace(part, train=None)
    if part.train is None and recipe.crossfit == "never":
        raise SlonikError(f"{task_id} has no training file in {data}, and crossfit is 'never'")
    return part


def _folds(part: Part, given: Mapping[str, list[Item]], train: list[Item] | None, recipe: FinetuneRecipe) -> list[Fold]:
    """One fold where there is something to train on, or nothing to be learned; else folds for cross-fitting."""
    if train is not None:
        return [Fold(train, given)]
    if not recipe.train and not recipe.shots:
        return [Fold([], given)]
    own = f"{part.task.id} {part.split}"
    numbers = fold_numbers(part.task.id, part.examples, folds=recipe.folds)
    others = {split: items for split, items in given.items() if split != own}
    folds = []
    for fold in range(recipe.folds):
        inside = [item for item, number in zip(given[own], numbers, strict=True) if number == fold]
        outside = [item for item, number in zip(given[own], numbers, strict=True) if number != fold]
        folds.append(Fold(outside, {own: inside, **others}))
    return folds


def _score(part: Part) -> Any:
    known = {example.idx: example for example in (*(part.train or ()), *(part.examples if part.train is None else ()))}

    def metric(items: Sequence[Item], found: Sequence[Floats], name: str | None = None) -> float:
        examples = [known[item.key] for item in items]
        values = score(part.task.id, examples, answers_of(part.task.id, examples, found))
        return task_value(list(values.values())) if name is None else values[name]

    return metric


def predictions_of(task_id: str, examples: Sequence[Example], answers: Answers) -> list[Prediction]:
    """Predictions for examples from answers by their number."""
    return answers_of(task_id, examples, [answers[example.idx] for example in examples])


def write_all(folder: Path, measured: Measured, result: TrainingResult, model: str, inputs: Mapping[str, str]) -> None:
    """Predictions of every run and split: `folder/RUN/TASK.SPLIT.jsonl` with headers.

    Args:
        inputs: hashes of what the models started from.
    """
    for run, found in result.by_run().items():
        seed = None if run == "mean" else int(run.removeprefix(result.unit))
        weights = sha256_json([dict(inputs), [one.step.summary for one in result.runs if one.seed == seed]])
        for task_id, part in measured.parts.items():
            wanted: list[tuple[str, Sequence[Example]]] = [(part.split, part.examples)]
            wanted += [(TEST, measured.tests[task_id])] if task_id in measured.tests else []
            for split, examples in wanted:
                rows = predictions_of(task_id, examples, found[f"{task_id} {split}"])
                made = predicted(task_id, split, examples, rows, model=model, seed=seed, weights=weights)
                write_predictions(folder / run, made)


def superglue_records(result: TrainingResult, measured: Measured, model: str) -> list[Record]:
    """Records of every part that the models of a task answered."""
    found: list[Record] = []
    for task, part in measured.parts.items():
        split = f"{task} {part.split}"
        by_seed = {
            seed: predictions_of(task, part.examples, answers[split]) for seed, answers in result.answers.items()
        }
        mean = predictions_of(task, part.examples, result.mean_answers(split))
        found += task_records(part, by_seed, mean, model, result.seconds, unit=result.unit)
    return found


def task_records(
    part: Part,
    by_seed: Mapping[int, Sequence[Prediction]],
    mean: Sequence[Prediction],
    model: str,
    seconds: float,
    *,
    unit: str = "seed",
) -> list[Record]:
    """Records of one task: the mean over seeds, the mean of the seeds' probabilities, baselines, differences.

    The model's own record is the mean of the seeds' metrics; its interval draws items and seeds together. Never the
    best seed.
    """
    single = {seed: scored(part, rows, f"{model} {unit} {seed}") for seed, rows in by_seed.items()}
    own = _over_seeds(part, single, model, seconds, unit)
    ensemble = scored(part, mean, f"{model} mean of {len(single)} {unit}s", seconds=seconds)
    records = [*own.records, *(ensemble.records if len(single) > 1 else ())]
    for name in BASELINES:
        other = _baseline(part, name)
        if other is None:
            continue
        records += [
            record.model_copy(update={"detail": {**record.detail, "baseline": True}}) for record in other.records
        ]
        records += _differences(own, other, model, name)
        if len(single) > 1:
            records += difference_records(ensemble.main.model, {part.task.id: ensemble}, name, {part.task.id: other})
    return records


def _over_seeds(part: Part, single: Mapping[int, Scored], model: str, seconds: float, unit: str) -> Scored:
    first = next(iter(single.values()))
    rng = np.random.default_rng(0)
    values, records = {}, []
    for record in first.records:
        singles = {seed: _value(found, record.metric) for seed, found in single.items()}
        drawn = [found.values[record.metric] for found in single.values()]
        least = LEAST.get(record.metric, 0.0)
        n = int(record.detail.get("drawn", record.n or 0))
        bounds, values[record.metric], seeds = over_seeds(singles, drawn, rng, n=n, least=least, unit=unit)
        detail = {name: value for name, value in record.detail.items() if name != "interval"}  # that of one seed
        of = {"categories_of": f"{unit} {next(iter(single))}"} if "categories" in record.detail else {}
        changes = {**bounds.fields, "model": model, "seed": None, "seconds": seconds}
        records.append(record.model_copy(update={**changes, "detail": {**detail, **seeds, **of, **bounds.told}}))
    return Scored(tuple(records), values, first.hits, part)


def _value(found: Scored, metric: str) -> float:
    return float(next(record.value or 0.0 for record in found.records if record.metric == metric))


def _baseline(part: Part, name: str) -> Scored | None:
    """A baseline on the same items; None where its library is missing or it has nothing to learn from."""
    try:
        rows = part.answered(lambda train: fit(name, part.task.id, train))
        return scored(part, rows, name)
    except MissingExtra:
        return None
    except SlonikError:
        if part.task.id == DIAGNOSTIC and part.train is None:
            return None
        raise


def _differences(own: Scored, other: Scored, model: str, baseline: str) -> list[Record]:
    """The mean over seeds minus a baseline, paired over items."""
    records = []
    for record in own.records:
        base = next(found for found in other.records if found.metric == record.metric)
        change = paired_difference(
            float(base.value or 0), other.values[record.metric], float(record.value or 0), own.values[record.metric]
        )
        main = record.metric == own.main.metric
        records.append(
            change.record(
                model, baseline, record.metric, metric="difference" if main else f"{record.metric}_difference",
                suite=record.suite, task=record.task, n=record.n, hashes={"data": record.hashes["data"]},
                detail={"significant": bool(change.interval.low > 0)},
            )
        )  # fmt: skip
    return records
