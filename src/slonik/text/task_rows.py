"""Rows of a task (a text, a pair, a question with its context, a context with candidates) to outputs and answers.

Everything but the model: it is a function from token fields to outputs, so that torch and ONNX answer the same rows
alike, long texts included. Files, official tasks and streams are the business of fine-tuning.

Shapes: N rows, L labels, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import NotNumbers, SlonikError
from slonik.core.protocols import FloatArray, LongTexts
from slonik.text.answer_spans import best_of_windows, place_probabilities, question_rows, span_answer
from slonik.text.answers import Answer, answers, choice_of, probabilities, temperature_of
from slonik.text.pairs import Fields, PairTokenizer, Row, fields_of
from slonik.text.task_config import TaskConfig

Run = Callable[[Sequence[Fields]], Sequence[NDArray[Any]]]
"""Token fields of examples -> the head's outputs of each, in their order, cut to the example's own tokens."""
TaskRow = str | Sequence[str] | Mapping[str, Any]
_ROLES = {"answer": ("question", "context"), "choice": ("context", "candidates")}
_PIPELINE = ("text", "text_pair")


def chosen_way(given: LongTexts | None, config: TaskConfig) -> LongTexts:
    """What happens to long texts: as the caller says, else as the task does.

    Raises:
        SlonikError: no such way.
    """
    way = given or config.long_texts
    if way not in get_args(LongTexts):
        raise SlonikError(f"long_texts is {way!r}: use {', '.join(get_args(LongTexts))}")
    return way


def texts_of(row: Any, config: TaskConfig, number: int) -> tuple[Any, ...]:
    """The texts of a row, which people count from one: a text, a sequence of them, or a mapping with their columns.

    Raises:
        SlonikError: another number of texts than the task reads, a column that is not there, something that is no text.
    """
    named = config.columns.get("text")
    columns: tuple[str, ...] = tuple(named) if named else _ROLES.get(config.target, ())
    if isinstance(row, Mapping):
        wanted = columns or (_PIPELINE[: 1 + (row.get(_PIPELINE[1]) is not None)])
        for column in wanted:
            if column not in row:
                raise SlonikError(f"row {number}: the column {column!r} is missing (it has {', '.join(map(str, row))})")
            if row[column] is None:
                raise SlonikError(f"row {number}: the column {column!r} is null: fill it in, or leave the row out")
        found: tuple[Any, ...] = tuple(row[column] for column in wanted)
    else:
        found = (row,) if isinstance(row, str) or not isinstance(row, Sequence) else tuple(row)
    if columns and len(found) != len(columns):
        raise SlonikError(f"row {number} has {len(found)} texts, and the task reads {', '.join(columns)}")
    needs_two = config.kind == "pair"
    if not 1 <= len(found) <= 2 or (needs_two and len(found) != 2):
        raise SlonikError(f"row {number} has {len(found)} texts: give {'two' if needs_two else 'one text or two'}")
    for place, text in enumerate(found):
        if config.target == "choice" and place == 1:
            _check_candidates(text, number)
        elif not isinstance(text, str):
            raise SlonikError(f"row {number}: {text!r} is a {type(text).__name__}, not a text")
    return found


def _check_candidates(given: Any, number: int) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise SlonikError(f"row {number}: its candidates are {given!r}: give a list of texts")
    if not all(isinstance(text, str) for text in given):
        raise SlonikError(f"row {number}: a candidate is no text")


def logits_of(
    rows: Iterable[TaskRow], config: TaskConfig, tokenizer: PairTokenizer, run: Run, long_texts: LongTexts | None = None
) -> FloatArray:
    """Scores (N, L) of rows, of numbers (N, 1); windows of a long text are averaged by their tokens.

    Raises:
        SlonikError: rows that the task does not read, texts that are too long where they are refused, a task whose
            outputs are no scores of labels.
    """
    if config.target not in ("single", "multi", "number") or config.kind == "words":
        what = "marked words" if config.kind == "words" else f"the target {config.target!r}"
        raise SlonikError(f"the task {config.task!r} has {what}: it gives no scores of plain texts")
    way = chosen_way(long_texts, config)
    fields: list[Fields] = []
    owners: list[int] = []
    shares: list[float] = []
    count = 0
    for count, row in enumerate(rows, start=1):
        texts = texts_of(row, config, count)
        for one, share in _windows(texts, config, tokenizer, way, count):
            fields.append(one)
            owners.append(count - 1)
            shares.append(share)
    totals = np.zeros((count, config.outputs), dtype=np.float32)
    for owner, share, values in zip(owners, shares, run(fields) if fields else [], strict=True):
        totals[owner] += np.float32(share) * np.asarray(values, dtype=np.float32)
    for place in np.flatnonzero(np.isnan(totals).any(-1)):
        check_numbers(totals[place], int(place) + 1)
    return totals


def check_numbers(outputs: NDArray[Any], number: int) -> None:
    """Refuse what no answer can be read from.

    Raises:
        NotNumbers: some output of the row is none.
    """
    if np.isnan(outputs).any():
        raise NotNumbers(f"row {number}")


def _windows(
    texts: tuple[str, ...], config: TaskConfig, tokenizer: PairTokenizer, way: LongTexts, number: int
) -> list[tuple[Fields, float]]:
    try:
        if len(texts) == 2 and config.pairs == "separate":
            if way == "average":
                raise SlonikError("texts that are read apart are not averaged over windows: use truncate or refuse")
            read = [tokenizer.rows((text,), way)[0][0] for text in texts]
            return [(fields_of(read, tokenizer.pad_id), 1.0)]
        return [(fields_of([row], tokenizer.pad_id), share) for row, share in tokenizer.rows(texts, way)]
    except SlonikError as error:
        raise SlonikError(f"row {number}: {error}") from None


def predict_rows(
    rows: Iterable[TaskRow], config: TaskConfig, tokenizer: PairTokenizer, run: Run, long_texts: LongTexts | None = None
) -> list[Answer]:
    """One answer per row.

    A context of any length is searched in windows whatever `long_texts` says, unless that is "refuse".

    Raises:
        SlonikError: as `logits_of`; a tagger, which reads texts otherwise.
    """
    if config.target == "choice":
        return _choices(rows, config, tokenizer, run, long_texts)
    if config.target == "answer":
        return _spans(rows, config, tokenizer, run, long_texts)
    if config.target == "tags":
        raise SlonikError("the model tags words: use `slonik tag`, or slonik.tag")
    return answers(config, logits_of(rows, config, tokenizer, run, long_texts))


def _choices(
    rows: Iterable[TaskRow], config: TaskConfig, tokenizer: PairTokenizer, run: Run, long_texts: LongTexts | None
) -> list[Answer]:
    way = chosen_way(long_texts, config)
    if way == "average":
        raise SlonikError("candidates are not averaged over windows: use truncate or refuse")
    given: list[list[str]] = []
    fields: list[Fields] = []
    for number, row in enumerate(rows, start=1):
        context, candidates = texts_of(row, config, number)
        read = [tokenizer.rows((context, candidate), way)[0][0] for candidate in candidates]
        given.append(list(candidates))
        one = fields_of(read, tokenizer.pad_id)
        if len(read) == 1:  # a choice of one is still a choice
            one = {name: array[None] for name, array in one.items()} | {"candidates": np.ones(1, dtype=np.bool_)}
        fields.append(one)
    found = run(fields) if fields else []
    for number, values in enumerate(found, start=1):
        check_numbers(values, number)
    heat = temperature_of(config)
    return [choice_of(own, probabilities(values, "choice", heat)) for own, values in zip(given, found, strict=True)]


def _spans(
    rows: Iterable[TaskRow], config: TaskConfig, tokenizer: PairTokenizer, run: Run, long_texts: LongTexts | None
) -> list[Answer]:
    refuse = chosen_way(long_texts, config) == "refuse"
    cuts: list[tuple[str, list[tuple[int, int]], list[Row]]] = []
    for number, row in enumerate(rows, start=1):
        question, context = texts_of(row, config, number)
        cut, read = question_rows(question, context, tokenizer)
        if refuse and len(cut) > 1:
            raise SlonikError(f"row {number}: the context is read in {len(cut)} windows, and long texts are refused")
        cuts.append((context, cut, read))
    flat = [fields_of([row], tokenizer.pad_id) for _, _, read in cuts for row in read]
    found = iter(run(flat) if flat else [])
    unanswerable = bool(config.details.get("unanswerable"))
    made = []
    for number, (context, cut, read) in enumerate(cuts, start=1):
        outputs = [next(found) for _ in read]
        for values in outputs:
            check_numbers(values, number)
        chances = [place_probabilities(values, row.segments) for values, row in zip(outputs, read, strict=True)]
        made.append(span_answer(best_of_windows(context, cut, read, chances, unanswerable=unanswerable)))
    return made
