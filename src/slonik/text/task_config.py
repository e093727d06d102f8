"""What a task model is for: the content of `task.json` beside an encoder checkpoint.

Says which head stands on the encoder, what its outputs mean and how texts were turned into tokens, so that a loaded
model predicts as the trained one did. It holds no weights (`head.safetensors`) and no training settings (passport).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.text import TASK_FILE
from slonik.text.lines import read_json

Target = Literal["single", "multi", "number", "choice", "answer", "tags", "text"]


class TaskConfig(Config):
    """One task model.

    Attributes:
        format: of this file.
        kind: the head, a key of `slonik.models.heads.HEADS`; "text2text" has none (the model itself gives words).
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
        protocol: version of the task's protocol that it was trained under.
        details: what else the owner of the task wants to find again (chosen thresholds, prompt hash).
    """

    format: int = 1
    kind: str
    task: str = "custom"
    target: Target = "single"
    labels: tuple[str, ...] = ()
    max_length: int = Field(256, ge=4)
    pairs: Literal["joint", "separate"] = "joint"
    head: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    scale: tuple[float, float] | None = None
    protocol: str = ""
    details: dict[str, Any] = {}

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.target in ("single", "multi", "tags") and not self.labels:
            raise ValueError(f"a task with target {self.target!r} needs labels")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
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
        path = Path(folder) / TASK_FILE
        if not path.is_file():
            raise SlonikError(
                f"{folder} is not a task model (it has no {TASK_FILE}): make one with `slonik finetune` first"
            )
        return build_config(cls, read_json(path), source=str(path))
