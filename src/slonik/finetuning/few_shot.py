"""A handful of labelled texts: the encoder is fitted to pairs of them, then a logistic regression reads its vectors.

SetFit (Tunstall et al. 2022, sections 3.1 and 3.2): every text is paired with texts of its label (similarity 1) and of
others (similarity 0), the encoder learns cosines by their squared error, and the head is fitted to the vectors of the
texts themselves. What comes out is an ordinary task model with a linear head over the mean of the tokens. There is no
stopping set: eight texts have none to spare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.evaluation.logistic import fit_logistic
from slonik.finetuning.config import Distillation, Tuning
from slonik.finetuning.encoder_learner import EncoderAnswerer, EncoderLearner
from slonik.finetuning.items import Item, token_fields
from slonik.finetuning.learner import TrainingSplit
from slonik.finetuning.outputs import padding_of, tokenizer_of
from slonik.finetuning.train import copy_of, prepared, train_config
from slonik.models.modeling_slonik_heads import SequenceHead, mean_pool
from slonik.models.task_model import TaskModel, new_task_model
from slonik.models.task_outputs import run_batches
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import Fields, example_loader
from slonik.train.loop import run
from slonik.train.protocols import Batch, Loss, weighted_sum
from slonik.train.run_state import RunSummary

PARTNERS = 20
"""Texts of its own label, and as many of others, that each text is paired with (R of the paper)."""
USUAL: dict[str, Any] = {
    "epochs": 1.0, "learning_rate": 2e-5, "layer_decay": 1.0, "evaluations": 1, "patience": None, "max_length": 128,
}  # fmt: skip
_NEVER = -30.0  # logit of a label that no text has


def drawn_pairs(labels: Sequence[int], seed: int, partners: int = PARTNERS) -> list[tuple[int, int, float]]:
    """(text, text, 1 where they have one label and 0 where not): `partners` of both kinds for every text.

    A text that is alone with its label is paired with itself, as in the paper's code.

    Raises:
        SlonikError: all texts have one label.
    """
    table = np.asarray(labels)
    if len(set(labels)) < 2:
        raise SlonikError("few-shot fitting needs texts of two labels at least")
    rng = np.random.default_rng(derive_seed(seed, "few-shot pairs", len(table), partners))
    pairs = []
    for place, label in enumerate(table):
        alike = np.flatnonzero((table == label) & (np.arange(len(table)) != place))
        others = np.flatnonzero(table != label)
        for partner in rng.choice(alike if len(alike) else np.array([place]), partners):
            pairs.append((place, int(partner), 1.0))
        for partner in rng.choice(others, partners):
            pairs.append((place, int(partner), 0.0))
    return pairs


class CosineLoss:
    """Mean squared error of the cosine of two texts' vectors: `label` (B,) is what it should be."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The batch has the fields of two texts apart, (B, 2, T)."""
        assert isinstance(model, TaskModel)
        vectors = mean_pool(model.hidden(batch), batch["attention_mask"])  # (B, 2, D)
        return weighted_sum({"cosines": (1.0, self.of_vectors(vectors, batch["label"]))}, float(len(vectors)))

    @staticmethod
    def of_vectors(vectors: Tensor, wanted: Tensor) -> Tensor:
        """(B, 2, D), (B,) -> ()."""
        return F.mse_loss(F.cosine_similarity(vectors[:, 0], vectors[:, 1], dim=-1), wanted.float())


class FewShotLearner(EncoderLearner):
    """An encoder that learns from a handful of texts."""

    code = __name__

    def settings(self, wanted: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
        """The paper's settings under the user's.

        Raises:
            SlonikError: settings of a head that learns by gradients.
        """
        of_heads = ("class_weights", "label_smoothing", "masked_pieces", "head", "shape")
        idle = [name for name in of_heads if name in explicit]
        if idle:
            raise SlonikError(
                f"tuning.{idle[0]} means nothing to few-shot fitting, whose head is a logistic regression"
            )
        return {**wanted, **USUAL, **explicit}

    def configured(self, config: TaskConfig, tuning: Tuning) -> TaskConfig:
        """A linear head over the mean of the tokens.

        Raises:
            SlonikError: the task is not one label of one text, or the encoder is not to be trained.
        """
        if config.kind != "sequence" or config.target != "single":
            raise SlonikError(
                f"few-shot fitting is for one label of one text, and {config.task} is a {config.kind} task that gives "
                f"a {config.target}: leave --few-shot out"
            )
        made = super().configured(config, tuning)
        return made.model_copy(update={"shape": "own", "head": {"pooling": "mean", "dropout": 0.0}})

    def train(
        self, config: TaskConfig, split: TrainingSplit, tuning: Tuning, teaching: Distillation, folder: Path, seed: int
    ) -> tuple[EncoderAnswerer, RunSummary]:
        """See `Learner.train`; the stopping items are not looked at."""
        model = new_task_model(copy_of(self.base), config, seed=seed)
        labels = [int(item.label) for item in split.fit]
        fields: list[Fields] = []
        for first, second, alike in drawn_pairs(labels, seed):
            texts = TaskInput(split.fit[first].input.rows + split.fit[second].input.rows)
            fields.append({**tokenizer_of(model).fields(texts), "label": np.asarray(alike, np.float32)})
        loader = example_loader(
            fields, padding_of(tokenizer_of(model)), max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens,
            seed=seed,
        )  # fmt: skip
        plan = train_config(tuning, len(loader.plan(0)), seed)
        identity = {"task": config.model_dump(mode="json"), "base": self.inputs["parent"], "pairs": len(fields)}

        def evaluate(_: nn.Module) -> dict[str, float]:
            loss = _loss_of_all_pairs(_vectors(model, split.fit), labels)
            return {"score": -loss, "loss": loss, "choice": -loss}

        with prepared(model, tuning):
            summary = run(model, CosineLoss(), loader, plan, folder, evaluate=evaluate, identity=identity)
        fit_head(model, split.fit)
        return EncoderAnswerer(model.eval()), summary


def fit_head(model: TaskModel, items: Sequence[Item]) -> None:
    """Set the linear head of a task model to the logistic regression of the items' vectors (C = 1)."""
    head = model.head
    assert isinstance(head, SequenceHead)
    labels = [int(item.label) for item in items]
    fitted = fit_logistic(_vectors(model, items), [f"{label:06d}" for label in labels])
    weights, biases = fitted.weights, fitted.intercepts
    if len(fitted.classes) == 2:  # one score for two labels: half of it for, half against
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    with torch.no_grad():
        head.output.weight.zero_()
        head.output.bias.fill_(_NEVER)
        for row, name in enumerate(fitted.classes):
            head.output.weight[int(name)] = torch.from_numpy(weights[row]).to(head.output.weight)
            head.output.bias[int(name)] = float(biases[row])


def _vectors(model: TaskModel, items: Sequence[Item]) -> NDArray[np.float32]:
    """(N, D) means of the items' tokens, as the head sees them."""
    fields = token_fields(items, tokenizer_of(model))
    found = run_batches(
        model.eval(), fields, lambda batch: mean_pool(model.hidden(batch), batch["attention_mask"]),
        lambda vectors, shape: vectors.clone(), "encoding",
    )  # fmt: skip
    return np.stack([np.asarray(one, dtype=np.float32) for one in found])


def _loss_of_all_pairs(vectors: NDArray[np.float32], labels: Sequence[int]) -> float:
    """The loss over every pair of two texts."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    table = np.asarray(labels)
    wanted = (table[:, None] == table[None]).astype(np.float32)
    apart = ~np.eye(len(table), dtype=bool)
    return float(((unit @ unit.T - wanted)[apart] ** 2).mean())
