"""Apply a fine-tuned model, a baseline, or a model that answers as it is: rows in, answers out.

Used by `slonik predict` (lines of JSON, any number, in constant memory) and by `evaluate russian-superglue`. Nothing
is trained here but baselines, which are fitted to the data that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.lookup import lookup, unknown_name
from slonik.data.labelled import parse_question
from slonik.evaluate.russian_superglue.baselines import BASELINES, fit
from slonik.evaluate.russian_superglue.examples import Example
from slonik.evaluate.russian_superglue.parts import Part, find_part
from slonik.evaluate.russian_superglue.predictions import Prediction
from slonik.evaluate.russian_superglue.readers import parse_row, read_examples
from slonik.evaluate.russian_superglue.submission import official_rows
from slonik.evaluate.russian_superglue.tasks import TASKS
from slonik.models.task_config import FILE_NAME, TaskConfig
from slonik.models.task_model import TaskModel, load_task_model
from slonik.models.text_model import TextModel, answers_in_words, load_text_model
from slonik.recipes.finetune_answers import best_answers, question_items
from slonik.recipes.finetune_outputs import answer, tokenizer_of
from slonik.recipes.finetune_own import own_item
from slonik.recipes.finetune_tasks import answers_of, items_of
from slonik.recipes.finetune_text import answer_text
from slonik.recipes.prompts import Asked, ask

Row = Mapping[str, Any]
AnswerExamples = Callable[[Sequence[Example]], list[Prediction]]


class Predictor(Protocol):
    """Rows of one task to answers."""

    def read(self, row: Row, where: str) -> Any:
        """A row checked, ready to answer.

        Raises:
            SlonikError: a missing or wrong field; `where` names the line.
        """
        ...

    def answer(self, given: Sequence[Any], *, probabilities: bool) -> list[dict[str, Any]]:
        """One object per row, in their order."""
        ...


def open_predictor(
    task: str,
    model: str,
    *,
    batch_size: int = 32,
    train_data: Path | None = None,
    data_dir: Path | None = None,
    seed: int = 0,
) -> Predictor:
    """The predictor for a task and a MODEL: a task model's folder, a baseline's name, or a model that answers in words.

    Args:
        train_data: labelled file that a baseline is fitted to; without it, the task's training data in `data_dir`.

    Raises:
        SlonikError: no such task or model, or a model of another task.
    """
    if model in BASELINES and not Path(model).is_dir():
        examples = _training(task, model, train_data, data_dir)
        return OfficialPredictor(task, fit(model, lookup(task, TASKS, "task").id, examples, seed=seed))
    folder = task_folder(Path(model), task) if Path(model).is_dir() else None
    if folder is None:
        if not Path(model).is_dir() and "/" not in model and not model.startswith("embedded:"):
            raise SlonikError(f"there is no folder {model}; {unknown_name(model, list(BASELINES), 'baseline')}")
        found = models.resolve(model)
        if not answers_in_words(found):
            how = f"slonik finetune {model} --task {task}"
            raise SlonikError(f"{model} is an encoder without a head for {task}: make one with `{how}`")
        text = load_text_model(found)
        return OfficialPredictor(lookup(task, TASKS, "task").id, words_answerer(text, task, None, batch_size))
    config = TaskConfig.read(folder)
    check_task(config, task, folder)
    if config.kind == "text2text":
        text = load_text_model(folder)
        if task in TASKS:
            return OfficialPredictor(task, words_answerer(text, task, config, batch_size))
        return WordsPredictor(text, config, batch_size)
    loaded = load_task_model(folder)
    if task in TASKS:
        return OfficialPredictor(task, model_answerer(loaded, task, batch_size))
    return QuestionPredictor(loaded, batch_size) if config.target == "answer" else OwnPredictor(loaded, batch_size)


def answer_part(folder: Path, part: Part) -> list[Prediction]:
    """Answers of the task model in `folder` to the items of one part.

    Raises:
        SlonikError: a model of another task, or a damaged folder.
    """
    task, config = part.task.id, TaskConfig.read(folder)
    check_task(config, task, folder)
    if config.kind == "text2text":
        return words_answerer(load_text_model(folder), task, config, 32)(part.examples)
    return model_answerer(load_task_model(folder), task, 64)(part.examples)


def task_folder(folder: Path, task: str) -> Path | None:
    """The task model for `task` in a folder that is one, or that holds one per task; None where there is none."""
    names = [task, *([TASKS[task].train_on] if task in TASKS and TASKS[task].train_on else [])]
    for place in (folder, *(folder / str(name) for name in names)):
        if (place / FILE_NAME).is_file():
            return place
    return None


def check_task(config: TaskConfig, task: str, folder: Path) -> None:
    """Refuse a model of another task (LiDiRus is answered by TERRa's).

    Raises:
        SlonikError: it is one, or a tagger.
    """
    if config.kind == "tokens" or config.target == "tags":
        raise SlonikError(f"{folder} tags words: use `slonik tag {folder}`")
    allowed = {task, TASKS[task].train_on} if task in TASKS else {task}
    if config.task not in allowed:
        raise SlonikError(f"{folder} is a model for {config.task}, not for {task}: `slonik predict {config.task} ...`")


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


def _training(task: str, model: str, train_data: Path | None, data_dir: Path | None) -> list[Example]:
    from slonik.core.paths import data_dir as data_folder

    lookup(task, TASKS, "task")
    if train_data is not None:
        return read_examples(task, train_data)
    part = find_part(task, data_folder(data_dir))
    if part is not None and part.train is not None:
        return list(part.train)
    if task == "rucos" or (task == "muserc" and model == "tfidf"):
        return []
    raise SlonikError(f"the baseline {model} needs training data for {task}: give --train-data FILE or --data-dir DIR")


class OfficialPredictor:
    """A task of Russian SuperGLUE: official rows in, rows of a submission out."""

    def __init__(self, task: str, answerer: AnswerExamples) -> None:
        self._task, self._answerer = TASKS[task], answerer

    def read(self, row: Row, where: str) -> list[Example]:
        """The examples of an official row; its labels, where it has some, are not looked at."""
        return parse_row(self._task, dict(row), where)

    def answer(self, given: Sequence[list[Example]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row, MuSeRC nested as in a submission; with `probabilities` by label or entity."""
        flat = [example for row in given for example in row]
        # rows of different files may share numbers: answers are told apart by place
        renumbered = [Example(n, e.fields, None, (), e.cluster, e.group) for n, e in enumerate(flat)]
        found = self._answerer(renumbered)
        made, start = [], 0
        for row in given:
            answers = found[start : start + len(row)]
            rows = [Prediction(e.idx, a.label, a.probabilities) for e, a in zip(row, answers, strict=True)]
            start += len(row)
            made.append(self._line(row, rows, probabilities))
        return made

    def _line(self, row: Sequence[Example], answers: Sequence[Prediction], probabilities: bool) -> dict[str, Any]:
        line = official_rows(self._task, row, answers)[0]
        if not probabilities:
            return line
        if len(answers) == 1:
            return {**line, "probabilities": _rounded(answers[0].probabilities or {})}
        return {**line, "probabilities": {str(a.idx): _rounded(a.probabilities or {}) for a in answers}}


class OwnPredictor:
    """The user's own labels or numbers: rows with the training file's text columns in."""

    def __init__(self, model: TaskModel, batch_size: int) -> None:
        self._model, self._batch = model, batch_size

    def read(self, row: Row, where: str) -> tuple[Any, Any]:
        """The row's number (its `idx` or `id`, if it has one) and its texts."""
        try:
            return row_number(row), own_item(row, 0, self._model.config, labelled=False)
        except SlonikError as error:
            raise SlonikError(f"{where}: {str(error).removeprefix('row 0: ')}") from None

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
                line["probabilities"] = _rounded(dict(zip(config.labels, map(float, values), strict=True)))
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
            extra = {"probabilities": _rounded(dict(zip(labels, map(float, values), strict=True)))}
            made.append(_numbered(number, {**line, **(extra if probabilities else {})}))
        return made


def _numbered(number: Any, line: dict[str, Any]) -> dict[str, Any]:
    return line if number is None else {"idx": number, **line}


def row_number(row: Row) -> Any:
    """The row's own number: `idx`, else `id`, else None."""
    return row.get("idx", row.get("id"))


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in values.items()}
