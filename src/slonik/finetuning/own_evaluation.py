"""`slonik evaluate own`: models on the user's labelled rows, all on the same ones, with what they do wrong.

Metrics with intervals, paired differences, a table per label, who is taken for whom, and, for models that are to be
compared before any is trained, a learning curve of a linear head over vectors that stay as they are. Nothing is chosen
on these rows. The rows are read as fine-tuning reads them (`own_rows`), the page is `error_page`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.files import check_new_folder, write_text
from slonik.core.numbers import check_count, check_seed
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.evaluation.long_texts import told_cut
from slonik.evaluation.statistics import Array, interval, paired_difference, replicates, value_of
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, opened, several, teller
from slonik.finetuning.config import OwnKind
from slonik.finetuning.data_check import CheckedRows, check_rows, named
from slonik.finetuning.error_page import error_page
from slonik.finetuning.items import Item
from slonik.finetuning.language_model_learner import LanguageModelAnswerer
from slonik.finetuning.learner import TaskAnswerer
from slonik.finetuning.metrics import SHARES, baseline_answers, calibration_error, metrics_of
from slonik.finetuning.own import TARGETS
from slonik.finetuning.own_comparison import change_tables, with_mcnemar, write_answers
from slonik.finetuning.own_rows import comma_warning, known_label, label_list, label_text, labelled_rows, own_item
from slonik.finetuning.own_tables import (
    Answered,
    curve_lines,
    curve_records,
    curve_tables,
    label_tables,
    learning_curves,
    linear_answers,
)
from slonik.finetuning.predictors import load_answerer, task_folder
from slonik.finetuning.rows import Rows, row_place, rows_hash, rows_of, source_name
from slonik.models.kinds import kind_of, resolve
from slonik.reporting.plots import curve as curve_plot
from slonik.reporting.scores import difference_tables, score_tables
from slonik.text.answers import thresholds
from slonik.text.label_map import label_map
from slonik.text.pairs import PairTokenizer
from slonik.text.task_config import TaskConfig

SUITE = "own"
BASELINES = ("majority", "tfidf")


@dataclass(frozen=True, kw_only=True)
class OwnEvaluation(Evaluation):
    """What was found, and where the page of errors is.

    Attributes:
        page: of the errors; None where none was asked for.
    """

    page: Path | None = None


def evaluate_own(
    data: Rows,
    models: Any,
    *,
    train: Rows | None = None,
    kind: OwnKind | None = None,
    text_columns: str | Sequence[str] | None = None,
    label_column: str | None = None,
    name: str | None = None,
    curve: Sequence[int] = (),
    page: str | Path | None = None,
    predictions: str | Path | None = None,
    batch_size: int = 32,
    seed: int = 0,
    passport: bool = False,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> OwnEvaluation:
    """Measure models on labelled rows of one's own, the same for all.

    Args:
        data: labelled rows, as `finetune` takes them.
        models: one or several: models with a head or that answer in words (folders, hub ids, exported ones), "majority"
            and "tfidf", and, with `train`, encoders without a head, on whose vectors a logistic regression is fitted.
        train: labelled rows that baselines and such heads are fitted to.
        kind: of the task; None = that of the first model that has one, else classification.
        text_columns, label_column: where texts and labels are; None = those of the model, else text and label.
        name: of the task; None = the model's.
        curve: numbers of training rows at which encoders without a head and TF-IDF are fitted too.
        page: new HTML file with every row and what was answered.
        predictions: new folder for the answers of every model, which `board` holds against each other row by row.
        batch_size: rows that are answered together.
        seed: of the bootstrap, and of the rows that a learning curve draws.
        passport: add the records to the passport of a model that is a checkpoint.
        progress: show it on standard error. on_task: called with a model and the task instead.

    Raises:
        SlonikError: rows or columns that are not there, a model of another task or with other labels.
    """
    check_seed(seed)
    check_count("batch_size", batch_size)
    for size in curve:
        check_count("curve", size, least=2)
    started, tell = time.perf_counter(), teller(on_task, progress)
    given = [str(model) for model in several(models)]
    data, train = rows_of(data), rows_of(train)
    if predictions is not None:
        check_new_folder(predictions)
    if curve and train is None:
        raise SlonikError("a learning curve needs rows to learn from: give --train FILE")
    with shown(progress):
        taskers = {model: answerer for model in given if (answerer := _tasker(model)) is not None}
        config = _config(list(taskers.values()), kind, text_columns, label_column, name)
        rows, fit_rows = _labelled(data, config), [] if train is None else _labelled(train, config)
        config = _with_labels(config, [*rows, *fit_rows], list(taskers.values()))
        items = [own_item(row, n, config, row_place(data, n)) for n, row in enumerate(rows)]
        fit = [own_item(row, n, config, row_place(train, n)) for n, row in enumerate(fit_rows)]
        vectors = _Vectors([*fit, *items])
        found: list[Answered] = []
        for model in given:
            tell(model, config.task)
            found.append(_answered(model, taskers.get(model), items, fit, config, batch_size, vectors))
        if fit:
            names = {one.name for one in found}
            beside = baseline_answers(fit, items, config)
            found += [Answered(key, answers, config, True) for key, answers in beside.items() if key not in names]
        found = [_measured(one, items) for one in found]
        if curve and config.target != "single":
            raise SlonikError("a learning curve is of tasks with one label per row: leave --curve out")
        plain = [model for model in given if model not in taskers and model not in BASELINES] if curve else []
        curves = learning_curves({model: vectors.of(model) for model in plain}, items, fit, config, curve, seed)
    common = {"suite": SUITE, "task": config.task, "hashes": {"data": rows_hash(data)}, "seed": seed}
    records = [*with_mcnemar(list(_records(common, found, seed)), found, items), *curve_records(common, curves, seed)]
    warnings = [f"data: {one}" for one in _dirty(rows, config, source_name(data) or "the data")]
    if config.target == "number":
        numbers = [row[config.columns["label"]] for row in rows]
        warnings += comma_warning(numbers, source_name(data) or "the data")
    warnings += [*_never_given(taskers, items, config), *_cut_texts(taskers, items), *vectors.cut]
    if over := [size for size in curve if size > len(fit)]:
        warnings.append(f"learning curve: {max(over)} rows were asked for, and there are {len(fit)}: it ends there")
    if curve and taskers:
        warnings.append(
            f"learning curve: {', '.join(taskers)} learned before and "
            f"{'has' if len(taskers) == 1 else 'have'} none: it is of encoders without a head, and of TF-IDF"
        )
    for model in given if passport else []:
        warnings += add_to_passport(model, [one for one in records if one.model == model])
    tables = [*score_tables(records), *difference_tables(records), *change_tables(found, items, config)]
    tables += label_tables(found, items, config)
    tables += curve_tables(curves)
    place = None if page is None else Path(page)
    if place is not None:
        lines = {key: list(values.items()) for key, values in curve_lines(curves).items()}
        plot = curve_plot(lines, x_label="training rows") if lines else None
        write_text(
            place,
            error_page(config.task, items, rows, [(one.name, one.answers, one.config) for one in found], tables, plot),
        )
    if predictions is not None:
        write_answers(predictions, config.task, found, items)
    return OwnEvaluation(
        records=tuple(records), tables=tuple(tables), warnings=tuple(warnings), page=place,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _tasker(model: str) -> TaskAnswerer | None:
    """A model that answers; None for a baseline, or an encoder without a head.

    Raises:
        SlonikError: there is no such model.
    """
    if model in BASELINES and not Path(model).is_dir():
        return None
    kind = kind_of(model)
    folder = task_folder(kind.folder if kind.folder is not None else resolve(model), None)
    return None if folder is None else load_answerer(folder)


def _config(
    taskers: Sequence[TaskAnswerer],
    kind: OwnKind | None,
    texts: str | Sequence[str] | None,
    label: str | None,
    name: str | None,
) -> TaskConfig:
    """The task: that of the first model, under what the user says; its labels come later.

    Raises:
        SlonikError: models of different kinds of tasks, a kind that is not the models'.
    """
    own = taskers[0].config if taskers else TaskConfig(kind="sequence", target="number")
    target = TARGETS.get(kind, "single") if kind else own.target if taskers else "single"
    for one in taskers:
        if one.config.target != target:
            raise SlonikError(
                f"{one.config.task} gives a {one.config.target}, and a {target} is wanted here: measure models of one "
                "kind of task together"
            )
    if target in ("answer", "tags", "choice"):
        raise SlonikError(f"tasks that give a {target} are not measured here (taggers: slonik evaluate ner)")
    columns = own.columns.get("text") or ["text"]
    columns = [texts] if isinstance(texts, str) else list(texts) if texts else list(columns)
    return TaskConfig(
        kind="pair" if len(columns) == 2 else "sequence",
        task=name or (own.task if taskers else "custom"),
        target=target,  # type: ignore[arg-type]
        labels=("?",) if target in ("single", "multi") else (),
        columns={"text": columns, "label": label or own.columns.get("label") or "label"},
        scale=own.scale if target == "number" and taskers else None,
    )  # fmt: skip


def _labelled(source: Rows, config: TaskConfig) -> list[dict[str, Any]]:
    columns, several = config.columns, config.target == "multi"
    rows, _ = labelled_rows(
        source, source_name(source) or "the rows", columns["text"], columns["label"], several=several
    )
    return list(rows.values())


def _names(row: Mapping[str, Any], config: TaskConfig) -> list[str]:
    value = row[config.columns["label"]]
    return label_list(value) if config.target == "multi" else [label_text(value).strip()]


def _with_labels(config: TaskConfig, rows: Sequence[Mapping[str, Any]], taskers: Sequence[TaskAnswerer]) -> TaskConfig:
    """The task with the labels of the first model, else of the rows; labels that no model knows are added.

    Raises:
        SlonikError: no label of the rows is one that a model knows.
    """
    if config.target not in ("single", "multi"):
        return config
    known = taskers[0].config.labels if taskers else ()
    spelled = [known_label(name, known) for row in rows for name in _names(row, config)]
    more = sorted(set(spelled) - set(known))
    if known and not set(spelled) & set(known):
        raise SlonikError(
            f"no label of the rows ({', '.join(more[:5])}) is one that the model knows ({', '.join(known[:5])}): these "
            "are rows of another task, or --label-column is another"
        )
    return config.model_copy(update={"labels": (*known, *more)})


def _answered(
    model: str, tasker: TaskAnswerer | None, items: Sequence[Item], fit: Sequence[Item], config: TaskConfig, size: int,
    known: _Vectors,
) -> Answered:  # fmt: skip
    if tasker is not None:
        return _by_tasker(model, tasker, items, config, size)
    if not fit:
        raise SlonikError(f"{model} has to be fitted to labelled rows first: give --train FILE")
    if model in BASELINES and not Path(model).is_dir():
        found = baseline_answers(fit, items, config)
        if model not in found:
            raise SlonikError(
                f"{model} cannot be fitted to these rows (is scikit-learn installed, are there words in them?)"
            )
        return Answered(model, found[model], config, True)
    _only_labels(model, config)
    vectors = known.of(model)
    return Answered(model, linear_answers(vectors[: len(fit)], fit, vectors[len(fit) :], config), config)


def _by_tasker(model: str, tasker: TaskAnswerer, items: Sequence[Item], config: TaskConfig, size: int) -> Answered:
    """Answers of a task model, in the order of the task's labels and the units of its numbers."""
    own = tasker.config
    asked = [_asked_as(item, own, config) for item in items]
    found = tasker.answer(asked, batch_texts=size)
    if config.target == "number":
        mean, deviation = own.scale or (0.0, 1.0)
        base, width = config.scale or (0.0, 1.0)
        return Answered(model, [(np.ravel(one) * deviation + mean - base) / width for one in found], config)
    if config.target == "text":
        return Answered(model, found, config)
    table = _mapped(own, config, model)
    answers = [np.asarray(one, dtype=np.float32) @ table for one in found]
    details = {
        "thresholds": {
            name: float(v) for name, v in zip(own.labels, thresholds(own), strict=True) if name in config.labels
        }
    }
    return Answered(
        model, answers, config.model_copy(update={"details": details}) if config.target == "multi" else config
    )


def _asked_as(item: Item, own: TaskConfig, config: TaskConfig) -> Item:
    """An item as a model's own task has it: its texts together or apart, its prompt and its labels."""
    texts = [text for row in item.input.rows for text in row]
    row = dict(zip(own.columns.get("text") or config.columns["text"], texts, strict=False))
    columns = own.columns if own.columns.get("text") else {"text": list(row), "label": "label"}
    made = own_item(row, 0, own.model_copy(update={"columns": columns}), "row", labelled=False)
    return Item(item.key, made.input, None, item.group, made.asked)


def _mapped(own: TaskConfig, config: TaskConfig, model: str) -> np.ndarray:
    """(L of the model, L of the task): which is which, by name."""
    names = [known_label(name, config.labels) for name in own.labels]
    if not set(names) & set(config.labels):
        return label_map(own.labels, config.labels, model, config.task)
    table = np.zeros((len(names), len(config.labels)), dtype=np.float32)
    for place, name in enumerate(names):
        if name in config.labels:
            table[place, config.labels.index(name)] = 1.0
    return table


def _only_labels(model: str, config: TaskConfig) -> None:
    if config.target != "single":
        raise SlonikError(
            f"{model} is an encoder without a head, which is measured on one label per row alone: fine-tune it first "
            "(slonik finetune)"
        )


class _Vectors:
    """What encoders without a head make of rows, each model opened once.

    Attributes:
        cut: sentences about texts that are longer than a model reads.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._rows = [[text for row in item.input.rows for text in row] for item in items]
        self._known: dict[str, np.ndarray] = {}
        self.cut: list[str] = []

    def of(self, model: str) -> np.ndarray:
        """(N, D), of two texts [u, v, |u - v|, u * v] (Conneau et al. 2017)."""
        if model not in self._known:
            encoder, texts = opened(model), [text for row in self._rows for text in row]
            flat = np.asarray(encoder.encode(texts), dtype=np.float32)
            self.cut += told_cut(encoder, texts, what="texts (of --train too)")
            if len(self._rows[0]) == 2:
                first, second = flat[::2], flat[1::2]
                flat = np.concatenate([first, second, np.abs(first - second), first * second], axis=1)
            self._known[model] = flat
        return self._known[model]


def _measured(one: Answered, items: Sequence[Item]) -> Answered:
    metrics = dict(metrics_of(items, one.answers, one.config))
    if one.config.target == "single":
        metrics["ece"] = calibration_error(items, one.answers, one.config)
    return Answered(one.name, one.answers, one.config, one.baseline, metrics)


def _records(common: Mapping[str, Any], found: Sequence[Answered], seed: int) -> Iterator[Record]:
    """Metrics of every model; each minus the first, and the first minus every baseline, paired over rows."""
    values: dict[str, dict[str, tuple[float, Array]]] = {}
    for one in found:
        values[one.name] = {}
        for metric, statistic in one.metrics.items():
            value, drawn_ = value_of(statistic), replicates(statistic, seed=seed, sample=str(common["task"]))
            values[one.name][metric] = value, drawn_
            if not np.isfinite(value):
                reason = {"reason": "the metric is not defined for these answers"}
                yield Record(**common, model=one.name, metric=metric, value=None, n=statistic.n, detail=reason)
                continue
            bounds = interval(value, drawn_, n=statistic.n if metric in SHARES else None)
            detail: dict[str, Any] = {**bounds.told} | ({"baseline": True} if one.baseline else {})
            yield Record(**common, model=one.name, metric=metric, n=statistic.n, detail=detail, **bounds.fields)
    models = [one for one in found if not one.baseline]
    pairs = [(one, models[0]) for one in models[1:]] + [
        (one, other) for one in models for other in found if other.baseline
    ]
    for one, other in pairs:
        for metric, statistic in one.metrics.items():
            if metric not in other.metrics:
                continue
            (value, own), (base, drawn_) = values[one.name][metric], values[other.name][metric]
            if np.isfinite(value) and np.isfinite(base):
                change = paired_difference(base, drawn_, value, own)
                yield change.record(
                    one.name, other.name, metric, metric=f"{metric}_difference", n=statistic.n, **common
                )


def _never_given(taskers: Mapping[str, TaskAnswerer], items: Sequence[Item], config: TaskConfig) -> list[str]:
    """Labels of rows that a model has no output for: every such row is an error of it."""
    if config.target not in ("single", "multi"):
        return []
    rows = Counter(
        name
        for item in items
        for name in ([config.labels[int(item.label)]] if config.target == "single" else item.names)
    )
    told = []
    for model, tasker in taskers.items():
        given = _mapped(tasker.config, config, model).max(axis=0)
        if lacking := {name: rows[name] for n, name in enumerate(config.labels) if rows[name] and given[n] == 0}:
            told.append(
                f"{sum(lacking.values())} labels of the {len(items)} rows are none that {model} can give, and count as "
                f"wrong: {named(lacking)}"
            )
    return told


def _cut_texts(taskers: Mapping[str, TaskAnswerer], items: Sequence[Item]) -> list[str]:
    """Rows that a model with a head reads in part; those that answer in words say so themselves."""
    told = []
    for model, tasker in taskers.items():
        if isinstance(tasker, LanguageModelAnswerer):
            continue
        pairs = PairTokenizer(tasker.tokenizer, tasker.max_length)
        for item in items:
            pairs.fields(item.input)
        if pairs.cut_rows:
            told.append(
                f"{pairs.cut_rows} of {len(items)} rows are longer than the {tasker.max_length} tokens that {model} "
                "reads, and were cut"
            )
    return told


def _dirty(rows: Sequence[Mapping[str, Any]], config: TaskConfig, name: str) -> list[str]:
    """What is serious in the measured rows."""
    texts = [tuple(str(row[column]) for column in config.columns["text"]) for row in rows]
    labels = [tuple(_names(row, config)) for row in rows] if config.target in ("single", "multi") else []
    return [str(one) for one in check_rows(CheckedRows(name, texts, labels, range(1, len(rows) + 1))) if one.serious]
