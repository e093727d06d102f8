"""One encoder for all tasks first: heads of their own on shared layers, batches of one task each; then task by task.

Source: Liu et al. 2019 (MT-DNN); FRED-T5's authors trained on all tasks before each. Only the shared encoder is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slonik import models
from slonik.core.hashing import sha256_json
from slonik.core.passport import Step
from slonik.core.seeds import derive_seed
from slonik.core.steps import Steps
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.course import Course, items_hash, tunings
from slonik.finetuning.items import divide, drawn, labelled_fields
from slonik.finetuning.outputs import padding_of, tokenizer_of
from slonik.finetuning.train import Division, copy_of, prepared, stopping_figures, train_config
from slonik.models.encoder import TorchEncoder
from slonik.models.heads import build_head
from slonik.models.task_model import TaskModel
from slonik.train.example_loader import ExampleLoader
from slonik.train.loop import run
from slonik.train.objectives.loss import Loss
from slonik.train.objectives.supervised import Supervised
from slonik.train.protocols import Batch, IntArray

TASK = "task"
MOST_PER_TASK = 20_000
"""Examples of a task in an epoch: a task of 70,000 would leave nothing of the others (Raffel et al. 2020, 3.5.2)."""


class SharedEncoder(nn.Module):
    """One transformer under the heads of several tasks.

    Args:
        encoder: the shared one.
        courses: tasks; their heads are made here.
        seed: of the heads.
    """

    def __init__(self, encoder: TorchEncoder, courses: Sequence[Course], seed: int) -> None:
        super().__init__()
        self.transformer = encoder.model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.ModuleList(build_head(encoder.dimension, course.config) for course in courses)
        # kept out of the modules: they hold the same transformer once more
        self.__dict__["tasks"] = [
            TaskModel(encoder, head, course.config) for head, course in zip(self.heads, courses, strict=True)
        ]

    def task(self, number: int) -> TaskModel:
        """The task model of task `number`, sharing weights."""
        found: TaskModel = self.__dict__["tasks"][number]
        return found

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Outputs of the head that the batch's task has."""
        outputs: Tensor = self.task(int(batch[TASK][0]))(batch)
        return outputs


class MixedLoader:
    """Batches of several loaders in random order, each of one task.

    Args:
        loaders: one per task, whose fingerprints make this one's.
        most: examples of a task in an epoch; what is left out changes from epoch to epoch.
        seed: of the order.
    """

    def __init__(self, loaders: Sequence[ExampleLoader], *, most: int = MOST_PER_TASK, seed: int = 0) -> None:
        self._loaders, self._most, self._seed = loaders, most, seed
        self.fingerprint = sha256_json([[loader.fingerprint for loader in loaders], most, seed])

    def plan(self, epoch: int) -> list[IntArray]:
        """Batches as (task, example, example, ...)."""
        rng = np.random.default_rng(derive_seed(self._seed, "mix", epoch))
        batches: list[IntArray] = []
        for number, loader in enumerate(self._loaders):
            count = 0
            for batch in loader.plan(epoch):
                if count < self._most:
                    batches.append(np.concatenate([[number], batch]).astype(np.int64))
                count += len(batch)
        return [batches[place] for place in rng.permutation(len(batches))]

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of plan(epoch)[index], with the number of its task under `task`."""
        number = int(texts[0])
        batch = self._loaders[number].batch(epoch, index, texts[1:])
        return {**batch, TASK: torch.full((len(texts) - 1,), number, dtype=torch.int64)}


class MixedObjective:
    """The loss of the batch's own task."""

    def __init__(self, objectives: Sequence[Supervised]) -> None:
        self._objectives = objectives

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean loss of the batch."""
        number = int(batch[TASK][0])
        rest = {name: tensor for name, tensor in batch.items() if name != TASK}
        return self._objectives[number].of_outputs(model(batch), rest)


def train_shared(courses: Sequence[Course], base: TorchEncoder, recipe: FinetuneRecipe, steps: Steps) -> TorchEncoder:
    """The encoder after training on all courses together; the mean of their stopping figures chose its weights.

    Courses of several folds are left out: their fitting items are other folds' measured ones.
    """
    chosen = [course for course in courses if len(course.folds) == 1]
    if not chosen:
        steps.announce("multitask: every task is cross-fitted, so there is nothing to train together")
        return base
    tuning = tunings(chosen[0], recipe, base.dimension)[0]
    data = [items_hash(course.folds[0]) for course in chosen]
    inputs = {"base": base.weights_hash(), "data": data, "seed": recipe.seed}
    inputs |= {"tuning": tuning.model_dump(mode="json"), "tasks": [course.config.model_dump() for course in chosen]}
    scratch = steps.scratch("multitask", inputs)
    names = ", ".join(course.task for course in chosen)

    def work(folder: Path) -> Mapping[str, Any]:
        encoder = copy_of(base)
        shared = SharedEncoder(encoder, chosen, recipe.seed)
        divisions = [_division(course, recipe) for course in chosen]
        loaders = [
            ExampleLoader(
                labelled_fields(division.fit, tokenizer_of(shared.task(n)), course.config.target, seed=recipe.seed),
                padding_of(tokenizer_of(shared.task(n))),
                max_texts=tuning.batch_texts,
                max_tokens=tuning.batch_tokens,
                seed=recipe.seed + n,
            )
            for n, (course, division) in enumerate(zip(chosen, divisions, strict=True))
        ]
        loader = MixedLoader(loaders, seed=recipe.seed)
        objectives = [Supervised(course.config.target) for course in chosen]  # type: ignore[arg-type]
        looks = [stopping_figures(d, objective) for d, objective in zip(divisions, objectives, strict=True)]

        def evaluate(_: nn.Module) -> dict[str, float]:
            found = [look(shared.task(n)) for n, look in enumerate(looks)]
            figures = {f"{course.task}_score": one["score"] for course, one in zip(chosen, found, strict=True)}
            return figures | {"choice": math.fsum(one["choice"] for one in found) / len(found)}

        config = train_config(tuning, len(loader.plan(0)), recipe.seed)
        with prepared(shared, tuning):
            summary = run(shared, MixedObjective(objectives), loader, config, scratch, evaluate=evaluate)
        assert summary.best is not None
        step = Step(command="finetune", config={"multitask": names}, seed=recipe.seed, seconds=summary.seconds)
        models.save(encoder, folder / "encoder", base.passport.with_step(step))
        return {**summary.best.figures, "steps": summary.step}

    result = steps.run("multitask", inputs, f"all tasks together: {names}", work)
    return models.load(result.folder / "encoder")


def _division(course: Course, recipe: FinetuneRecipe) -> Division:
    items = course.folds[0].fit
    stop, fit = divide(items, [recipe.stopping, 1 - recipe.stopping], recipe.seed)
    stopping = [items[n] for n in stop]
    fitting = [items[n] for n in drawn(fit, recipe.max_items, recipe.seed)]
    return Division(fitting, stopping, lambda found: course.score(stopping, found))
