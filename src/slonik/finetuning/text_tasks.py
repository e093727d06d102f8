"""Which data a model that answers in words is given: tasks of Russian SuperGLUE, or the user's own; and its records."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.records import Record
from slonik.core.steps import Steps
from slonik.data.labelled import read_rows
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.metrics import normalise_answer, token_f1
from slonik.evaluation.russian_superglue.splits import fold_numbers
from slonik.evaluation.statistics import Mean, interval, replicates, value_of
from slonik.finetuning.config import FinetuneRecipe, OwnData
from slonik.finetuning.course import Answers, merged
from slonik.finetuning.items import Item, divide
from slonik.finetuning.prompts import Asked, ask, with_shots
from slonik.finetuning.superglue import TEST, Measured, predictions_of, task_records, write_all
from slonik.finetuning.tasks import SHAPES
from slonik.finetuning.text import TextCourse, TextFold, TextResult, run_text_course, text_config
from slonik.models.text_pairs import TaskInput

Rows: TypeAlias = list[tuple[int | str, Asked]]


def superglue_text(
    task: str, measured: Measured, recipe: FinetuneRecipe, steps: Steps, target: Path
) -> tuple[Path | None, list[Record]]:
    """One task of Russian SuperGLUE: train (unless as it is), answer, score, save.

    Args:
        measured: what the task's models answer.
        target: folder for the model.

    Returns:
        The folder (None where nothing was trained), and the records.
    """
    course = TextCourse(task, text_config(recipe, task), text_folds(task, measured, recipe))
    result = run_text_course(course, recipe, steps)
    answers: dict[str, Any] = {f"seed{seed}": found for seed, found in result.answers.items()}
    seeds: dict[str, int | None] = {f"seed{seed}": seed for seed in result.answers}
    mean = {split: merged([found[split] for found in answers.values()]) for split in next(iter(answers.values()))}
    records = []
    for name, part in measured.parts.items():
        split = f"{name} {part.split}"
        by_seed = {seed: predictions_of(name, part.examples, found[split]) for seed, found in result.answers.items()}
        whole = predictions_of(name, part.examples, mean[split])
        records += task_records(part, by_seed, whole, recipe.model, result.seconds)
    if result.best is not None:
        shutil.copytree(result.best, target, dirs_exist_ok=True)
    if len(answers) > 1:
        answers, seeds = answers | {"mean": mean}, seeds | {"mean": None}
    write_all(Path(recipe.out) / "predictions", measured, answers, recipe.model, seeds, dict.fromkeys(answers))
    return (target if result.best is not None else None), records


def text_folds(task: str, measured: Measured, recipe: FinetuneRecipe) -> list[TextFold]:
    """The folds of a task in words; a model that is asked as it is needs one fold only."""
    plain, part = recipe.prompts == "plain", measured.parts[task]
    split = f"{task} {part.split}"

    def pairs(examples: Sequence[Example]) -> list[tuple[Item, Asked]]:
        return [(item_of(task, one), ask(task, one, plain=plain)) for one in examples]

    def given(name: str, examples: Sequence[Example], shown: Sequence[tuple[Item, Asked]]) -> Rows:
        asked = [ask(name, one, plain=plain) for one in examples]
        asked = with_shots(asked, [one for _, one in shown], recipe.shots, recipe.seed)
        return list(zip([one.idx for one in examples], asked, strict=True))

    def fold(fit: list[tuple[Item, Asked]], own: Sequence[Example]) -> TextFold:
        others: dict[str, tuple[str, Sequence[Example]]] = {}
        others |= {f"{name} {found.split}": (name, found.examples) for name, found in measured.parts.items()}
        others |= {f"{name} {TEST}": (name, found) for name, found in measured.tests.items()}
        others[split] = task, own
        return TextFold(fit, {key: given(name, examples, fit) for key, (name, examples) in others.items()})

    if part.train is not None:
        return [fold(pairs(part.train), part.examples)]
    if not recipe.train and not recipe.shots:
        return [fold([], part.examples)]
    numbers = fold_numbers(task, part.examples, folds=recipe.folds)
    folds = []
    for number in range(recipe.folds):
        inside = [one for one, place in zip(part.examples, numbers, strict=True) if place == number]
        outside = [one for one, place in zip(part.examples, numbers, strict=True) if place != number]
        folds.append(fold(pairs(outside), inside))
    return folds


def item_of(task: str, example: Example) -> Item:
    """An example for dividing: its group and its label; no texts."""
    label = str(example.label) if example.label is not None else None
    names: Any = None if label is None else abs(hash_of(label))
    return Item(example.idx, TaskInput(((),)), names, str(example.fields[SHAPES[task].group]))


def hash_of(text: str) -> int:
    """A number for a label, equal in every process."""
    return int.from_bytes(text.encode("utf-8")[:7].ljust(7, b"\0"), "little")


def own_text(recipe: FinetuneRecipe, steps: Steps, out: Path) -> tuple[Path, list[Record]]:
    """The user's own data in words: free answers (text2text), or labels as the allowed answers.

    Raises:
        SlonikError: files or columns that are not there, a kind that these models do not take here.
    """
    own = recipe.own
    assert own is not None
    if own.kind not in ("text2text", "classification", "pair"):
        raise SlonikError(f"models that answer in words take text2text, classification or pair, not {own.kind}")
    columns = (*own.text_columns, own.label_column)
    rows = read_rows(own.train, columns)
    labels = tuple(sorted({str(row[own.label_column]) for row in rows})) if own.kind != "text2text" else ()
    examples = [_own_example(row, n, own, labels) for n, row in enumerate(rows)]
    if own.valid:
        valid = [_own_example(row, n, own, labels) for n, row in enumerate(read_rows(own.valid, columns))]
        fit, split = examples, "valid"
    else:
        held, kept = divide([item for item, _ in examples], [recipe.held_out, 1 - recipe.held_out], recipe.seed)
        valid, fit, split = [examples[n] for n in held], [examples[n] for n in kept], "held_out"
    config = text_config(recipe, own.name)
    details = {**config.details, "answers": list(labels)}
    config = config.model_copy(update={"details": details, "columns": {"text": list(own.text_columns)}})
    measured = {split: [(item.key, asked) for item, asked in valid]}
    course = TextCourse(own.name, config, [TextFold(fit, measured)])
    result = run_text_course(course, recipe, steps)
    if result.best is not None:
        shutil.copytree(result.best, out, dirs_exist_ok=True)
    return out, _own_records(recipe, own, fit, valid, result, split)


def _own_example(row: Mapping[str, Any], number: int, own: OwnData, labels: tuple[str, ...]) -> tuple[Item, Asked]:
    prompt = "\n".join(str(row[name]) for name in own.text_columns)
    answer = str(row[own.label_column])
    if labels and answer not in labels:
        raise SlonikError(f"row {number + 1}: the label {answer!r} is not in the training file ({', '.join(labels)})")
    asked = Asked(prompt, labels or (answer,), labels.index(answer) if labels else 0)
    return Item(number, TaskInput(((),)), asked.right, prompt), asked


def _own_records(
    recipe: FinetuneRecipe,
    own: OwnData,
    fit: Sequence[tuple[Item, Asked]],
    valid: Sequence[tuple[Item, Asked]],
    result: TextResult,
    split: str,
) -> list[Record]:
    common = {"suite": "finetune", "task": own.name, "variant": split}
    hashes = {"data": sha256_file(Path(own.valid or own.train))}
    by_metric: dict[str, list[list[float]]] = {}
    for answers in result.answers.values():
        for metric, values in _own_figures(own, valid, answers[split]).items():
            by_metric.setdefault(metric, []).append(values)
    records = []
    for metric, seeds in by_metric.items():
        statistic = Mean(np.mean(seeds, axis=0))
        bounds = interval(value_of(statistic), replicates(statistic, seed=0, sample=own.name))
        detail = {"seeds": [float(np.mean(values)) for values in seeds]}
        records.append(
            Record(**common, model=recipe.model, metric=metric, value=bounds.value, low=bounds.low, high=bounds.high,
                   n=statistic.n, detail=detail, hashes=hashes)
        )  # fmt: skip
    if own.kind != "text2text":
        usual = Counter(asked.right for _, asked in fit).most_common(1)[0][0]
        hits = Mean([asked.right == usual for _, asked in valid])
        bounds = interval(value_of(hits), replicates(hits, seed=0, sample=own.name))
        records.append(
            Record(**common, model="majority", metric="accuracy", value=bounds.value, low=bounds.low,
                   high=bounds.high, n=hits.n, detail={"baseline": True}, hashes=hashes)
        )  # fmt: skip
    return records


def _own_figures(own: OwnData, valid: Sequence[tuple[Item, Asked]], found: Answers) -> dict[str, list[float]]:
    if own.kind != "text2text":
        return {"accuracy": [float(int(np.argmax(found[item.key])) == asked.right) for item, asked in valid]}
    pairs = [(str(found[item.key]), asked.answers[0]) for item, asked in valid]
    return {
        "rouge_l": [rouge_l(given, right) for given, right in pairs],
        "f1": [token_f1(given, right) for given, right in pairs],
        "em": [float(normalise_answer(given) == normalise_answer(right)) for given, right in pairs],
    }


def rouge_l(given: str, right: str) -> float:
    """F1 of the longest common subsequence of words, lower case, without punctuation (Lin 2004, beta = 1)."""
    first, second = normalise_answer(given).split(), normalise_answer(right).split()
    if not first or not second:
        return float(first == second)
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            kept = row[place]
            row[place] = before + 1 if word == other else max(row[place], row[place - 1])
            before = kept
    return 2 * row[-1] / (len(first) + len(second))
