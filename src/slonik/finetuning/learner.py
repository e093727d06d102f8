"""What a learner is: a checkpoint that learns a task from items and then answers items. No learner is here.

The training run, the split, the metrics and the files are one for all of them (`training`, `own`, `superglue`); what
differs stands behind `Learner`: an encoder gets a head (`encoder_learner`), T5 and decoders answer in words and give
likelihoods (`language_model_learner`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tokenizers import Tokenizer

from slonik.core.passport import Passport
from slonik.finetuning.config import Distillation, Tuning
from slonik.finetuning.items import Item
from slonik.text.task_config import TaskConfig

if TYPE_CHECKING:
    from slonik.train.run_state import RunSummary

FEW_STOPPING = 100


@dataclass(frozen=True)
class TrainingSplit:
    """Items to fit and items to stop by, and the metric of the latter.

    Attributes:
        fit, stop: the two.
        score: (stopping items' answers) -> the metric, the greater the better.
        by: what the user wants to stop by: a metric's name, "loss", or None: as `stopping_metrics` chooses.
    """

    fit: list[Item]
    stop: list[Item]
    score: Callable[[Sequence[Any]], float]
    by: str | None = None


class TaskAnswerer(Protocol):
    """A model that answers items of one task."""

    @property
    def config(self) -> TaskConfig:
        """What its outputs mean."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Raw."""
        ...

    @property
    def max_length(self) -> int:
        """The most tokens of an input."""
        ...

    def answer(self, items: Sequence[Item], *, batch_texts: int = 64) -> list[Any]:
        """Per item: probabilities of labels or candidates, (2, T) of first and last token, a number, or a text."""
        ...

    def save(self, folder: Path, passport: Passport) -> None:
        """Write a folder that `slonik predict` opens.

        Raises:
            SlonikError: the folder is not empty.
        """
        ...


class Learner(Protocol):
    """A checkpoint that can learn a task.

    Attributes:
        name: what the user called it.
        in_words: it reads `Item.asked`, not `Item.input`.
        tokenizer: raw. max_length: the most tokens of an input.
        identity: of everything of the checkpoint that decides what is learned.
        inputs: hashes for the passport of what is made.
        code: module that trains and answers.
    """

    name: str
    in_words: bool
    identity: str
    code: str
    passport: Passport
    tokenizer: Tokenizer
    max_length: int
    inputs: Mapping[str, str]

    def settings(self, wanted: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of `Tuning`: the learner's own, those that the task wants, under what the user said."""
        ...

    def too_long(self, config: TaskConfig) -> Callable[[tuple[str, ...]], bool] | None:
        """(texts of a row) -> whether the model cuts them; None where it refuses instead."""
        ...

    def configured(self, config: TaskConfig, tuning: Tuning) -> TaskConfig:
        """The task as this learner's model will have it in its `task.json`."""
        ...

    def untrained(self, config: TaskConfig) -> TaskAnswerer:
        """The model as it is."""
        ...

    def train(
        self, config: TaskConfig, split: TrainingSplit, tuning: Tuning, teaching: Distillation, folder: Path, seed: int
    ) -> tuple[TaskAnswerer, RunSummary]:
        """The model with the weights of its best evaluation on the stopping items.

        Args:
            config: as `configured` made it.
            folder: for checkpoints and the log; the same call after a crash goes on from there.
        """
        ...

    def keep(self, model: TaskAnswerer, folder: Path, tuning: Tuning) -> None:
        """Keep what training changed in the folder of a step."""
        ...

    def kept(self, folder: Path, config: TaskConfig) -> TaskAnswerer:
        """The model that `keep` kept."""
        ...


def stopping_metrics(score: float, loss: float, count: int, by: str | None = None) -> dict[str, float]:
    """`score` and `loss` of the stopping items, and `choice`, which early stopping and the grid follow.

    With fewer than 100 items that is the loss alone: their score moves in steps larger than what is to be told apart.
    With more it is the score, less a tenth of the loss, which breaks ties.

    Args:
        count: of stopping items.
        by: follow the loss alone ("loss"), or the score alone (any metric's name), whatever their number.
    """
    score = score if math.isfinite(score) else 0.0  # the correlation of a constant answer is none
    if by is not None:
        return {"score": score, "loss": loss, "choice": -loss if by == "loss" else score - 1e-6 * min(loss, 5.0)}
    return {"score": score, "loss": loss, "choice": -loss if count < FEW_STOPPING else score - 0.1 * min(loss, 5.0)}
