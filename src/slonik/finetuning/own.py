"""Fine-tuning on the user's own files: classification, several labels, pairs, regression, span question answering.

Measured is the validation file, or a held-out share of the training file; neither serves to choose anything.
Text to text is in `finetune_text`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.atomic import write_text
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.records import Record, write_records
from slonik.core.steps import Steps
from slonik.data.labelled import Question, read_questions, read_rows
from slonik.evaluation.statistics import Mean, Statistic, interval, paired_difference, replicates, value_of
from slonik.finetuning.answers import answer_scores, best_answers, question_items
from slonik.finetuning.config import FinetuneRecipe, OwnData
from slonik.finetuning.course import Answers, Course, Fold, run_course
from slonik.finetuning.figures import baseline_values, figures_of
from slonik.finetuning.items import Item, divide
from slonik.finetuning.outputs import Floats
from slonik.finetuning.tasks import pair_input
from slonik.models.encoder import TorchEncoder
from slonik.models.task_config import TaskConfig
from slonik.models.text_pairs import PairTokenizer, TaskInput

SUITE = "finetune"
LENGTHS = {"classification": 128, "multilabel": 128, "pair": 192, "regression": 192, "qa": 384}
FEWEST = 10


@dataclass(frozen=True)
class OwnTask:
    """The user's data as items.

    Attributes:
        config: the task model to make. fit, measured: items. split: name of the measured ones.
        questions: of the measured items, for "answer" only.
    """

    config: TaskConfig
    fit: list[Item]
    measured: list[Item]
    split: str
    fit_questions: Sequence[Question] = ()
    questions: Sequence[Question] = ()


def run_own(recipe: FinetuneRecipe, base: TorchEncoder, steps: Steps) -> Any:
    """Train on the user's data, measure, save model, predictions and results.

    Raises:
        SlonikError: files or columns that are not there, labels that do not fit, too few rows.
    """
    from slonik.finetuning.finetune import PREDICTIONS, RESULTS, Finetuned, save_model

    own = recipe.own
    assert own is not None
    task = read_own(recipe, own, base)
    course = Course(own.name, task.config, [Fold(task.fit, {task.split: task.measured})], _score(task, base))
    result = run_course(course, base, recipe, steps)
    by_seed = {seed: answers[task.split] for seed, answers in result.answers.items()}
    records = _records(recipe, task, by_seed, result.mean_answers(task.split), base)
    out = Path(recipe.out)
    save_model(result, base, out, recipe, records)
    if task.config.target != "answer":
        answers = {f"seed{seed}": found[task.split] for seed, found in result.answers.items()}
        answers["mean"] = result.mean_answers(task.split)
        for name, found in answers.items():
            write_own_predictions(out / PREDICTIONS / name / f"{own.name}.{task.split}.jsonl", task, found)
    write_records(out / RESULTS, records)
    return Finetuned(records, {own.name: out})


def read_own(recipe: FinetuneRecipe, own: OwnData, base: TorchEncoder) -> OwnTask:
    """The user's files as items with the configuration of their task model.

    Raises:
        SlonikError: as `run_own`.
    """
    if own.kind == "text2text":
        raise SlonikError(f"{recipe.model} is an encoder: text2text needs T5 or a decoder")
    if own.kind == "qa":
        return _questions(recipe, own, base)
    if not 1 <= len(own.text_columns) <= 2 or (own.kind == "pair" and len(own.text_columns) != 2):
        raise SlonikError(f"{own.kind} takes {'two text columns' if own.kind == 'pair' else 'one or two text columns'}")
    columns = (*own.text_columns, own.label_column)
    rows = read_rows(own.train, columns)
    valid = read_rows(own.valid, columns) if own.valid else []
    labels, scale = _labels(own, rows), None
    if own.kind == "regression":
        numbers = [_number(row[own.label_column], _place(own.train, n)) for n, row in enumerate(rows)]
        scale = (float(np.mean(numbers)), float(np.std(numbers)) or 1.0)
    config = _config(recipe, own, labels, scale)
    items = [own_item(row, n, config, _place(own.train, n)) for n, row in enumerate(rows)]
    given = [own_item(row, n, config, _place(str(own.valid), n)) for n, row in enumerate(valid)]
    fit, measured, split = _divided(recipe, items, given)
    return OwnTask(config, fit, measured, split)


def _divided(recipe: FinetuneRecipe, items: list[Item], valid: list[Item]) -> tuple[list[Item], list[Item], str]:
    if len(items) < FEWEST:
        raise SlonikError(f"{len(items)} training rows are too few: give at least {FEWEST}")
    if valid:
        return items, valid, "valid"
    out, kept = divide(items, [recipe.held_out, 1 - recipe.held_out], recipe.seed)
    if not len(out) or not len(kept):
        raise SlonikError("the training rows are all of one text: they cannot be divided; give --valid")
    return [items[n] for n in kept], [items[n] for n in out], "held_out"


def _config(
    recipe: FinetuneRecipe, own: OwnData, labels: tuple[str, ...], scale: tuple[float, float] | None
) -> TaskConfig:
    two = len(own.text_columns) == 2
    target = {"multilabel": "multi", "regression": "number", "qa": "answer"}.get(own.kind, "single")
    return TaskConfig(
        kind="answer" if own.kind == "qa" else "pair" if two else "sequence",
        task=own.name,
        target=target,  # type: ignore[arg-type]
        labels=labels,
        max_length=recipe.tuning.max_length or LENGTHS[own.kind],
        pairs=recipe.tuning.pairs or "joint",
        columns={"text": list(own.text_columns), "label": own.label_column},
        scale=scale,
    )


def _labels(own: OwnData, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if own.kind == "regression":
        return ()
    values = [row[own.label_column] for row in rows]
    several = own.kind == "multilabel"
    names = {name for value in values for name in (label_list(value) if several else [label_text(value)])}
    if len(names) < (1 if several else 2):
        raise SlonikError(f"the column {own.label_column!r} has {len(names)} labels: at least 2 are needed")
    return tuple(sorted(names))


def label_text(value: Any) -> str:
    """A label as text: true and 1 keep their JSON spelling."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def label_list(value: Any) -> list[str]:
    """Labels of a multi-label row: a JSON list, or a text with ";" between them."""
    if isinstance(value, list):
        return [label_text(one) for one in value]
    return [part.strip() for part in str(value).split(";") if part.strip()]


def own_item(row: Mapping[str, Any], number: int, config: TaskConfig, where: str, *, labelled: bool = True) -> Item:
    """A row as an item; `where` begins the sentence of an error.

    Raises:
        SlonikError: a label that the task does not have, a column that is missing or no text.
    """
    texts = [_text(row, column, where) for column in config.columns["text"]]
    given = pair_input(texts[0], texts[1], config.pairs) if len(texts) == 2 else TaskInput(((texts[0],),))
    label = _label_of(row.get(config.columns["label"]), where, config) if labelled else None
    return Item(number, given, label, texts[0])


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise SlonikError(f"{where}: the column {column!r} is missing or not a text")
    return value


def _label_of(value: Any, where: str, config: TaskConfig) -> Any:
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


def _place(path: str, number: int) -> str:
    """A row for people, who count from one."""
    return f"{path}, row {number + 1}"


def _questions(recipe: FinetuneRecipe, own: OwnData, base: TorchEncoder) -> OwnTask:
    asked = read_questions(own.train)
    config = _config(recipe, own, (), None)
    details = {"unanswerable": any(not one.answers for one in asked)}
    config = config.model_copy(
        update={"details": details, "columns": {"text": ["question", "context"], "label": "answers"}}
    )
    length = min(config.max_length, base.max_length)
    if own.valid:
        measured, fit, split = read_questions(own.valid), asked, "valid"
    else:
        items = [Item(n, TaskInput(((one.context,),)), None, one.context) for n, one in enumerate(asked)]
        kept, out, split = _divided(recipe, items, [])
        fit, measured = [asked[int(i.key)] for i in kept], [asked[int(i.key)] for i in out]
    windows = question_items(fit, base.tokenizer, length)
    return OwnTask(config, windows, question_items(measured, base.tokenizer, length), split, fit, measured)


def write_own_predictions(path: Path, task: OwnTask, answers: Answers) -> None:
    """Answers to the measured rows as JSON Lines: idx, label, probabilities (a number for regression)."""
    lines = []
    for item in task.measured:
        values = [float(value) for value in np.ravel(answers[item.key])]
        line: dict[str, Any] = {"idx": item.key}
        if task.config.target == "number":
            mean, deviation = task.config.scale or (0.0, 1.0)
            line["label"] = values[0] * deviation + mean
        else:
            named = dict(zip(task.config.labels, values, strict=True))
            several = task.config.target == "multi"
            chosen = [name for name, value in named.items() if value > 0.5]
            line |= {"label": chosen if several else max(named, key=lambda name: named[name])}
            line["probabilities"] = {name: round(value, 6) for name, value in named.items()}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def _score(task: OwnTask, base: TorchEncoder) -> Callable[[Sequence[Item], Sequence[Floats]], float]:
    def figure(items: Sequence[Item], found: Sequence[Floats]) -> float:
        if task.config.target == "answer":
            return float(np.mean(_answered(task, items, found, task.fit_questions, base)["f1"]))
        values = figures_of(items, found, task.config)
        return value_of(values[next(iter(values))])

    return figure


def _answered(
    task: OwnTask, items: Sequence[Item], found: Sequence[Floats], questions: Sequence[Question], base: TorchEncoder
) -> dict[str, list[float]]:
    tokenizer = PairTokenizer(base.tokenizer, min(task.config.max_length, base.max_length))
    best = best_answers(items, found, tokenizer, unanswerable=task.config.details["unanswerable"])
    return answer_scores(questions, best)


def _statistics(task: OwnTask, answers: Answers, base: TorchEncoder) -> dict[str, Statistic]:
    found = [answers[item.key] for item in task.measured]
    if task.config.target == "answer":
        scores = _answered(task, task.measured, found, task.questions, base)
        return {name: Mean(values) for name, values in scores.items()}
    return figures_of(task.measured, found, task.config)


def _records(
    recipe: FinetuneRecipe, task: OwnTask, by_seed: Mapping[int, Answers], mean: Answers, base: TorchEncoder
) -> list[Record]:
    own = recipe.own
    assert own is not None
    data = sha256_file(Path(own.valid or own.train))
    common: dict[str, Any] = {"suite": SUITE, "task": own.name, "variant": task.split, "hashes": {"data": data}}
    seeds = {seed: _statistics(task, answers, base) for seed, answers in by_seed.items()}
    first = next(iter(seeds.values()))
    rng, records, drawn = np.random.default_rng(0), [], {}
    for metric in first:
        table = np.stack([replicates(found[metric], seed=0, sample=own.name) for found in seeds.values()])
        drawn[metric] = np.take_along_axis(table, rng.integers(0, len(table), size=table.shape), axis=0).mean(0)
        values = [value_of(found[metric]) for found in seeds.values()]
        bounds = interval(float(np.mean(values)), drawn[metric])
        detail = {"seeds": {str(s): v for s, v in zip(seeds, values, strict=True)}, "items": first[metric].n}
        detail["spread"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        records.append(_record(common, recipe.model, metric, bounds, first[metric].n, detail))
    if len(seeds) > 1:
        name = f"{recipe.model} mean of {len(seeds)} seeds"
        for metric, statistic in _statistics(task, mean, base).items():
            bounds = interval(value_of(statistic), replicates(statistic, seed=0, sample=own.name))
            records.append(_record(common, name, metric, bounds, statistic.n, {}))
    if task.config.target != "answer":
        records += _baselines(recipe, task, common, records, drawn)
    return records


def _baselines(
    recipe: FinetuneRecipe, task: OwnTask, common: dict[str, Any], own: Sequence[Record], drawn: Mapping[str, Any]
) -> list[Record]:
    records = []
    for name, answers in baseline_values(task.fit, task.measured, task.config).items():
        for metric, statistic in figures_of(task.measured, answers, task.config).items():
            values = replicates(statistic, seed=0, sample=common["task"])
            bounds = interval(value_of(statistic), values)
            records.append(_record(common, name, metric, bounds, statistic.n, {"baseline": True}))
            value = next(r.value for r in own if r.metric == metric)
            if value is None or not np.isfinite(bounds.value):
                continue
            change = paired_difference(bounds.value, values, float(value), drawn[metric])
            detail = {"against": name, "model": recipe.model, "of": metric, "p_value": change.p_value, "paired": True}
            label = f"{recipe.model} - {name}"
            records.append(_record(common, label, f"{metric}_difference", change.interval, statistic.n, detail))
    return records


def _record(common: dict[str, Any], model: str, metric: str, bounds: Any, n: int, detail: dict[str, Any]) -> Record:
    known = np.isfinite(bounds.value)  # the correlation of a constant answer is none
    value, low, high = (bounds.value, bounds.low, bounds.high) if known else (None, None, None)
    if not known:
        detail = {**detail, "reason": "the figure is not defined for these answers"}
    return Record(**common, model=model, metric=metric, value=value, low=low, high=high, n=n, detail=detail)
