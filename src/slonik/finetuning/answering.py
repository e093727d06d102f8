"""Task models and models that answer in words behind `slonik predict`: what their rows need and what they say.

Needs torch, unlike `finetune_predict`, which opens baselines without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.data.labelled import parse_question
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.finetuning.answers import best_answers, question_items
from slonik.finetuning.outputs import answer, tokenizer_of
from slonik.finetuning.own import own_item
from slonik.finetuning.predict import AnswerExamples, Row, rounded
from slonik.finetuning.prompts import Asked, ask
from slonik.finetuning.tasks import answers_of, items_of
from slonik.finetuning.text import answer_text
from slonik.models.task_config import TaskConfig
from slonik.models.task_model import TaskModel
from slonik.models.text_model import TextModel


def model_answerer(model: TaskModel, task: str, batch_size: int) -> AnswerExamples:
    """A task model as a function from official examples to predictions."""

    def answered(examples: Sequence[Example]) -> list[Prediction]:
        items = items_of(task, examples, model.config.pairs)
        return answers_of(task, examples, answer(model, items, batch_texts=batch_size))

    return answered


def words_answerer(model: TextModel, task: str, config: TaskConfig | None, batch_size: int) -> AnswerExamples:
    """A model that answers in words as a function from official examples to predictions."""
    details = config.details if config is not None else {}

    def answered(examples: Sequence[Example]) -> list[Prediction]:
        asked = [ask(task, one, plain=details.get("prompts", "plain") == "plain") for one in examples]
        found = answer_text(model, asked, trained=bool(details.get("trained")), batch_texts=batch_size)
        return answers_of(task, examples, found)

    return answered


class OwnPredictor:
    """The user's own labels or numbers: rows with the training file's text columns in."""

    def __init__(self, model: TaskModel, batch_size: int) -> None:
        self._model, self._batch = model, batch_size

    def read(self, row: Row, where: str) -> tuple[Any, Any]:
        """The row's number (its `idx` or `id`, if it has one) and its texts."""
        return row_number(row), own_item(row, 0, self._model.config, where, labelled=False)

    def answer(self, given: Sequence[tuple[Any, Any]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row: a label, a list of labels (each above one half), or a number."""
        config = self._model.config
        found = answer(self._model, [item for _, item in given], batch_texts=self._batch)
        made = []
        for (number, _), values in zip(given, found, strict=True):
            line: dict[str, Any] = {} if number is None else {"idx": number}
            if config.target == "number":
                mean, deviation = config.scale or (0.0, 1.0)
                made.append({**line, "label": float(np.ravel(values)[0]) * deviation + mean})
                continue
            if config.target == "multi":
                line["label"] = [name for name, value in zip(config.labels, values, strict=True) if value > 0.5]
            else:
                line["label"] = config.labels[int(np.argmax(values))]
            if probabilities:
                line["probabilities"] = rounded(dict(zip(config.labels, map(float, values), strict=True)))
            made.append(line)
        return made


class QuestionPredictor:
    """Span question answering: rows with `context` and `question` in."""

    def __init__(self, model: TaskModel, batch_size: int) -> None:
        self._model, self._batch = model, batch_size

    def read(self, row: Row, where: str) -> tuple[Any, Any]:
        """The row's number and its question."""
        return row_number(row), parse_question({**row, "answers": []}, "", where)

    def answer(self, given: Sequence[tuple[Any, Any]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row, the label being a piece of the context ("" where it has no answer)."""
        model = self._model
        items = question_items([asked for _, asked in given], model.encoder.tokenizer, model.max_length)
        found = answer(model, items, batch_texts=self._batch)
        unanswerable = bool(model.config.details.get("unanswerable"))
        best = best_answers(items, found, tokenizer_of(model), unanswerable=unanswerable)
        made = []
        for place, (number, _) in enumerate(given):
            line = {} if number is None else {"idx": number}
            line |= {"label": best[place].text}
            made.append(line | ({"probability": round(best[place].probability, 6)} if probabilities else {}))
        return made


class WordsPredictor:
    """The user's own text to text: the training file's text columns in, words (or one of the labels) out."""

    def __init__(self, model: TextModel, config: TaskConfig, batch_size: int) -> None:
        self._model, self._config, self._batch = model, config, batch_size

    def read(self, row: Row, where: str) -> tuple[Any, str]:
        """The row's number and its prompt."""
        columns = self._config.columns["text"]
        missing = [name for name in columns if not isinstance(row.get(name), str)]
        if missing:
            raise SlonikError(f"{where}: the column {missing[0]!r} is missing or not a text")
        return row_number(row), "\n".join(str(row[name]) for name in columns)

    def answer(self, given: Sequence[tuple[Any, str]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row."""
        labels = tuple(self._config.details.get("answers") or ())
        prompts = [prompt for _, prompt in given]
        if not labels:
            words = self._model.generate(prompts, batch_texts=self._batch)
            return [_numbered(n, {"label": text}) for (n, _), text in zip(given, words, strict=True)]
        asked = [Asked(prompt, labels, None) for prompt in prompts]
        found = answer_text(self._model, asked, trained=True, batch_texts=self._batch)
        made = []
        for (number, _), values in zip(given, found, strict=True):
            line = {"label": labels[int(np.argmax(values))]}
            extra = {"probabilities": rounded(dict(zip(labels, map(float, values), strict=True)))}
            made.append(_numbered(number, {**line, **(extra if probabilities else {})}))
        return made


def _numbered(number: Any, line: dict[str, Any]) -> dict[str, Any]:
    return line if number is None else {"idx": number, **line}


def row_number(row: Row) -> Any:
    """The row's own number: `idx`, else `id`, else None."""
    return row.get("idx", row.get("id"))
