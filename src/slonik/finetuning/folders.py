"""Answer the rows of folders of Parquet and JSON Lines: labels and probabilities in columns of the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.identity import Identity, checkpoint_identity, code_identity, file_identity
from slonik.core.numbers import check_count, check_seed
from slonik.core.protocols import LongTexts
from slonik.core.run import Announce
from slonik.data.part_files import Columns, Kind
from slonik.evaluation.russian_superglue.baselines import BASELINES
from slonik.finetuning.predictors import Predictor, open_predictor
from slonik.models.kinds import resolve
from slonik.scaling.parts import PartsResult, process_parts, text_of


class PredictRows:
    """Rows with the columns of a task to answers; a row that cannot be answered has none, and `error` says why."""

    kinds: Mapping[str, Kind] = {"label": "json", "probabilities": "json", "error": "text"}

    def __init__(self, open_one: Callable[[], Predictor], column: str | None, batch_size: int) -> None:
        self._predictor, self._column, self._size = open_one(), column, batch_size
        if column is not None and len(self._predictor.columns) != 1:
            names = ", ".join(self._predictor.columns) or "the official fields"
            raise SlonikError(f"--column is {column!r}, and the task reads {names}: leave it out, and name columns so")

    def answer(self, rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> Columns:
        """See `slonik.scaling.parts.Work`."""
        found: list[dict[str, Any]] = [{} for _ in rows]
        given: list[tuple[int, Any]] = []
        for place, row in enumerate(rows):
            try:
                given.append((place, self._predictor.read(self._row(row, place), f"row {place + 1}")))
            except SlonikError as error:
                found[place] = {"error": str(error)}
        before = getattr(self._predictor, "cut_rows", 0)
        for start in range(0, len(given), self._size):
            batch = given[start : start + self._size]
            for (place, _), line in zip(batch, self._answers(batch), strict=True):
                found[place] = line
        if cut := getattr(self._predictor, "cut_rows", 0) - before:
            counts[f"rows cut at the {getattr(self._predictor, 'max_tokens', None)} tokens that the model reads"] += cut
        counts["rows without an answer"] += sum("error" in line for line in found)
        return {
            "label": [_label(line) for line in found],
            "probabilities": [line.get("probabilities", line.get("probability")) for line in found],
            "error": [line.get("error") for line in found],
        }

    def _row(self, row: Mapping[str, Any], place: int) -> Mapping[str, Any]:
        if self._column is None:
            return {"idx": place, **row}
        text = text_of(row, self._column, place + 1)
        if text is None:
            raise SlonikError(f"row {place + 1}: the text is empty")
        return {"idx": place, self._predictor.columns[0]: text}

    def _answers(self, batch: Sequence[tuple[int, Any]]) -> list[dict[str, Any]]:
        try:
            return self._predictor.answer([row for _, row in batch], probabilities=True)
        except SlonikError as error:  # a row that only the model can refuse: which one?
            if len(batch) == 1:
                return [{"error": str(error)}]
            return [line for one in batch for line in self._answers([one])]


def _label(line: Mapping[str, Any]) -> Any:
    return line["label"] if "label" in line else line.get("passage")


def predict_folder(
    model: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    task: str | None = None,
    column: str | None = None,
    batch_size: int = 32,
    train_data: str | Path | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    long_texts: LongTexts | None = None,
    engine: str = "local",
    workers: int | None = None,
    progress: bool = False,
    announce: Announce | None = None,
) -> PartsResult:
    """Answer folders of Parquet and JSON Lines: the same parts with `label` and `probabilities`, in the folder `out`.

    In Parquet probabilities, and labels that are no texts, are JSON. Parts that were made of the same rows by the same
    model are skipped.

    Args:
        model: folder that `finetune` or `export` made, hub id of a checkpoint with a head, or a baseline's name.
        inputs: folders, or files.
        task: task id or the name of your own task; None: that of the model.
        column: of the texts, of a task that reads one; None: columns named as the task names them.
        batch_size: rows that are answered together.
        train_data: labelled file that a baseline is fitted to; None: the training data in `data_dir`.
        seed: of random baselines.
        long_texts: what happens to texts over the model's length; None = the model's own way.
        engine: "local" (this process) or "ray" (one model per worker). workers: of Ray.
        progress: show it on standard error. announce: called with a line for the user, instead.

    Raises:
        SlonikError: no such model or parts, `out` made by another model; parts that failed, when all others are done.
        MissingExtra: pyarrow, ray or torch is not installed.
    """
    check_seed(seed)
    check_count("batch_size", batch_size)
    check_count("workers", workers)
    by_name = str(model) in BASELINES and not Path(model).is_dir()
    known = Identity.of({"name": str(model)}) if by_name else checkpoint_identity(resolve(model))
    options = {"task": task, "column": column, "seed": seed, "long_texts": long_texts}
    trained = {"train_data": file_identity(train_data)} if train_data is not None else {}
    identity = {"model": known, **options, **trained, "code": code_identity(__name__)}
    opener = partial(
        open_predictor, task, str(model), batch_size=batch_size, seed=seed, long_texts=long_texts,
        train_data=Path(train_data) if train_data else None, data_dir=Path(data_dir) if data_dir else None,
    )  # fmt: skip
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    return process_parts(
        partial(PredictRows, opener, column, batch_size), given, out, command="predict", identity=identity,
        engine=engine, workers=workers, progress=progress, announce=announce,
    )  # fmt: skip
