"""T5, FRED-T5 and decoders: tasks as text to text, answered by the likelihood of the allowed answers, or in free words.

Trained with Adafactor at a constant 1e-3 (T5's recipe) or AdamW (decoders), or asked as they are (zero and few shot).
The prompts are a data file; `<LM>` or another denoiser's prefix may stand before every prompt. Early stopping looks at
a share of the fitting examples, as for encoders.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from slonik.core.atomic import write_json
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.passport import Step
from slonik.core.records import Record, write_records
from slonik.core.steps import Steps
from slonik.evaluation.russian_superglue.tasks import PROTOCOL
from slonik.finetuning.config import FinetuneRecipe, Tuning
from slonik.finetuning.course import ANSWERS, Answers, merged, read_answers
from slonik.finetuning.items import Item, divide
from slonik.finetuning.prompts import Asked, prompts_hash
from slonik.finetuning.text_answers import TextAnswers
from slonik.finetuning.train import train_config
from slonik.models.task_config import TaskConfig
from slonik.models.text_model import NOT_SCORED, TextModel, load_text_model, save_text_model
from slonik.train.example_loader import ExampleLoader, PadFields
from slonik.train.loop import run

TEXT_TUNING: dict[str, dict[str, Any]] = {
    "seq2seq": {
        "optimizer": "adafactor", "learning_rate": 1e-3, "schedule": "constant", "layer_decay": 1.0,
        "warmup_ratio": 0.0, "weight_decay": 0.0, "freeze": "nothing", "max_length": 512,
    },
    "causal": {"learning_rate": 5e-5, "layer_decay": 1.0, "freeze": "nothing", "max_length": 512},
}  # fmt: skip
MODEL = "model"


@dataclass(frozen=True)
class TextFold:
    """Examples in words to learn from, with their items for dividing; and those to answer, by split and key."""

    fit: list[tuple[Item, Asked]]
    measured: Mapping[str, list[tuple[int | str, Asked]]]


@dataclass(frozen=True)
class TextCourse:
    """A task in words."""

    task: str
    config: TaskConfig
    folds: Sequence[TextFold]


def text_tuning(recipe: FinetuneRecipe, kind: str, task: str) -> Tuning:
    """The family's settings, under the recipe's, under those for this task."""
    explicit = recipe.tuning.model_dump(include=recipe.tuning.model_fields_set)
    fields = {**TEXT_TUNING[kind], **explicit, **recipe.per_task.get(task, {})}
    return build_config(Tuning, fields, source=f"the settings for {task}")


def answer_text(model: TextModel, asked: Sequence[Asked], *, trained: bool, batch_texts: int = 32) -> list[Any]:
    """Probabilities over each example's answers, from their likelihoods."""
    prompts, answers = [one.prompt for one in asked], [one.answers for one in asked]
    ends = trained or model.kind == "seq2seq"
    found = model.likelihoods(prompts, answers, per_token=not trained, ends=ends, batch_texts=batch_texts)
    return [np.exp(one - one.max()) / np.exp(one - one.max()).sum() for one in found]


def text_fields(model: TextModel, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """Training arrays; examples whose right answer is not among their answers are left out."""
    return [model.fields(one.prompt, one.answers[one.right]) for one in asked if one.right is not None]


def train_text(
    model: TextModel, fit: Sequence[Asked], stop: Sequence[Asked], tuning: Tuning, folder: Path, seed: int,
    identity: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Train a text model in place; the best by accuracy of the stopping examples, ties broken by loss.

    Free answers (one answer given) are stopped by loss alone.
    """
    pad = PadFields({"input_ids": model.pad, "labels": NOT_SCORED})
    loader = ExampleLoader(
        text_fields(model, fit), pad, max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens, seed=seed
    )
    chosen = [one for one in stop if one.right is not None]
    closed = any(len(one.answers) > 1 for one in chosen)

    def evaluate(_: nn.Module) -> dict[str, float]:
        right = [int(one.right or 0) for one in chosen]
        if not closed:
            found = model.likelihoods([one.prompt for one in chosen], [one.answers for one in chosen], per_token=True)
            loss = -float(np.mean([scores[0] for scores in found]))
            return {"score": -loss, "loss": loss, "choice": -loss}
        answered = answer_text(model, chosen, trained=True)
        score = float(np.mean([int(np.argmax(one)) == place for one, place in zip(answered, right, strict=True)]))
        loss = -float(np.mean([np.log(one[place] + 1e-9) for one, place in zip(answered, right, strict=True)]))
        return {"score": score, "loss": loss, "choice": score - 0.1 * min(loss, 5.0)}

    objective = TextAnswers(shifted=model.kind == "causal")
    config = train_config(tuning, len(loader.plan(0)), seed)
    summary = run(model.model, objective, loader, config, folder, evaluate=evaluate, identity=identity)
    assert summary.best is not None
    facts = {"steps": summary.step, "best_step": summary.best.step, "train_seconds": summary.seconds}
    return {**summary.best.figures, **facts, "metrics": str(summary.metrics)}


@dataclass(frozen=True)
class TextResult:
    """Answers by seed and split, and the folder of the model to keep."""

    answers: dict[int, dict[str, Answers]]
    best: Path | None
    summaries: list[dict[str, Any]]
    seconds: float


def run_text_course(course: TextCourse, recipe: FinetuneRecipe, steps: Steps) -> TextResult:
    """Train and answer with every seed on every fold, or answer as the model is."""
    base = load_text_model(recipe.model, prefix=recipe.denoiser, max_length=course.config.max_length)
    tuning = text_tuning(recipe, base.kind, course.task)
    seeds = range(recipe.seed, recipe.seed + (recipe.seeds if recipe.train else 1))
    answers: dict[int, dict[str, list[Answers]]] = {}
    done = []
    for number, fold in enumerate(course.folds):
        for seed in seeds:
            step = _text_step(course, number, fold, base.weights_hash(), recipe, tuning, seed, steps)
            done.append(step)
            for split, found in read_answers(step.folder).items():
                answers.setdefault(seed, {}).setdefault(split, []).append(found)
    whole = {seed: {split: merged(parts) for split, parts in found.items()} for seed, found in answers.items()}
    kept = [step for step in done if (step.folder / MODEL).is_dir()]
    best = max(kept, key=lambda step: step.summary["choice"]).folder / MODEL if kept else None
    return TextResult(whole, best, [step.summary for step in done], sum(step.seconds for step in done))


def _text_step(
    course: TextCourse, number: int, fold: TextFold, base: str, recipe: FinetuneRecipe, tuning: Tuning, seed: int,
    steps: Steps,
) -> Any:  # fmt: skip
    data = [[[one.prompt, one.answers, one.right] for _, one in fold.fit]]
    data += [[[key, one.prompt, one.answers] for key, one in fold.measured[split]] for split in sorted(fold.measured)]
    inputs = {
        "base": base, "tuning": tuning.model_dump(mode="json", exclude={"save_every_minutes"}), "seed": seed,
        "config": course.config.model_dump(mode="json"), "data": sha256_json(data), "train": recipe.train,
        "draw": [recipe.stopping, recipe.max_items],
    }  # fmt: skip
    name = f"{course.task}-seed{seed}-fold{number}"
    scratch = steps.scratch(name, inputs)

    def work(folder: Path) -> Mapping[str, Any]:
        model = load_text_model(recipe.model, prefix=recipe.denoiser, max_length=course.config.max_length)
        summary: dict[str, Any] = {"choice": 0.0}
        if recipe.train:
            fit, stop = _text_division(fold, recipe, seed)
            summary = train_text(model, fit, stop, tuning, scratch, seed, {"base": base, "task": course.task})
            shutil.copy(str(summary.pop("metrics")), folder / "metrics.jsonl")
            if number == 0:
                save_text_model(model, folder / MODEL, course.config, _passport(model, course, tuning, summary, seed))
        content = {}
        for split, rows in fold.measured.items():
            found = _answers(model, [one for _, one in rows], trained=recipe.train)
            content[split] = [[key, one] for (key, _), one in zip(rows, found, strict=True)]
        write_json(folder / ANSWERS, content)
        return summary

    return steps.run(name, inputs, f"{course.task}: seed {seed}, fold {number + 1} of {len(course.folds)}", work)


def _answers(model: TextModel, asked: Sequence[Asked], *, trained: bool) -> list[Any]:
    if asked and all(len(one.answers) <= 1 for one in asked):
        return model.generate([one.prompt for one in asked])
    return [np.asarray(one).round(6).tolist() for one in answer_text(model, asked, trained=trained)]


def _text_division(fold: TextFold, recipe: FinetuneRecipe, seed: int) -> tuple[list[Asked], list[Asked]]:
    items = [item for item, _ in fold.fit]
    if len(items) < 8:
        raise SlonikError(f"{len(items)} labelled examples to learn from: at least 8 are needed")
    share = min(0.4, max(recipe.stopping, 20 / len(items)))
    stop, fit = divide(items, [share, 1 - share], seed)
    return [fold.fit[n][1] for n in fit][: recipe.max_items], [fold.fit[n][1] for n in stop]


def _passport(model: TextModel, course: TextCourse, tuning: Tuning, summary: Mapping[str, Any], seed: int) -> Any:
    config = {"task": course.task, "tuning": tuning.model_dump(mode="json"), "prompts": course.config.details}
    numbers = {key: value for key, value in summary.items() if isinstance(value, int | float)}
    step = Step(
        command="finetune", config=config, inputs={"prompts": prompts_hash()}, seed=seed, summary=numbers,
        seconds=summary.get("train_seconds"),
    )  # fmt: skip
    return model.passport.with_step(step)


def text_config(recipe: FinetuneRecipe, task: str) -> TaskConfig:
    """The configuration of a task in words."""
    details = {
        "prompts": recipe.prompts, "prompts_hash": prompts_hash(), "denoiser": recipe.denoiser, "shots": recipe.shots,
        "trained": recipe.train,
    }  # fmt: skip
    length = recipe.tuning.max_length or 512
    return TaskConfig(kind="text2text", task=task, target="text", max_length=length, protocol=PROTOCOL, details=details)


def run_text(recipe: FinetuneRecipe, steps: Steps) -> Any:
    """The tasks of a recipe, or the user's own data, with a model that answers in words.

    Raises:
        SlonikError: no data, an unknown task, teachers (not for these models).
    """
    from slonik.finetuning.finetune import RESULTS, Finetuned
    from slonik.finetuning.superglue import chosen_tasks, measured_by, trained_tasks
    from slonik.finetuning.text_tasks import own_text, superglue_text

    if recipe.teaching.teachers or recipe.multitask or recipe.grid:
        raise SlonikError("models that answer in words take no --teacher, grid or multitask here: leave them out")
    out = Path(recipe.out)
    records: list[Record] = []
    folders: dict[str, Path] = {}
    if recipe.own is not None:
        best, records = own_text(recipe, steps, out)
        folders[recipe.own.name] = best
    else:
        tasks = chosen_tasks(recipe, steps.announce)
        # a model that is asked as it is owes nothing to TERRa: LiDiRus is a task as any other then
        chosen = trained_tasks(tasks) if recipe.train else dict.fromkeys(tasks, False)
        measured = {task: measured_by(task, recipe, with_diagnostic=also) for task, also in chosen.items()}
        for task, one in measured.items():
            target = out if len(chosen) == 1 else out / task
            kept, found = superglue_text(task, one, recipe, steps, target)
            records += found
            folders |= {task: kept} if kept else {}
    write_records(out / RESULTS, records)
    return Finetuned(records, folders)
