"""The user's own data as a task: classification, several labels, pairs, regression, span answers, text to text.

One reading, one split, one spelling of labels, one set of metrics and baselines, one form of predictions, whatever
learns. Measured is the validation file, or a held-out share of the training file; nothing is chosen on either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.data.labelled import Question, parse_question
from slonik.evaluation.statistics import Mean, Statistic, value_of
from slonik.finetuning.config import FinetuneRecipe, OwnData
from slonik.finetuning.items import Asked, Item, split_items
from slonik.finetuning.learner import Learner, TaskAnswerer
from slonik.finetuning.metrics import baseline_answers, metrics_of
from slonik.finetuning.rows import Rows, read_asked, read_labelled, row_place
from slonik.finetuning.spans import answer_scores, best_answers, question_items
from slonik.finetuning.tasks import pair_input
from slonik.finetuning.training import Answers, Fold, TaskData
from slonik.text.answer_spans import FoundSpan, span_line
from slonik.text.answers import answer_line
from slonik.text.pairs import PairTokenizer, TaskInput
from slonik.text.task_config import TaskConfig
from slonik.text.tokenizing import content_ids

LENGTHS = {"classification": 128, "multilabel": 128, "pair": 192, "regression": 192, "qa": 384, "text2text": 512}
IN_WORDS = ("text2text", "classification", "pair")
TARGETS = {"multilabel": "multi", "regression": "number", "qa": "answer", "text2text": "text"}
FEWEST = 10
FEWEST_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class OwnTask:
    """The user's data as items.

    Attributes:
        config: the task model to make.
        fit, measured: items. split: name of the measured ones.
    """

    config: TaskConfig
    fit: list[Item]
    measured: list[Item]
    split: str

    def data(self) -> TaskData:
        return TaskData(self.config.task, self.config, [Fold(self.fit, {self.split: self.measured})], self.score)

    def score(self, items: Sequence[Item], found: Sequence[Any]) -> float:
        """The first metric of fitting items."""
        values = metrics_of(items, found, self.config)
        return value_of(values[next(iter(values))])

    def metrics(self, answers: Answers) -> dict[str, Statistic]:
        return metrics_of(self.measured, [answers[item.key] for item in self.measured], self.config)

    def baselines(self) -> dict[str, dict[str, Statistic]]:
        """Name of a baseline -> its metrics of the measured items."""
        found = baseline_answers(self.fit, self.measured, self.config)
        return {name: metrics_of(self.measured, answers, self.config) for name, answers in found.items()}

    def lines(self, answers: Answers) -> list[dict[str, Any]]:
        return [{"idx": item.key, **answer_line(self.config, answers[item.key])} for item in self.measured]


@dataclass(frozen=True)
class SpanTask(OwnTask):
    """Questions as items, one per window of their text.

    Attributes:
        fit_questions, questions: those of the fitting and of the measured items.
        keys: rows of the latter in their file.
        tokenizer: of the learner.
    """

    fit_questions: Sequence[Question]
    questions: Sequence[Question]
    keys: Sequence[int]
    tokenizer: PairTokenizer

    def score(self, items: Sequence[Item], found: Sequence[Any]) -> float:
        """F1 of fitting questions."""
        return float(np.mean(answer_scores(self.fit_questions, self._best(self.fit_questions, items, found))["f1"]))

    def metrics(self, answers: Answers) -> dict[str, Statistic]:
        """F1 and exact match of the measured questions."""
        scores = answer_scores(self.questions, self._found(answers))
        return {name: Mean(values) for name, values in scores.items()}

    def baselines(self) -> dict[str, dict[str, Statistic]]:
        """None: no span is the usual one."""
        return {}

    def lines(self, answers: Answers) -> list[dict[str, Any]]:
        return [{"idx": self.keys[number], **span_line(one)} for number, one in sorted(self._found(answers).items())]

    def _found(self, answers: Answers) -> dict[int, FoundSpan]:
        return self._best(self.questions, self.measured, [answers[item.key] for item in self.measured])

    def _best(self, questions: Sequence[Question], items: Sequence[Item], found: Sequence[Any]) -> dict[int, FoundSpan]:
        unanswerable = bool(self.config.details["unanswerable"])
        return best_answers(questions, items, found, self.tokenizer, unanswerable=unanswerable)


def read_own(recipe: FinetuneRecipe, own: OwnData, learner: Learner, train: Rows, valid: Rows | None) -> OwnTask:
    """The user's data as items with the configuration of their task model.

    Args:
        train, valid: rows to read, files or in memory.

    Raises:
        SlonikError: files or columns that are not there, labels that do not fit, too few rows, a kind that the model
            cannot learn.
    """
    if learner.in_words and own.kind not in IN_WORDS:
        raise SlonikError(f"models that answer in words take text2text, classification or pair, not {own.kind}")
    if own.kind == "text2text" and not learner.in_words:
        raise SlonikError(f"{recipe.model} is an encoder: text2text needs T5 or a decoder")
    if own.kind == "qa":
        return _span_task(recipe, own, learner, train, valid)
    if not 1 <= len(own.text_columns) <= 2 or (own.kind == "pair" and len(own.text_columns) != 2):
        raise SlonikError(f"{own.kind} takes {'two text columns' if own.kind == 'pair' else 'one or two text columns'}")
    columns = (*own.text_columns, own.label_column)
    rows = read_labelled(train, columns)
    measured_rows = [] if valid is None else read_labelled(valid, columns)
    labels, scale = _labels(own, rows), None
    if own.kind == "regression":
        numbers = [_number(row[own.label_column], row_place(own.train, n)) for n, row in enumerate(rows)]
        scale = (float(np.mean(numbers)), float(np.std(numbers)) or 1.0)
    config = _config(recipe, own, labels, scale)
    items = [own_item(row, n, config, row_place(own.train, n)) for n, row in enumerate(rows)]
    given = [own_item(row, n, config, row_place(str(own.valid), n)) for n, row in enumerate(measured_rows)]
    fit, measured, split = _split(recipe, items, given)
    if own.kind == "text2text":
        tokens = recipe.answer_tokens or _longest([str(item.label) for item in fit], learner)
        config = config.model_copy(update={"details": {"answer_tokens": tokens}})
    return OwnTask(config, fit, measured, split)


def own_item(row: Mapping[str, Any], number: int, config: TaskConfig, where: str, *, labelled: bool = True) -> Item:
    """A row as an item, for encoders and in words; `where` begins the sentence of an error.

    Raises:
        SlonikError: a label that the task does not have, a column that is missing or no text.
    """
    texts = [_text(row, column, where) for column in config.columns["text"]]
    given = pair_input(texts[0], texts[1], config.pairs) if len(texts) == 2 else TaskInput(((texts[0],),))
    label = _label_of(row.get(config.columns["label"]), where, config) if labelled else None
    asked = None
    if config.target == "text":
        asked = Asked("\n".join(texts), () if label is None else (label,), None if label is None else 0, free=True)
    elif config.target == "single":
        asked = Asked("\n".join(texts), config.labels, label)
    return Item(number, given, label, texts[0], asked)


def read_row(row: Mapping[str, Any], config: TaskConfig, where: str) -> Any:
    """A row without its label, for `answer_rows`.

    Raises:
        SlonikError: a column that is missing or no text; `where` begins the sentence.
    """
    if config.target == "answer":
        return parse_question({**row, "answers": []}, "", where)
    return own_item(row, 0, config, where, labelled=False)


def answer_rows(model: TaskAnswerer, given: Sequence[Any], batch_texts: int) -> list[dict[str, Any]]:
    """`{"label": ...}` per row that `read_row` read, with its probabilities where it has some."""
    config = model.config
    if config.target != "answer":
        return [answer_line(config, values) for values in model.answer(given, batch_texts=batch_texts)]
    items = question_items(given, model.tokenizer, model.max_length)
    found = model.answer(items, batch_texts=batch_texts)
    unanswerable = bool(config.details.get("unanswerable"))
    tokenizer = PairTokenizer(model.tokenizer, model.max_length)
    best = best_answers(given, items, found, tokenizer, unanswerable=unanswerable)
    return [span_line(best[number]) for number in range(len(given))]


def label_text(value: Any) -> str:
    """A label as text: true and 1 keep their JSON spelling."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def label_list(value: Any) -> list[str]:
    """Labels of a multi-label row: a JSON list, or a text with ";" between them."""
    if isinstance(value, list):
        return [label_text(one) for one in value]
    return [part.strip() for part in str(value).split(";") if part.strip()]


def _split(recipe: FinetuneRecipe, items: list[Item], valid: list[Item]) -> tuple[list[Item], list[Item], str]:
    """Fitting items, measured ones, and the name of these."""
    if recipe.train and len(items) < FEWEST:
        raise SlonikError(f"{len(items)} training rows are too few: give at least {FEWEST}")
    if valid:
        return items, valid, "valid"
    out, kept = split_items(items, [recipe.held_out, 1 - recipe.held_out], recipe.seed)
    if not len(out) or not len(kept):
        raise SlonikError("the training rows are all of one text: they cannot be split; give --valid")
    return [items[n] for n in kept], [items[n] for n in out], "held_out"


def _config(
    recipe: FinetuneRecipe, own: OwnData, labels: tuple[str, ...], scale: tuple[float, float] | None
) -> TaskConfig:
    two = len(own.text_columns) == 2
    return TaskConfig(
        kind="answer" if own.kind == "qa" else "pair" if two else "sequence",
        task=own.name,
        target=TARGETS.get(own.kind, "single"),  # type: ignore[arg-type]
        labels=labels,
        max_length=recipe.tuning.max_length or LENGTHS[own.kind],
        pairs=recipe.tuning.pairs or "joint",
        columns={"text": list(own.text_columns), "label": own.label_column},
        scale=scale,
    )


def _labels(own: OwnData, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if own.kind in ("regression", "text2text"):
        return ()
    values = [row[own.label_column] for row in rows]
    several = own.kind == "multilabel"
    names = {name for value in values for name in (label_list(value) if several else [label_text(value)])}
    if len(names) < (1 if several else 2):
        raise SlonikError(f"the column {own.label_column!r} has {len(names)} labels: at least 2 are needed")
    return tuple(sorted(names))


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise SlonikError(f"{where}: the column {column!r} is missing or not a text")
    return value


def _label_of(value: Any, where: str, config: TaskConfig) -> Any:
    if config.target == "text":
        return label_text(value)
    if config.target == "number":
        mean, deviation = config.scale or (0.0, 1.0)
        return (_number(value, where) - mean) / deviation
    names = label_list(value) if config.target == "multi" else [label_text(value)]
    unknown = [name for name in names if name not in config.labels]
    if unknown:
        raise SlonikError(f"{where}: the label {unknown[0]!r} is not in the training file ({', '.join(config.labels)})")
    if config.target == "multi":
        return [float(name in names) for name in config.labels]
    return config.labels.index(names[0])


def _number(value: Any, where: str) -> float:
    try:
        found = float(str(value).replace(",", "."))
    except ValueError:
        found = float("nan")
    if not np.isfinite(found):
        raise SlonikError(f"{where}: the label {value!r} is not a number: regression needs numbers")
    return found


def _longest(answers: Sequence[str], learner: Learner) -> int:
    """Tokens of the longest answer with its end, at least 64."""
    longest = max(len(ids) for ids in content_ids(learner.tokenizer, answers))
    return max(FEWEST_ANSWER_TOKENS, longest + 1)


def _span_task(recipe: FinetuneRecipe, own: OwnData, learner: Learner, train: Rows, valid: Rows | None) -> SpanTask:
    asked = read_asked(train)
    config = _config(recipe, own, (), None)
    details = {"unanswerable": any(not one.answers for one in asked)}
    config = config.model_copy(
        update={"details": details, "columns": {"text": ["question", "context"], "label": "answers"}}
    )
    others = [] if valid is None else read_asked(valid)
    by_text, given = _by_text(asked), _by_text(others)
    fitting, measuring, split = _split(recipe, by_text, given)
    fit = [asked[int(item.key)] for item in fitting]
    keys = [int(item.key) for item in measuring]
    measured = [(others or asked)[key] for key in keys]
    length = min(config.max_length, learner.max_length)
    windows = [question_items(part, learner.tokenizer, length) for part in (fit, measured)]
    return SpanTask(
        config, windows[0], windows[1], split, fit, measured, keys, PairTokenizer(learner.tokenizer, length)
    )


def _by_text(questions: Sequence[Question]) -> list[Item]:
    """Questions for splitting: those of one text stay together."""
    return [Item(n, TaskInput(((one.context,),)), None, one.context) for n, one in enumerate(questions)]
