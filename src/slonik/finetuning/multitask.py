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
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.passport import Step
from slonik.core.run import Steps
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.encoder_learner import EncoderLearner, stopping_evaluation
from slonik.finetuning.items import items_hash, labelled_fields
from slonik.finetuning.objective import Supervised
from slonik.finetuning.outputs import padding_of, tokenizer_of
from slonik.finetuning.train import copy_of, prepared, train_config
from slonik.finetuning.training import TaskData, training_split, tunings
from slonik.models.encoder import TorchEncoder
from slonik.models.heads import build_head
from slonik.models.task_model import TaskModel
from slonik.train.loaders import example_loader
from slonik.train.loop import run
from slonik.train.protocols import Batch, IntArray, Loader, Loss

TASK = "task"
ENCODER = "encoder"
MOST_PER_TASK = 20_000
"""Examples of a task in an epoch: a task of 70,000 would leave nothing of the others (Raffel et al. 2020, 3.5.2)."""


class SharedEncoder(nn.Module):
    """One transformer under the heads of several tasks.

    Args:
        encoder: the shared one.
        tasks: their heads are made here.
        seed: of the heads.
    """

    def __init__(self, encoder: TorchEncoder, tasks: Sequence[TaskData], seed: int) -> None:
        super().__init__()
        self.transformer = encoder.model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.ModuleList(build_head(encoder.model.config, data.config) for data in tasks)
        # kept out of the modules: they hold the same transformer once more
        self.__dict__["tasks"] = [
            TaskModel(encoder, head, data.config) for head, data in zip(self.heads, tasks, strict=True)
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
        loaders: one per task, whose fingerprints make this one's; what is left out of a large task changes from epoch
            to epoch.
        seed: of the order.
    """

    def __init__(self, loaders: Sequence[Loader], *, seed: int = 0) -> None:
        self._loaders, self._seed = loaders, seed
        self.fingerprint = sha256_json([[loader.fingerprint for loader in loaders], MOST_PER_TASK, seed])

    def plan(self, epoch: int) -> list[IntArray]:
        """Batches as (task, example, example, ...)."""
        rng = np.random.default_rng(derive_seed(self._seed, "mix", epoch))
        batches: list[IntArray] = []
        for number, loader in enumerate(self._loaders):
            count = 0
            for batch in loader.plan(epoch):
                if count < MOST_PER_TASK:
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
        number = int(batch[TASK][0])
        rest = {name: tensor for name, tensor in batch.items() if name != TASK}
        return self._objectives[number].of_outputs(model(batch), rest)


def train_shared(
    tasks: Sequence[TaskData], learner: EncoderLearner, recipe: FinetuneRecipe, steps: Steps
) -> EncoderLearner:
    """The learner after training on all tasks together; the mean of their stopping metrics chose its weights.

    Tasks of several folds are left out: their fitting items are other folds' measured ones.
    """
    chosen = [data for data in tasks if len(data.folds) == 1]
    if not chosen:
        steps.announce("multitask: every task is cross-fitted, so there is nothing to train together")
        return learner
    tuning = tunings(chosen[0], learner, recipe)[0]
    inputs = {
        "model": learner.identity,
        "data": [items_hash(data.folds[0].fit) for data in chosen],
        "draw": [recipe.stopping, recipe.max_items],
        "seed": recipe.seed,
        "tuning": tuning.model_dump(mode="json", exclude={"save_every_minutes"}),
        "tasks": [data.config for data in chosen],
    }
    names = ", ".join(data.task for data in chosen)

    def work(folder: Path) -> Mapping[str, Any]:
        encoder = copy_of(learner.base)
        shared = SharedEncoder(encoder, chosen, recipe.seed)
        splits = [training_split(data, data.folds[0], recipe, recipe.seed) for data in chosen]
        loaders = [
            example_loader(
                labelled_fields(split.fit, tokenizer_of(shared.task(n)), data.config.target, seed=recipe.seed),
                padding_of(tokenizer_of(shared.task(n))),
                max_texts=tuning.batch_texts,
                max_tokens=tuning.batch_tokens,
                seed=recipe.seed + n,
            )
            for n, (data, split) in enumerate(zip(chosen, splits, strict=True))
        ]
        loader = MixedLoader(loaders, seed=recipe.seed)
        objectives = [Supervised(data.config.target) for data in chosen]
        evaluations = [stopping_evaluation(*pair) for pair in zip(splits, objectives, strict=True)]

        def evaluate(_: nn.Module) -> dict[str, float]:
            found = [evaluation(shared.task(n)) for n, evaluation in enumerate(evaluations)]
            scores = {f"{data.task}_score": one["score"] for data, one in zip(chosen, found, strict=True)}
            return scores | {"choice": math.fsum(one["choice"] for one in found) / len(found)}

        config = train_config(tuning, len(loader.plan(0)), recipe.seed)
        with prepared(shared, tuning):
            summary = run(shared, MixedObjective(objectives), loader, config, steps.scratch(), evaluate=evaluate)
        assert summary.best is not None
        step = Step(command="finetune", config={"multitask": names}, seed=recipe.seed, seconds=summary.seconds)
        models.save(encoder, folder / ENCODER, learner.passport.with_step(step))
        return {**summary.best.metrics, "steps": summary.step, "precision": summary.precision}

    code = {__name__, learner.code, *(data.score.__module__ for data in chosen)}
    result = steps.step("multitask", inputs, f"all tasks together: {names}", work, code=sorted(code))
    return EncoderLearner(models.load(result.folder / ENCODER))
