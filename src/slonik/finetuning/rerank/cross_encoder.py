"""A cross-encoder: an encoder with the stock head of one output, which reads a query and a document together.

Its folder is that of `BertForSequenceClassification` (or of its family's class) with one label, so that CrossEncoder of
sentence-transformers and Text Embeddings Inference load it. Sources: Nogueira & Cho 2019 (one pair at a time, "bce");
Cao et al. 2007 (ListNet) and Gao et al. 2021 (a softmax over the relevant document and hard negatives, "softmax").

Shapes: B examples, R documents of an example, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slonik.core.passport import Passport
from slonik.data.rankings import Asked
from slonik.finetuning.outputs import outputs_of, tokenizer_of
from slonik.finetuning.rerank.config import RankingLoss, RerankRecipe
from slonik.finetuning.rerank.examples import Examples
from slonik.finetuning.rerank.lists import Scores
from slonik.finetuning.rerank.negatives import Numbers
from slonik.models.task_model import TaskModel, save_task_model
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig
from slonik.train.loaders import BatchLoader, PadFields
from slonik.train.protocols import Batch, Loss, weighted_sum

LENGTH = 256
_FLAT = ("input_ids", "attention_mask", "token_type_ids", "segments")
_PAIRS_AT_A_TIME = 4096


def cross_encoder_config(recipe: RerankRecipe, max_length: int) -> TaskConfig:
    """The task of a new cross-encoder: one number for the texts `query` and `document`, a logit of relevance."""
    return TaskConfig(
        kind="sequence", shape="stock", task=recipe.name, target="number", activation="sigmoid",
        max_length=min(recipe.tuning.max_length or LENGTH, max_length),
        columns={"text": list(recipe.text_columns), "label": recipe.label_column},
        details={"loss": recipe.loss},
    )  # fmt: skip


def continued(config: TaskConfig, recipe: RerankRecipe) -> TaskConfig:
    """The task of a cross-encoder that is trained further: its head, its length and its way with long texts stay."""
    fresh = cross_encoder_config(recipe, config.max_length)
    kept = {name: getattr(fresh, name) for name in ("task", "columns", "activation", "scale", "details")}
    length = {} if recipe.tuning.max_length is None else {"max_length": fresh.max_length}
    return config.model_copy(update={**kept, **length})


class CrossEncoder:
    """A cross-encoder in training.

    Args:
        model: trained in place.
        documents: all of them, by number.

    Attributes:
        length: tokens of a pair. tokenizer: raw.
    """

    def __init__(self, model: TaskModel, documents: Sequence[str]) -> None:
        self.module: nn.Module = model
        self.length, self.tokenizer = model.max_length, model.encoder.tokenizer
        self.model, self._documents = model, documents

    def loader(self, examples: Examples, *, max_texts: int, max_tokens: int | None, seed: int) -> BatchLoader:
        """Batches of examples: fields of pairs (B, R, T), and `label` (B, R), grades between 0 and 1."""
        tokenizer = tokenizer_of(self.model)
        pad = PadFields({"input_ids": tokenizer.pad_id})

        def make(items: Sequence[tuple[Asked, Numbers]]) -> Batch:
            made = []
            for asked, numbers in items:
                rows = tuple((asked.text, self._documents[number]) for number in numbers.tolist())
                grades = [max(0.0, asked.grades.get(number, 0.0)) for number in numbers.tolist()]
                label = np.array(grades, dtype=np.float32) / examples.highest
                made.append({**tokenizer.fields(TaskInput(rows)), "label": label})
            return pad(made)

        sizes = examples.sizes(self.model.encoder.tokenizer, self._documents, self.length, together=True)
        return examples.loader(sizes, make, max_texts=max_texts, max_tokens=max_tokens, seed=seed)

    def scores(self, queries: Sequence[Asked], candidates: Sequence[Numbers]) -> Scores:
        """Logits of every candidate, in full precision: half of it makes ties of near scores."""
        tokenizer = tokenizer_of(self.model)
        pairs = [
            (asked.text, self._documents[number])
            for asked, numbers in zip(queries, candidates, strict=True)
            for number in numbers.tolist()
        ]
        found: list[float] = []
        for start in range(0, len(pairs), _PAIRS_AT_A_TIME):
            fields = [tokenizer.fields(TaskInput((pair,))) for pair in pairs[start : start + _PAIRS_AT_A_TIME]]
            found += [float(np.ravel(one)[0]) for one in outputs_of(self.model, fields, autocast=False)]
        ends = np.cumsum([len(numbers) for numbers in candidates])
        return np.split(np.array(found), ends[:-1])

    def save(self, folder: Path, passport: Passport) -> None:
        save_task_model(self.model, folder, passport)


class PairLoss:
    """Cross-entropy of grades: over the documents of an example ("softmax"), or of each pair by itself ("bce").

    With softmax the target is the share of an example's grades that a document has: with one relevant document, it.
    """

    def __init__(self, kind: RankingLoss) -> None:
        self._kind = kind

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The batch is as `CrossEncoder.loader` makes it."""
        label = batch["label"]
        flat = {name: batch[name].flatten(0, 1) for name in _FLAT if name in batch}
        outputs: Tensor = model(flat)
        return weighted_sum({self._kind: (1.0, self.of_scores(outputs.reshape(label.shape), label))}, float(len(label)))

    def of_scores(self, scores: Tensor, label: Tensor) -> Tensor:
        """(B, R) logits, (B, R) grades between 0 and 1 -> ()."""
        scores = scores.float()
        if self._kind == "bce":
            return F.binary_cross_entropy_with_logits(scores, label)
        shares = label / label.sum(-1, keepdim=True)
        return -(shares * torch.log_softmax(scores, dim=-1)).sum(-1).mean()
