"""The head of a family's own class of Transformers, apart from its encoder: the same code, weights and names.

Such a model is written as that class (`BertForSequenceClassification`, ...) and read by anybody. What lies between the
hidden states and the logits is whatever the class does (a pooler, a dense layer, the last token that is not padding):
it is run, never rewritten. A pooler belongs to the head here, for it is trained with it; in files it stands where the
class has it.

Shapes: B examples, R candidates of one, T tokens, D dimensions, L labels.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from slonik.core.errors import SlonikError
from slonik.models.heads.crf import LinearChainCrf
from slonik.models.heads.tokens import POSITIONS
from slonik.models.modeling_slonik_heads import NO_CANDIDATE, NO_PLACE
from slonik.text.task_config import TaskConfig

AUTO: dict[str, Any] = {
    "sequence": AutoModelForSequenceClassification,
    "pair": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "answer": AutoModelForQuestionAnswering,
    "choice": AutoModelForMultipleChoice,
}
"""Kind of head -> the Auto class that opens it."""
_PROBLEMS: dict[str, Any] = {
    "single": "single_label_classification", "multi": "multi_label_classification", "number": "regression",
}  # fmt: skip
ACTIVATIONS = {"identity": "torch.nn.modules.linear.Identity", "sigmoid": "torch.nn.modules.activation.Sigmoid"}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Reading(nn.Module):
    """Stands in the place of a stock model's encoder: gives hidden states that are there, or has another one read.

    Attributes:
        hidden: (B, T, D) to give; None: `transformer` reads the inputs. transformer: it is no part of this module.
        pooler: makes the vector of a text, where the class wants one.
    """

    def __init__(self, pooler: nn.Module | None, activation: Any = None) -> None:
        super().__init__()
        self.pooler = pooler
        self._activation = activation
        self.hidden: Tensor | None = None
        self.__dict__["transformer"] = None

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the encoder of the stock class would return, as far as heads read it."""
        if self.hidden is None:
            output = self.__dict__["transformer"](*args, **options)
            if self.pooler is None:
                return output
            hidden = output.last_hidden_state
        else:
            output, hidden = None, self.hidden
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=None if self.pooler is None else self._pooled(hidden),
            hidden_states=getattr(output, "hidden_states", None),
            attentions=getattr(output, "attentions", None),
        )

    def _pooled(self, hidden: Tensor) -> Tensor:
        assert self.pooler is not None
        if self._activation is None:
            pooled: Tensor = self.pooler(hidden)
        else:  # ALBERT: a linear layer whose activation stands beside it
            pooled = self._activation(self.pooler(hidden[:, 0]))
        return pooled


class StockHead(nn.Module):
    """A stock model without its encoder, called as every head is.

    Args:
        model: its encoder is taken out, and the pooler of that kept, where it has one.
        config: what its outputs mean.
        dropout: probability on every dropout of the head; None = as the class has it.

    Attributes:
        stock: the model without its encoder.
        crf: of a tagger: the rules of its labels alone, without scores.
    """

    def __init__(self, model: PreTrainedModel, config: TaskConfig, *, dropout: float | None = None) -> None:
        super().__init__()
        base = model.base_model
        pooler = getattr(base, "pooler", None)
        activation = getattr(base, "pooler_activation", None) if pooler is not None else None
        if pooler is not None:
            setattr(base, "pooler", None)  # noqa: B010 (a module for mypy, and none in many a class)
        self.stock = model
        self._place = model.base_model_prefix
        setattr(model, self._place, Reading(pooler, activation))
        self._kind = config.kind
        names = inspect.signature(model.forward).parameters
        self._takes_types = "token_type_ids" in names and int(getattr(model.config, "type_vocab_size", 0) or 0) > 1
        self._options = {"use_cache": False} if "use_cache" in names else {}
        self.crf = None
        if config.kind == "tokens":
            self.crf = LinearChainCrf(config.outputs, trainable=False)
        if dropout is not None:
            for part in model.modules():
                if isinstance(part, nn.Dropout):
                    part.p = dropout

    @property
    def reading(self) -> Reading:
        """What stands in the place of the encoder."""
        found = getattr(self.stock, self._place)
        assert isinstance(found, Reading)
        return found

    @property
    def one_by_one(self) -> bool:
        """Whether examples go through alone: the class finds a text's end by a padding token, and there is none."""
        by_padding = self._kind in ("sequence", "pair") and hasattr(self.stock, "score")
        return by_padding and self.stock.config.pad_token_id is None

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Outputs of hidden states (B, T, D) or (B, R, T, D); see `logits`."""
        reading = self.reading
        reading.hidden = hidden.flatten(0, -3)
        try:
            return self.logits(batch)
        finally:
            reading.hidden = None

    def read(self, transformer: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
        """Outputs of token ids that `transformer` reads as the stock class would have it read; see `logits`."""
        reading = self.reading
        reading.__dict__["transformer"] = transformer
        try:
            return self.logits(batch)
        finally:
            reading.__dict__["transformer"] = None

    def logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, L) of texts, (B, W, L) of words (of tokens without `positions`), (B, R) of candidates, (B, 2, T)."""
        inputs = {name: batch[name] for name in _INPUTS if name in batch and (name != _INPUTS[2] or self._takes_types)}
        output = self.stock(**inputs, **self._options)
        if self._kind == "answer":
            logits = torch.stack([output.start_logits, output.end_logits], 1).float()
            return logits.masked_fill(~_answerable(batch).unsqueeze(1), NO_PLACE) if "segments" in batch else logits
        found: Tensor = output.logits.float()
        if self._kind == "choice" and "candidates" in batch:
            return found.masked_fill(~batch["candidates"], NO_CANDIDATE)
        if self._kind == "tokens" and (places := batch.get(POSITIONS)) is not None:
            return found[torch.arange(len(places), device=places.device)[:, None], places]
        return found

    @contextmanager
    def whole(self, transformer: PreTrainedModel) -> Iterator[PreTrainedModel]:
        """The stock model with `transformer` in its place, its pooler too, as long as it is asked for."""
        reading, config = self.reading, transformer.config
        has_pooler = hasattr(transformer, "pooler")
        pooler = transformer.pooler if has_pooler else None
        self.stock.config = transformer.config = labelled(config, self.stock.config)
        if has_pooler:
            setattr(transformer, "pooler", reading.pooler)  # noqa: B010
        setattr(self.stock, self._place, transformer)
        try:
            yield self.stock
        finally:
            setattr(self.stock, self._place, reading)
            transformer.config = config
            if has_pooler:
                setattr(transformer, "pooler", pooler)  # noqa: B010


def _answerable(batch: Mapping[str, Tensor]) -> Tensor:
    """(B, T) True for tokens of the context and the first of all, which stands for "no answer"."""
    allowed = (batch["segments"] == 2).clone()
    allowed[:, 0] = True
    return allowed


def labelled(config: PreTrainedConfig, labels: PreTrainedConfig) -> PreTrainedConfig:
    """A copy of an encoder's config with what another one says of labels."""
    found = copy.deepcopy(config)
    for name in ("id2label", "label2id", "problem_type", "classifier_pooling", "sentence_transformers"):
        if hasattr(labels, name):
            setattr(found, name, copy.deepcopy(getattr(labels, name)))
    return found


def problem_type(config: TaskConfig) -> Any:
    """What Transformers' pipelines go by: softmax, sigmoid or the number itself; None for heads of other kinds."""
    return None if config.activation == "sigmoid" else _PROBLEMS.get(config.target)


def has_stock_class(encoder: PreTrainedConfig, kind: str) -> bool:
    """Whether Transformers (or our uneven shapes) have a class with such a head for a family."""
    return kind in AUTO and type(encoder) in AUTO[kind]._model_mapping


def new_stock_head(encoder: PreTrainedConfig, config: TaskConfig) -> StockHead:
    """A fresh head of the family's class; its random weights come from torch's current state.

    Raises:
        SlonikError: the family has no such class, texts that are read apart, or options that such a head does not have.
    """
    if not has_stock_class(encoder, config.kind) or config.pairs != "joint":
        why = (
            "for texts that are read apart" if config.pairs != "joint" else f"{config.kind!r} for {encoder.model_type}"
        )
        raise SlonikError(f"Transformers has no class with a head {why}: take the shape 'own'")
    options = dict(config.head)
    dropout = options.pop("dropout", None)
    if options:
        raise SlonikError(
            f"the head {config.kind!r} of the shape 'stock' cannot be made with the options {options}: it takes "
            "dropout alone; the shape 'own' takes more"
        )
    wanted = copy.deepcopy(encoder)
    wanted.num_labels = config.outputs
    if config.labels:
        wanted.id2label = dict(enumerate(config.labels))
        wanted.label2id = {label: number for number, label in enumerate(config.labels)}
    wanted.problem_type = problem_type(config)
    if config.target == "number":  # what a cross-encoder of sentence-transformers applies
        wanted.sentence_transformers = {"activation_fn": ACTIVATIONS[config.activation]}
    with torch.device("meta"):  # the encoder in it is never made
        model = AUTO[config.kind].from_config(wanted)
    head = StockHead(model, config, dropout=dropout)
    head.to_empty(device="cpu")
    with torch.no_grad():
        _initialise(head)
    if head.crf is not None:
        head.crf = LinearChainCrf(config.outputs, trainable=False)
    return head


def _initialise(head: StockHead) -> None:
    """Fresh weights as the class makes them; linear layers as torch does, as in every head here."""
    for part in head.modules():
        for weight in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
            weight.zero_()
        if not isinstance(part, Reading | StockHead | PreTrainedModel):
            head.stock._init_weights(part)
        if isinstance(part, nn.Linear):
            part.reset_parameters()
