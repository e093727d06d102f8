"""The user's own data as a task: classification, several labels, pairs, regression, span answers, text to text.

One split, one set of metrics and baselines, one form of predictions, whatever learns; how a row is read is in
`own_rows`. Measured is the validation file, or a held-out share of the training file; nothing is chosen on either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from slonik.core.errors import SlonikError
from slonik.data.labelled import Question
from slonik.evaluation.statistics import Mean, Statistic, value_of
from slonik.finetuning.config import FinetuneRecipe, OwnData
from slonik.finetuning.data_check import Finding, canonical_labels, check_rows, rare_labels
from slonik.finetuning.data_check import named as _named
from slonik.finetuning.items import RARE, Item, fold_items, split_items
from slonik.finetuning.learner import Learner, TaskAnswerer
from slonik.finetuning.metrics import baseline_answers, calibration_error, metric_names, metrics_of
from slonik.finetuning.own_rows import (
    PROMPTS,
    checked_rows,
    comma_warning,
    label_names,
    label_number,
    labelled_rows,
    own_item,
    right_label,
)
from slonik.finetuning.rows import Rows, read_asked, row_place
from slonik.finetuning.spans import answer_scores, best_answers, question_items
from slonik.finetuning.training import Answers, Fold, TaskData
from slonik.reporting.formatting import lower_is_better
from slonik.text.answer_spans import FoundSpan, span_line
from slonik.text.answers import TEMPERATURE, THRESHOLDS, answer_line
from slonik.text.pairs import PairTokenizer, TaskInput
from slonik.text.task_config import TaskConfig
from slonik.text.tokenizing import content_ids

LENGTHS = {"classification": 128, "multilabel": 128, "pair": 192, "regression": 192, "qa": 384, "text2text": 512}
IN_WORDS = ("text2text", "classification", "pair")
_INSTEAD = {
    "multilabel": "write a row's labels as one text ('цена; доставка') and give --kind text2text",
    "regression": "give --kind text2text (numbers are written as texts), or classification where there are few of them",
    "qa": "give --kind text2text with questions and contexts as the two text columns and the answer as the label",
}
"""Kind -> what whoever has a T5 or a decoder can do instead."""
TARGETS = {"multilabel": "multi", "regression": "number", "qa": "answer", "text2text": "text"}
FEWEST = 8
FEWEST_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class OwnTask:
    """The user's data as items.

    Attributes:
        config: the task model to make.
        fit, measured: items. split: name of the measured ones.
        findings: what is dirty in the rows.
        warnings: what the user must know of the split.
        folds: of cross-validation, each with what it measures of `measured`; empty: one training.
    """

    config: TaskConfig
    fit: list[Item]
    measured: list[Item]
    split: str
    findings: tuple[Finding, ...] = field(default=(), kw_only=True)
    warnings: tuple[str, ...] = field(default=(), kw_only=True)
    folds: tuple[Fold, ...] = field(default=(), kw_only=True)

    def data(self) -> TaskData:
        folds = self.folds or (Fold(self.fit, {self.split: self.measured}),)
        return TaskData(self.config.task, self.config, folds, self.score, metrics=metric_names(self.config))

    def settled(self, configs: Sequence[TaskConfig]) -> Self:
        """The same with what was chosen after training, for models of several folds or seeds the mean."""
        details: dict[str, Any] = {}
        chosen = [config.details[THRESHOLDS] for config in configs if THRESHOLDS in config.details]
        if chosen:
            details[THRESHOLDS] = {name: float(np.mean([one[name] for one in chosen])) for name in chosen[0]}
        heats = [config.details[TEMPERATURE] for config in configs if TEMPERATURE in config.details]
        if heats:
            details[TEMPERATURE] = float(np.mean(heats))
        return replace(self, config=self.config.model_copy(update={"details": {**self.config.details, **details}}))

    def score(self, items: Sequence[Item], found: Sequence[Any], metric: str | None = None) -> float:
        """A metric of fitting items, of an error its negative; None: the first one."""
        values = metrics_of(items, found, self.config)
        name = next(iter(values)) if metric is None else metric
        return -value_of(values[name]) if lower_is_better(name) else value_of(values[name])

    def metrics(self, answers: Answers, raw: Answers | None = None) -> dict[str, Statistic]:
        """Those of the measured items; of a calibrated model its calibration error, and that of its `raw` answers."""
        found = [answers[item.key] for item in self.measured]
        metrics = metrics_of(self.measured, found, self.config)
        if TEMPERATURE in self.config.details:
            metrics["ece"] = calibration_error(self.measured, found, self.config)
        if raw is not None:
            before = [raw[item.key] for item in self.measured]
            metrics["ece_before"] = calibration_error(self.measured, before, self.config)
        return metrics

    def baselines(self) -> dict[str, dict[str, Statistic]]:
        """Name of a baseline -> its metrics of the measured items."""
        answers: dict[str, Answers] = {}
        for fold in self.folds or (Fold(self.fit, {self.split: self.measured}),):
            measured = fold.measured[self.split]
            for name, found in baseline_answers(fold.fit, measured, self.config).items():
                answers.setdefault(name, {}).update(zip([item.key for item in measured], found, strict=True))
        return {name: self.metrics(found) for name, found in answers.items() if len(found) == len(self.measured)}

    def lines(self, answers: Answers) -> list[dict[str, Any]]:
        """As `slonik predict` writes them, with the right label, for ensembles and for reading."""
        return [
            {"idx": item.key, **answer_line(self.config, answers[item.key]), "right": right_label(item, self.config)}
            for item in self.measured
        ]


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

    def score(self, items: Sequence[Item], found: Sequence[Any], metric: str | None = None) -> float:
        """F1 (or the exact match) of fitting questions."""
        scores = answer_scores(self.fit_questions, self._best(self.fit_questions, items, found))
        return float(np.mean(scores[metric or "f1"]))

    def metrics(self, answers: Answers, raw: Answers | None = None) -> dict[str, Statistic]:
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
        raise SlonikError(
            f"models that answer in words take {', '.join(IN_WORDS)}, not {own.kind}: {_INSTEAD[own.kind]}, or take an "
            "encoder"
        )
    if own.prompts and not learner.in_words:
        raise SlonikError(f"{recipe.model} is an encoder, which is not asked by prompts: leave out --prompt")
    if own.kind == "text2text" and not learner.in_words:
        raise SlonikError(f"{recipe.model} is an encoder: text2text needs T5 or a decoder")
    if own.kind == "qa":
        return _span_task(recipe, own, learner, train, valid)
    if not 1 <= len(own.text_columns) <= 2 or (own.kind == "pair" and len(own.text_columns) != 2):
        raise SlonikError(f"{own.kind} takes {'two text columns' if own.kind == 'pair' else 'one or two text columns'}")
    rows, warnings = _read(own, train, own.train)
    measured_rows, more = ({}, []) if valid is None else _read(own, valid, str(own.valid))
    spelled = canonical_labels(
        [name for row in (*rows.values(), *measured_rows.values()) for name in label_names(own, row[own.label_column])]
    )
    labels, scale = _labels(own, rows.values(), spelled), None
    if own.kind == "regression":
        numbers = [label_number(row[own.label_column], row_place(own.train, n)) for n, row in rows.items()]
        scale = (float(np.mean(numbers)), float(np.std(numbers)) or 1.0)
        for part, name in ((rows, own.train), (measured_rows, own.valid)):
            warnings = [*warnings, *comma_warning((row[own.label_column] for row in part.values()), str(name))]
    config = _config(recipe, own, labels, scale)
    items = [own_item(row, n, config, row_place(own.train, n), group=own.group_column) for n, row in rows.items()]
    given = [own_item(row, n, config, row_place(str(own.valid), n)) for n, row in measured_rows.items()]
    findings = check_rows(
        checked_rows(own, rows, own.train), checked_rows(own, measured_rows, str(own.valid)) if measured_rows else None,
        spelled=spelled, too_long=learner.too_long(config),
    )  # fmt: skip
    folds: tuple[Fold, ...] = ()
    if "folds" in recipe.model_fields_set:
        fit, measured, split, rare, folds = _cross_validation(recipe, items, given)
    else:
        fit, measured, split, rare = _split(recipe, items, given)
    if own.kind == "text2text":
        tokens = recipe.answer_tokens or _longest([str(item.label) for item in fit], learner)
        config = config.model_copy(update={"details": {**config.details, "answer_tokens": tokens}})
    told = (*warnings, *more, *rare)
    return OwnTask(config, fit, measured, split, findings=tuple(findings), warnings=told, folds=folds)


def _read(own: OwnData, source: Rows, name: str) -> tuple[dict[int, dict[str, Any]], list[str]]:
    group = [] if own.group_column is None else [own.group_column]
    return labelled_rows(
        source, name, own.text_columns, own.label_column, several=own.kind == "multilabel", more=group,
        unlabelled=own.unlabelled,
    )  # fmt: skip


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


def _split(
    recipe: FinetuneRecipe, items: list[Item], valid: list[Item]
) -> tuple[list[Item], list[Item], str, list[str]]:
    """Fitting items, measured ones, the name of these, and a warning that names rare labels.

    Raises:
        SlonikError: too few rows, or none that can be held out.
    """
    if recipe.train and len(items) < FEWEST:
        raise SlonikError(f"{len(items)} training rows are too few: give at least {FEWEST}")
    rare = rare_labels([_labels_of(item) for item in items], RARE)
    if valid:
        told = f"{len(rare)} labels have {RARE} rows or fewer, too few to learn them well: {_named(rare)}"
        return items, valid, "valid", [told] if rare else []
    out, kept = split_items(items, [recipe.held_out, 1 - recipe.held_out], recipe.seed, learned=1)
    if not len(out) or not len(kept):
        if len({item.group for item in items}) == 1:
            raise SlonikError("the training rows are all of one text or group: they cannot be split; give --valid")
        raise SlonikError(
            f"nothing can be held out to measure on: every label has {RARE} rows or fewer, or rows of one text or "
            f"group alone, and a label must be learned before it is measured ({_named(rare)}): give --valid FILE, or "
            "more rows"
        )
    told = (
        f"{len(rare)} labels have {RARE} rows or fewer: all these rows are learned from and none is measured, so that "
        f"the figures say nothing of them: {_named(rare)}"
    )
    return [items[n] for n in kept], [items[n] for n in out], "held_out", [told] if rare else []


def _cross_validation(
    recipe: FinetuneRecipe, items: list[Item], valid: list[Item]
) -> tuple[list[Item], list[Item], str, list[str], tuple[Fold, ...]]:
    """As `_split` gives them, with the folds: every row is measured once, by a model that has not seen it.

    Raises:
        SlonikError: rows to measure on are given too, or there are too few.
    """
    if valid:
        raise SlonikError("--folds measures every training row once, and --valid measures others: give one of them")
    if not recipe.train:
        raise SlonikError("--folds is for training: a model that is asked as it is learns nothing")
    kept, parts = fold_items(items, recipe.folds, recipe.seed)
    if not parts or min(map(len, parts)) == 0 or len(items) - max(map(len, parts)) < FEWEST:
        raise SlonikError(f"{len(items)} rows do not make {recipe.folds} folds: give more rows, or a smaller --folds")
    split = f"folds{recipe.folds}"
    always = [items[n] for n in kept]
    folds = []
    for part in parts:
        inside = set(part.tolist())
        fit = [item for n, item in enumerate(items) if n not in inside]
        folds.append(Fold(fit, {split: [items[n] for n in part]}))
    measured = [items[n] for n in sorted(n for part in parts for n in part.tolist())]
    rare = rare_labels([_labels_of(item) for item in items], RARE)
    told = (
        f"{len(always)} rows are learned from in every fold and never measured: labels of {RARE} rows or fewer, or of "
        f"one text or group alone: {_named(rare)}"
    )
    return items, measured, split, [told] if always else [], tuple(folds)


def _labels_of(item: Item) -> tuple[str, ...]:
    """Names of an item's labels."""
    if item.names or item.asked is None or item.asked.free or not isinstance(item.label, int):
        return item.names
    return (item.asked.answers[item.label],)


def _config(
    recipe: FinetuneRecipe, own: OwnData, labels: tuple[str, ...], scale: tuple[float, float] | None
) -> TaskConfig:
    two = len(own.text_columns) == 2
    if own.prompts and own.kind not in IN_WORDS:
        raise SlonikError(f"own.prompts are for models that answer in words, and {own.kind} is not asked so")
    return TaskConfig(
        details={PROMPTS: list(own.prompts)} if own.prompts else {},
        kind="answer" if own.kind == "qa" else "pair" if two else "sequence",
        task=own.name,
        target=TARGETS.get(own.kind, "single"),  # type: ignore[arg-type]
        labels=labels,
        max_length=recipe.tuning.max_length or LENGTHS[own.kind],
        pairs=recipe.tuning.pairs or "joint",
        columns={"text": list(own.text_columns), "label": own.label_column},
        scale=scale,
    )


def _labels(own: OwnData, rows: Iterable[Mapping[str, Any]], spelled: Mapping[str, str]) -> tuple[str, ...]:
    if own.kind in ("regression", "text2text"):
        return ()
    names = {spelled[name] for row in rows for name in label_names(own, row[own.label_column])}
    if len(names) < (1 if own.kind == "multilabel" else 2):
        only = f" ({next(iter(names))!r})" if names else ""
        raise SlonikError(f"the column {own.label_column!r} has {len(names)} labels{only}: at least 2 are needed")
    return tuple(sorted(names))


def _longest(answers: Sequence[str], learner: Learner) -> int:
    """Tokens of the longest answer with its end, at least 64."""
    longest = max(len(ids) for ids in content_ids(learner.tokenizer, answers))
    return max(FEWEST_ANSWER_TOKENS, longest + 1)


def _span_task(recipe: FinetuneRecipe, own: OwnData, learner: Learner, train: Rows, valid: Rows | None) -> SpanTask:
    if "folds" in recipe.model_fields_set:
        raise SlonikError("--folds is not for questions (qa): give --valid, or let a share be held out")
    asked = read_asked(train)
    config = _config(recipe, own, (), None)
    details = {"unanswerable": any(not one.answers for one in asked)}
    config = config.model_copy(
        update={"details": details, "columns": {"text": ["question", "context"], "label": "answers"}}
    )
    others = [] if valid is None else read_asked(valid)
    by_text, given = _by_text(asked), _by_text(others)
    fitting, measuring, split, _ = _split(recipe, by_text, given)
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
