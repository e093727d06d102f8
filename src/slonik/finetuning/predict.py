"""Apply a fine-tuned model, a baseline, or a model that answers as it is: rows in, answers out.

`predict` takes rows in memory; `answer_lines` a stream of JSON Lines of any length in constant memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar, shown
from slonik.data.labelled import ENDINGS, read_rows
from slonik.finetuning.predictors import Predictor, Row, answerer_of, open_predictor, predictor_of
from slonik.finetuning.rows import is_table, rows_in_memory
from slonik.text import TASK_FILE
from slonik.text.answers import Answer
from slonik.text.task_config import TaskConfig

if TYPE_CHECKING:
    from slonik.models.generation import TextGenerator
    from slonik.models.task_model import TaskModel

BadLines = Literal["report", "skip", "stop"]
_LONGEST_LINE = 1 << 24


def predict(
    model: str | Path | TaskModel | TextGenerator,
    rows: str | Path | Iterable[str | Sequence[str] | Row] | Any,
    *,
    task: str | None = None,
    batch_size: int = 32,
    train_data: str | Path | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    progress: bool = False,
) -> list[Answer]:
    """Answer rows with a task model, a baseline of Russian SuperGLUE, or a model that answers in words.

    Args:
        model: folder that `finetune` made, a baseline's name ("majority", "tfidf", ...), a T5 model or decoder as it
            is; or one that is loaded.
        rows: texts, pairs of texts, mappings with the columns of the training file (or the official fields), a data
            frame, or a .jsonl, .csv or .tsv file; a string that names no file is one text.
        task: task id or the name of your own task; None: that of the model, where it has one.
        train_data: labelled file that a baseline is fitted to; None: the training data in `data_dir`.
        seed: of random baselines.
        progress: show it on standard error.

    Raises:
        SlonikError: no such task or model, a model of another task, a row that lacks a field.
    """
    if isinstance(model, str | Path):
        files = {"train_data": _path(train_data), "data_dir": _path(data_dir)}
        named = task or _task_of(Path(model))
        predictor = open_predictor(named, str(model), batch_size=batch_size, seed=seed, **files)
    else:
        config = getattr(model, "config", None)
        named = task or (config.task if isinstance(config, TaskConfig) else _unnamed("a model without a task"))
        predictor = predictor_of(answerer_of(model, named), named, batch_size)
    given = [
        predictor.read(_as_row(row, predictor.columns, number), f"row {number}")
        for number, row in enumerate(_rows(rows), start=1)
    ]
    waiting, found = iter(given), []
    with shown(progress), progress_bar("answering", len(given)) as bar:
        while batch := list(islice(waiting, batch_size)):
            found += [_answer(line) for line in predictor.answer(batch, probabilities=True)]
            bar.advance(len(batch))
    return found


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _task_of(folder: Path) -> str:
    return TaskConfig.read(folder).task if (folder / TASK_FILE).is_file() else _unnamed(str(folder))


def _unnamed(model: str) -> str:
    raise SlonikError(f"{model} has no task of its own, or several: say task=, for example task='terra'")


def _rows(rows: Any) -> list[Any]:
    if isinstance(rows, str) and not rows.lower().endswith(ENDINGS) and not _is_file(rows):
        return [rows]
    if isinstance(rows, str | Path):
        return list(read_rows(rows, ()))
    return rows_in_memory(rows) if is_table(rows) else list(rows)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # a text that is too long for a name
        return False


def _as_row(given: Any, columns: Sequence[str], number: int) -> Row:
    """Texts as a row with these columns."""
    if isinstance(given, Mapping):
        return given
    texts = (given,) if isinstance(given, str) else tuple(given)
    if len(texts) != len(columns):
        raise SlonikError(f"row {number} has {len(texts)} texts, and the task reads {', '.join(columns)}")
    return {**dict(zip(columns, texts, strict=True)), "idx": number - 1}


def _answer(line: dict[str, Any]) -> Answer:
    found = line.pop("probabilities", None)
    chance = line.pop("probability", None)
    if "label" in line:
        label = line["label"]
    else:
        questions = line["passage"]["questions"]
        label = {answer["idx"]: answer["label"] for question in questions for answer in question["answers"]}
    return Answer(label, found or ({} if chance is None else {str(label): chance}), line)


def answer_lines(
    predictor: Predictor,
    stream: BinaryIO,
    *,
    batch_size: int = 32,
    probabilities: bool = False,
    bad_lines: BadLines = "report",
    warn: Callable[[str], None] = lambda sentence: None,
) -> Iterator[dict[str, Any]]:
    """Answers to lines of JSON, in their order, as they are read; empty lines are left out.

    Args:
        bad_lines: "report": an object with `error` stands in the place of a line that cannot be read, and an error ends
            the stream; "skip": it is left out; "stop" at the first.
        warn: is told at the end how many were skipped.

    Raises:
        SlonikError: bad lines, unless they are skipped.
    """
    waiting: list[tuple[Any, dict[str, Any] | None]] = []  # a row that was read, or what stands for a bad line
    faults: list[str] = []

    def answered() -> Iterator[dict[str, Any]]:
        good = [given for given, fault in waiting if fault is None]
        answers = iter(predictor.answer(good, probabilities=probabilities) if good else [])
        for _, fault in waiting:
            yield next(answers) if fault is None else fault
        waiting.clear()

    for number, line in _lines(stream):
        row: Any = None
        try:
            row = _object(line, number)
            waiting.append((predictor.read(row, f"line {number}"), None))
        except SlonikError as error:
            if bad_lines == "stop":
                raise
            faults.append(str(error))
            if bad_lines == "report":
                known = {"idx": row["idx"]} if isinstance(row, dict) and isinstance(row.get("idx"), int | str) else {}
                waiting.append((None, {**known, "line": number, "error": str(error)}))
        if len(waiting) >= batch_size:
            yield from answered()
    yield from answered()
    if faults:
        sentence = f"{len(faults)} lines were not answered; the first: {faults[0]}"
        if bad_lines == "report":
            raise SlonikError(sentence)
        warn(sentence)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines by number, empty ones left out; of an endless one only the beginning is kept."""
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        whole = line
        while not line.endswith(b"\n") and (line := stream.readline(_LONGEST_LINE)):
            whole = whole[:_LONGEST_LINE]
        if whole.strip():
            yield number, whole


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SlonikError(f"line {number}: not UTF-8") from None
    except (json.JSONDecodeError, RecursionError):
        raise SlonikError(f"line {number}: not sound JSON") from None
    if not isinstance(row, dict):
        raise SlonikError(f"line {number}: not a JSON object")
    return row
