"""What a task model is for: the content of `task.json`, or what a config.json of Transformers says of a head.

Says which head stands on the encoder, what its outputs mean and how texts were turned into tokens, so that a loaded
model predicts as the trained one did. It holds no weights and no training settings (passport).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.protocols import LongTexts
from slonik.text import TASK_FILE
from slonik.text.lines import read_json
from slonik.text.stock_labels import Activation, activation_of, labels_of, problem_of

STOCK_KINDS = {
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "tokens",
    "ForQuestionAnswering": "answer",
    "ForMultipleChoice": "choice",
}
"""How the name of a stock class ends -> the kind of head that it has."""
_USUAL_LENGTH = 512
_NO_LIMIT = 10**6  # tokenizers without a limit say 10**30

Target = Literal["single", "multi", "number", "choice", "answer", "tags", "text"]


class TaskConfig(Config):
    """One task model.

    Attributes:
        format: of this file.
        kind: the head, a key of `slonik.models.heads.HEADS`; "text2text" has none (the model itself gives words).
        shape: "stock": the head of the family's own class of Transformers, for the kinds of STOCK_KINDS and joint
            pairs; "own": one of ours.
        task: id of the task ("terra", "ner"), or "custom" for the user's own data.
        target: what the outputs are: "single" (one label of several), "multi" (any number of labels), "number",
            "choice" (one of the candidates of the example), "answer" (a span of the text), "tags" (one per token),
            "text" (words).
        labels: names of the outputs in their order; empty for "number", "choice", "answer" and "text".
        max_length: tokens of one text or pair, specials included; what happens to longer ones is the business of
            `slonik.text.pairs`.
        pairs: "joint": two texts are one input of the encoder; "separate": one input each.
        head: options of the head, as its class takes them.
        columns: for the user's own data: role ("text", "text_b", "label") -> column name.
        scale: for "number": (mean, standard deviation) of the training targets; outputs are in these units.
        activation: for "number": what the output goes through before the scale.
        long_texts: what happens to texts of more than `max_length` tokens where the caller does not say.
        protocol: version of the task's protocol that it was trained under.
        details: what else the owner of the task wants to find again (chosen thresholds, prompt hash).
    """

    format: int = 1
    kind: str
    shape: Literal["own", "stock"] = "own"
    task: str = "custom"
    target: Target = "single"
    labels: tuple[str, ...] = ()
    max_length: int = Field(256, ge=4)
    pairs: Literal["joint", "separate"] = "joint"
    head: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    scale: tuple[float, float] | None = None
    activation: Activation = "identity"
    long_texts: LongTexts = "truncate"
    protocol: str = ""
    details: dict[str, Any] = {}

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.target in ("single", "multi", "tags") and not self.labels:
            raise ValueError(f"a task with target {self.target!r} needs labels")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if self.activation != "identity" and self.target != "number":
            raise ValueError(f"only a number has an activation, not {self.target!r}")
        return self

    @property
    def outputs(self) -> int:
        """How many numbers the head gives per item (per token for "tags")."""
        if self.target == "answer":
            return 2
        return len(self.labels) or 1

    def write(self, folder: str | Path) -> None:
        write_json(Path(folder) / TASK_FILE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: str | Path) -> TaskConfig:
        """The task of a model folder.

        Raises:
            SlonikError: the folder is no task model, or its file is damaged.
        """
        root = Path(folder)
        path = root / TASK_FILE
        if path.is_file():
            return build_config(cls, read_json(path), source=str(path))
        config = read_json(root / "config.json", optional=True)
        if stock_kind(config) is None:
            raise SlonikError(
                f"{folder} is not a task model (it has no {TASK_FILE}, and its config.json names no head): make one "
                "with `slonik finetune` first"
            )
        sentence = read_json(root / "config_sentence_transformers.json", optional=True)
        tokenizer = read_json(root / "tokenizer_config.json", optional=True)
        length = tokenizer.get("model_max_length")
        return cls.of_config_json(config, sentence, max_length=length, where=str(root / "config.json"))

    @classmethod
    def of_config_json(
        cls,
        config: Mapping[str, Any],
        sentence: Mapping[str, Any] = {},
        *,
        max_length: Any = None,
        where: str = "config.json",
    ) -> TaskConfig:
        """The task of a checkpoint that Transformers or sentence-transformers made, from its config.json.

        Labels keep the names and the order of `id2label`; such a task has no columns: its rows are a text or a pair.

        Args:
            sentence: config_sentence_transformers.json, for the activation of a cross-encoder.
            max_length: of its tokenizer; within the positions of the model, 512 where neither has a limit.
            where: what the sentence of an error calls the config.

        Raises:
            SlonikError: it names no head, or its labels, their number and their problem contradict one another.
        """
        kind = stock_kind(config)
        if kind is None:
            raise SlonikError(f"{where} names no head of Transformers ({', '.join(STOCK_KINDS)})")
        values: dict[str, Any] = {"kind": kind, "shape": "stock", "max_length": _length(config, max_length)}
        if kind == "answer":
            return cls(**values, target="answer", details={"unanswerable": False})
        if kind == "choice":
            return cls(**values, target="choice")
        labels = labels_of(config, where)
        if kind == "tokens":
            return cls(**values, target="tags", labels=labels, details={"rules": False})
        problem = problem_of(config, len(labels), where)
        if problem == "number":
            return cls(**values, target="number", activation=activation_of(config, sentence, where))
        return cls(**values, target=problem, labels=labels)


def stock_kind(config: Mapping[str, Any]) -> str | None:
    """The kind of head of the stock class that a config.json names first; None where it names none."""
    architecture = str((config.get("architectures") or [""])[0])
    return next((kind for ending, kind in STOCK_KINDS.items() if architecture.endswith(ending)), None)


def _length(config: Mapping[str, Any], tokenizer: Any) -> int:
    """Tokens of one input: the tokenizer's limit within the positions that there are."""
    limits = []
    if isinstance(tokenizer, int | float) and 0 < tokenizer < _NO_LIMIT:
        limits.append(int(tokenizer))
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if isinstance(positions, int) and positions > 0:
        kin = str(config.get("model_type", "")).removeprefix("slonik_").replace("_", "-")
        limits.append(positions - int(config.get("pad_token_id") or 0) - 1 if kin in _PAD_FIRST else positions)
    return max(4, min(limits, default=_USUAL_LENGTH))


_PAD_FIRST = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "data2vec-text", "mpnet", "longformer")
"""Families whose positions begin after the number of the padding token."""
