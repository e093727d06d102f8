"""Models with a head that were trained elsewhere, answering tasks that are known here; whose label is which is said by
`slonik.text.label_map`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.finetuning.items import Item
from slonik.finetuning.learner import TaskAnswerer
from slonik.text.label_map import label_map
from slonik.text.task_config import TaskConfig


@dataclass(frozen=True)
class MappedAnswerer:
    """A foreign model that answers a known task.

    Attributes:
        inner: it. config: the task. weights: of `label_map`; None: candidates, which have no labels.
    """

    inner: TaskAnswerer
    config: TaskConfig
    weights: NDArray[np.float32] | None

    @property
    def tokenizer(self) -> Tokenizer:
        return self.inner.tokenizer

    @property
    def max_length(self) -> int:
        return self.inner.max_length

    def answer(self, items: Sequence[Item], *, batch_texts: int = 64) -> list[Any]:
        found = self.inner.answer(items, batch_texts=batch_texts)
        return found if self.weights is None else [values @ self.weights for values in found]

    def save(self, folder: Path, passport: Passport) -> None:
        self.inner.save(folder, passport)


def mapped(inner: TaskAnswerer, config: TaskConfig, who: str) -> MappedAnswerer:
    """A foreign model as one of the task that `config` describes.

    Raises:
        SlonikError: it answers tasks of another kind, or its labels are not the task's.
    """
    own = inner.config
    if config.kind == "words" or own.target != config.target:
        raise SlonikError(
            f"{who} gives {_GIVES[own.target]}, and {config.task} wants "
            f"{'marked words compared' if config.kind == 'words' else _GIVES[config.target]}"
        )
    weights = label_map(own.labels, config.labels, who, config.task) if own.target == "single" else None
    return MappedAnswerer(inner, config.model_copy(update={"pairs": "joint"}), weights)


_GIVES = {
    "single": "one label of several", "multi": "any number of labels", "number": "a number",
    "choice": "one of the candidates", "answer": "a span of the text", "tags": "tags of words", "text": "words",
}  # fmt: skip
