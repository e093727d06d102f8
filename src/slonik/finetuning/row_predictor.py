"""Rows of any task to answers, by a model with a head: in torch, or an exported one without it.

A row is a text, a pair of texts, a question with its context, or a context with candidates, as its own columns name
them (`slonik.text.task_rows`). Official tasks have rows of their own (`predictors.OfficialPredictor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.protocols import LongTexts
from slonik.finetuning.items import Item
from slonik.runtime.task_model import OnnxTaskModel
from slonik.text.answers import Answer, probabilities, temperature_of
from slonik.text.pairs import PairTokenizer
from slonik.text.task_config import TaskConfig
from slonik.text.task_rows import chosen_way, texts_of


class HeadedModel(Protocol):
    """A model with a head, in torch or on onnxruntime."""

    @property
    def config(self) -> TaskConfig:
        """What its outputs mean."""
        ...

    @property
    def pairs(self) -> PairTokenizer:
        """What reads its rows."""
        ...

    def predict(self, rows: Sequence[Any], *, long_texts: LongTexts | None = None) -> list[Answer]:
        """An answer per row."""
        ...


class RowPredictor:
    """Rows by a model with a head.

    Args:
        model: answers them.
        batch_size: rows that are answered together.
        long_texts: what happens to long texts; None = the model's own way.

    Raises:
        SlonikError: no such way.
    """

    def __init__(self, model: HeadedModel, batch_size: int, long_texts: LongTexts | None = None) -> None:
        self._model, self._batch = model, batch_size
        self._long_texts = None if long_texts is None else chosen_way(long_texts, model.config)
        self.columns = tuple(model.config.columns.get("text") or ())
        self.reads_two = len(self.columns) == 2 or model.config.kind == "pair" or model.config.target == "answer"

    @property
    def cut_rows(self) -> int:
        """How many rows were longer than the model reads, and were cut, since it was loaded."""
        return self._model.pairs.cut_rows

    @property
    def max_tokens(self) -> int:
        """Tokens of a row that the model reads."""
        return self._model.pairs.max_length

    def read(self, row: Any, where: str) -> tuple[Any, Any]:
        """The row's number (its `idx` or `id`, if it has one) and its texts.

        Raises:
            SlonikError: a column that is missing or no text, too few or too many texts.
        """
        number = int(where.split()[-1]) if where[-1:].isdigit() else 1
        try:
            texts = texts_of(row, self._model.config, number)
        except SlonikError as error:
            raise SlonikError(str(error).replace(f"row {number}", where, 1)) from None
        named = row.get("idx", row.get("id")) if isinstance(row, dict) else None
        return named, texts

    def answer(self, given: Sequence[tuple[Any, Any]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row, with `probabilities` all that an answer says."""
        made: list[dict[str, Any]] = []
        for start in range(0, len(given), self._batch):
            some = given[start : start + self._batch]
            found = self._model.predict([texts for _, texts in some], long_texts=self._long_texts)
            for (number, _), one in zip(some, found, strict=True):
                numbered = {} if number is None else {"idx": number}
                made.append(numbered | (dict(one.row) if probabilities else {"label": one.label}))
        return made


class OnnxAnswerer:
    """An exported model with a head behind `slonik.finetuning.learner.TaskAnswerer`."""

    def __init__(self, model: OnnxTaskModel) -> None:
        self.model = model

    @property
    def config(self) -> TaskConfig:
        return self.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def max_length(self) -> int:
        return self.model.max_length

    def answer(self, items: Sequence[Item], *, batch_texts: int = 64) -> list[Any]:
        """Probabilities of each item (numbers as they are); the runtime batches by tokens."""
        found = self.model.run([self.model.pairs.fields(item.input) for item in items])
        heat = temperature_of(self.config)
        return [probabilities(values, self.config.target, heat) for values in found]

    def save(self, folder: Path, passport: Passport) -> None:
        """Exported files are written by an export alone.

        Raises:
            SlonikError: always.
        """
        raise SlonikError(f"{self.model.name} is exported: save the checkpoint that it was made from")
