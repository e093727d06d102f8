"""Apply a fine-tuned model, a baseline, or a model that answers as it is: rows in, answers out.

`predict` takes rows in memory; `answer_lines` a stream of JSON Lines of any length in constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from slonik.core.errors import SlonikError
from slonik.core.numbers import check_count
from slonik.core.progress import progress_bar, shown
from slonik.core.protocols import LongTexts
from slonik.data.labelled import ENDINGS, read_rows
from slonik.finetuning.predictors import Predictor, Row, answerer_of, open_predictor, predictor_of
from slonik.finetuning.row_predictor import RowPredictor
from slonik.finetuning.rows import is_table, rows_in_memory
from slonik.text.answers import Answer
from slonik.text.lines import KeyTwice, json_with_keys_once
from slonik.text.task_config import TaskConfig

if TYPE_CHECKING:
    from slonik.models.generation import TextGenerator
    from slonik.models.task_model import TaskModel
    from slonik.runtime.task_model import OnnxTaskModel

BadLines = Literal["report", "skip", "stop"]
_LONGEST_LINE = 1 << 24


def predict(
    model: str | Path | TaskModel | OnnxTaskModel | TextGenerator,
    rows: str | Path | Iterable[str | Sequence[str] | Row] | Any,
    *,
    task: str | None = None,
    batch_size: int = 32,
    train_data: str | Path | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    long_texts: LongTexts | None = None,
    progress: bool = False,
) -> list[Answer]:
    """Answer rows with a model that has a head, a baseline of Russian SuperGLUE, or a model that answers in words.

    Args:
        model: folder that `finetune` or `export` made (exported ones run without torch), folder or hub id of a
            checkpoint with a head of Transformers, a baseline's name ("majority", "tfidf", ...), a T5 model or decoder
            as it is; or one that is loaded.
        rows: texts, pairs of texts, a context with its candidates, mappings with the columns of the training file (or
            `text` and `text_pair`, `question` and `context`, the official fields), a data frame, or a .jsonl, .csv or
            .tsv file; a string that names no file is one text.
        task: task id or the name of your own task; None: that of the model, where it has one.
        train_data: labelled file that a baseline is fitted to; None: the training data in `data_dir`.
        seed: of random baselines.
        long_texts: what happens to texts over the model's length: "truncate", "average" (windows, by their tokens),
            "refuse"; None = the model's own way.
        progress: show it on standard error.

    Raises:
        SlonikError: no such task or model, a model of another task, a row that lacks a field.
    """
    check_count("batch_size", batch_size)
    if isinstance(model, str | Path):
        files = {"train_data": _path(train_data), "data_dir": _path(data_dir)}
        predictor = open_predictor(task, str(model), batch_size=batch_size, seed=seed, long_texts=long_texts, **files)
    else:
        config = getattr(model, "config", None)
        named = task or (config.task if isinstance(config, TaskConfig) else _unnamed("a model without a task"))
        predictor = predictor_of(answerer_of(model, named), named, batch_size, long_texts)
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
    """Texts as a row with these columns; a task without columns of its own takes them as they are."""
    if isinstance(given, Mapping) or not columns:
        return given  # type: ignore[no-any-return]
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
    kind: str | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Iterator[dict[str, Any]]:
    """Answers to lines of JSON or of plain text, in their order, as they are read.

    Empty lines are left out of JSON; of plain text they are empty texts, so that answer i stays that of line i. Two
    texts of a plain line have a tab between them, where the task reads two. Official tasks have rows of JSON alone.

    Args:
        kind: "jsonl" or "text"; None: JSON where the first line begins with a brace or a bracket.
        bad_lines: "report": an object with `error` stands in the place of a line that cannot be read, and an error ends
            the stream; "skip": it is left out; "stop" at the first.
        warn: is told at the end how many were skipped.

    Raises:
        SlonikError: bad lines, unless they are skipped.
    """
    check_count("batch_size", batch_size)
    waiting: list[tuple[int, Any, dict[str, Any] | None]] = []  # line, its row, or what stands for a bad one
    faults: list[str] = []

    def faulty(number: int, row: Any, error: SlonikError) -> None:
        if bad_lines == "stop":
            raise error
        faults.append(str(error))
        if bad_lines == "report":
            known = {"idx": row["idx"]} if isinstance(row, dict) and isinstance(row.get("idx"), int | str) else {}
            waiting.append((number, None, {**known, "line": number, "error": str(error)}))

    def answered() -> Iterator[dict[str, Any]]:
        batch = list(waiting)
        waiting.clear()
        good = [given for _, given, fault in batch if fault is None]
        try:
            answers = iter(predictor.answer(good, probabilities=probabilities) if good else [])
        except SlonikError:  # a row that only the model can refuse, as one that is too long: which one?
            answers = None
        for number, given, fault in batch:
            if fault is not None:
                yield fault
            elif answers is not None:
                yield next(answers)
            else:
                try:
                    yield from predictor.answer([given], probabilities=probabilities)
                except SlonikError as error:
                    faulty(number, None, SlonikError(str(error).replace("row 1", f"line {number}", 1)))
                    yield from (fault for _, _, fault in waiting if fault is not None)
                    waiting.clear()

    plain = isinstance(predictor, RowPredictor)
    if kind == "text" and not plain:
        raise SlonikError("the rows of this task are objects: give JSON Lines, not plain text")
    for number, line, size in _lines(stream):
        row: Any = None
        if kind is None:
            kind = "text" if plain and not line.lstrip(b"\xef\xbb\xbf \t").startswith((b"{", b"[")) else "jsonl"
        if kind == "jsonl" and not line.strip():
            continue
        try:
            if size > len(line):
                raise SlonikError(f"line {number}: {size:,} bytes long, the limit is {_LONGEST_LINE:,}")
            row = _text_row(line, number, predictor) if kind == "text" else _json_row(line, number, plain)
            waiting.append((number, predictor.read(row, f"line {number}"), None))
        except SlonikError as error:
            faulty(number, row, error)
        if len(waiting) >= batch_size:
            yield from answered()
    yield from answered()
    if faults:
        sentence = f"{len(faults)} lines were not answered; the first: {faults[0]}"
        if bad_lines == "report":
            raise SlonikError(sentence)
        warn(sentence)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Lines by number, and how many bytes each has; of an endless one only the beginning is kept."""
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        whole, size = line, len(line)
        while not line.endswith(b"\n") and (line := stream.readline(_LONGEST_LINE)):
            size += len(line)
        yield number, whole, size


def _json_row(line: bytes, number: int, plain: bool) -> Any:
    """The row of a line of JSON: an object; a text or a list of texts too, where the task reads these."""
    try:
        row = json_with_keys_once(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SlonikError(f"line {number}: not UTF-8") from None
    except KeyTwice as error:
        raise SlonikError(f"line {number}: {error}") from None
    except (ValueError, RecursionError):
        raise SlonikError(f"line {number}: not sound JSON (--from text reads lines of plain text)") from None
    if not isinstance(row, dict | list | str if plain else dict):
        raise SlonikError(f"line {number}: not a JSON object")
    return row


def _text_row(line: bytes, number: int, predictor: Predictor) -> Any:
    """The row of a plain line: the text, or two with a tab between them."""
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SlonikError(f"line {number}: not UTF-8") from None
    return tuple(text.split("\t")) if isinstance(predictor, RowPredictor) and predictor.reads_two else text
