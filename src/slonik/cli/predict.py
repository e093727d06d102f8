"""`slonik predict TASK MODEL`: lines of JSON in, answers out, in the order of the lines, in constant memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

if TYPE_CHECKING:
    from slonik.finetuning.predict import Predictor

_LONGEST_LINE = 1 << 24


def register(app: typer.Typer) -> None:
    """Add the `predict` command."""
    app.command("predict")(predict)


def predict(
    task: str = typer.Argument(help="Task id (terra, rcb, ..., lidirus), or the name of your own task (custom)."),
    model: str = typer.Argument(
        help="Folder made by `slonik finetune`, a baseline (majority, tfidf, ...), or a T5 model or decoder as it is."
    ),
    file: Path | None = typer.Argument(None, help="JSON Lines to read (default: stdin)."),
    batch_size: int = typer.Option(32, min=1, help="Rows that are read and answered together."),
    probabilities: bool = typer.Option(False, help="Add the probability of each label."),
    bad_lines: str = typer.Option(
        "report", help="A line that cannot be read: report (an object with `error` in its place), skip, or stop."
    ),
    train_data: Path | None = typer.Option(None, help="Labelled file that a baseline is fitted to."),
    data_dir: Path | None = typer.Option(None, help="Data folder in which a baseline finds its training data."),
    seed: int = typer.Option(0, help="Seed of random baselines."),
) -> None:
    """Answer rows of a task; the output of an official task is a file of a leaderboard submission.

    Example:

        slonik predict terra out/terra --batch-size 32 < test.jsonl > TERRa.jsonl
    """
    from slonik.core.errors import SlonikError
    from slonik.finetuning.predict import open_predictor

    if bad_lines not in ("report", "skip", "stop"):
        raise SlonikError(f"--bad-lines is {bad_lines!r}: use report, skip or stop")
    predictor = open_predictor(task, model, batch_size=batch_size, train_data=train_data, data_dir=data_dir, seed=seed)
    if file is None:
        _stream(predictor, sys.stdin.buffer, batch_size, probabilities, bad_lines)
        return
    try:
        with open(file, "rb") as stream:
            _stream(predictor, stream, batch_size, probabilities, bad_lines)
    except OSError as error:
        raise SlonikError(f"cannot read {file}: {error.strerror or error}") from None


def _stream(predictor: Predictor, stream: BinaryIO, size: int, probabilities: bool, policy: str) -> None:
    from slonik.core.errors import SlonikError

    bad = _BadLines(policy)
    waiting: list[Any] = []  # a row that was read, or the object that stands for a bad line

    def flush() -> None:
        good = [given for given, fault in waiting if fault is None]
        answers = iter(predictor.answer(good, probabilities=probabilities) if good else [])
        for _, fault in waiting:
            sys.stdout.write(json.dumps(next(answers) if fault is None else fault, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        waiting.clear()

    for number, line in _lines(stream):
        row: Any = None
        try:
            row = _object(line, number)
            waiting.append((predictor.read(row, f"line {number}"), None))
        except SlonikError as error:
            fault = bad.meet(number, row, str(error))
            if fault is not None:
                waiting.append((None, fault))
        if len(waiting) >= size:
            flush()
    flush()
    bad.conclude()


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
    from slonik.core.errors import SlonikError

    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SlonikError(f"line {number}: not UTF-8") from None
    except (json.JSONDecodeError, RecursionError):
        raise SlonikError(f"line {number}: not sound JSON") from None
    if not isinstance(row, dict):
        raise SlonikError(f"line {number}: not a JSON object")
    return row


class _BadLines:
    """Counts bad lines and decides what stands in their place."""

    def __init__(self, policy: str) -> None:
        self._policy, self._count, self._first = policy, 0, ""

    def meet(self, number: int, row: Any, sentence: str) -> dict[str, Any] | None:
        """What to write for a bad line; None = nothing."""
        from slonik.core.errors import SlonikError

        if self._policy == "stop":
            raise SlonikError(sentence)
        self._count += 1
        self._first = self._first or sentence
        if self._policy == "skip":
            return None
        known = {"idx": row["idx"]} if isinstance(row, dict) and isinstance(row.get("idx"), int | str) else {}
        return {**known, "line": number, "error": sentence}

    def conclude(self) -> None:
        """Say at the end that there were some; exit code 2 unless they are to be skipped."""
        from slonik.core.errors import SlonikError

        if not self._count:
            return
        sentence = f"{self._count} lines were not answered; the first: {self._first}"
        if self._policy == "report":
            raise SlonikError(sentence)
        sys.stderr.write(f"warning: {sentence}\n")
