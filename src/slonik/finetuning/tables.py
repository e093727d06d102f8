"""Answer the rows of one file: CSV or TSV, JSON Lines, Parquet in; any of them out, with the answers in new columns.

A table of text keeps its separator, line ends and encoding, so that the program that wrote it opens it again. Streams
of lines are `predict`, folders in parts are `folders`; this reads a file whole.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slonik.core.errors import MissingExtra, SlonikError, unknown_name
from slonik.core.files import new_file
from slonik.core.numbers import check_count
from slonik.core.progress import progress_bar, warn_once
from slonik.data.labelled import ENDINGS, CsvTable, read_rows, read_table
from slonik.finetuning.predictors import Predictor
from slonik.text.lines import json_line

OUT_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_TABLES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class AnsweredTable:
    """What was written.

    Attributes:
        rows: how many. columns: the new ones. faults: what rows could not be answered, first to last.
    """

    rows: int
    columns: tuple[str, ...]
    faults: tuple[str, ...]


def is_table_file(name: str | Path | None) -> bool:
    """Whether a file is read here rather than as a stream of lines: CSV, TSV, Parquet."""
    return name is not None and str(name).lower().endswith((".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz"))


def table_rows(source: Path, columns: Sequence[str]) -> tuple[list[dict[str, Any]], CsvTable | None]:
    """Rows of a file, and the table of text that they came from, if it is one.

    Raises:
        SlonikError: as `read_rows`, or a file of another kind.
    """
    if not str(source).lower().endswith(ENDINGS):
        raise SlonikError(f"{source} is no file of rows: give one of {', '.join(OUT_ENDINGS)}")
    if any(str(source).lower().endswith((kind, f"{kind}.gz")) for kind in _TABLES):
        table = read_table(source, columns)
        return table.rows, table
    return read_rows(source, ()), None


def predict_table(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    column: str | None = None,
    batch_size: int = 32,
    probabilities: bool = False,
    bad_lines: Literal["report", "skip", "stop"] = "report",
) -> AnsweredTable:
    """Write the rows of a file again with `label`, `probability` and, if asked for, the probability of each label.

    A column of the file that has such a name stays; the new one is called `label_predicted` (`label_predicted_2`, ...).

    Args:
        out: new file; what it is follows from its ending.
        column: of the texts, of a task that reads one.
        bad_lines: a row that cannot be answered has no label, and `error` says why; is left out; or ends it all.

    Raises:
        SlonikError: no such file or kind of file, a column that no row has, `out` is there, a row that cannot be
            answered and "stop".
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    check_count("batch_size", batch_size)
    target = Path(out)
    if target.suffix.lower() not in OUT_ENDINGS:
        raise SlonikError(f"--out {target} is no kind of file that is written: take one of {', '.join(OUT_ENDINGS)}")
    if target.exists():
        raise SlonikError(f"{target} is there already: name another file, or remove it")
    if column is not None and len(predictor.columns) != 1:
        read = ", ".join(predictor.columns) or "the official fields"
        raise SlonikError(f"--column is {column!r}, and the task reads {read}: leave it out, and name columns so")
    rows, table = table_rows(Path(source), [column] if column else predictor.columns)
    if not rows:
        raise SlonikError(f"{source} has no rows")
    there = list(dict.fromkeys(str(name) for row in rows for name in row))
    for needed in [column] if column else predictor.columns:
        if needed not in there:
            raise SlonikError(f"{source}: {unknown_name(needed, there, 'column')}")
    found = _answers(predictor, rows, column, batch_size, bad_lines, str(source))
    taken = {*there, *(table.header if table else ())}
    lines = [_columns(line, probabilities) for line in found]
    names = list(dict.fromkeys(name for line in lines for name in line))
    names = [name for name in names if name != "error"] + [name for name in names if name == "error"]
    called = {name: _free(name, taken) for name in names}
    kept = [n for n, line in enumerate(lines) if bad_lines == "report" or "error" not in line]
    if bad_lines == "skip":
        called.pop("error", None)
    made = [{**rows[n], **{called[name]: lines[n].get(name) for name in called}} for n in kept]
    _write(target, made, table)
    faults = tuple(str(line["error"]) for line in lines if "error" in line)
    return AnsweredTable(len(made), tuple(called.values()), faults)


def _free(name: str, taken: Collection[str]) -> str:
    """The name of a new column, which stands in the place of none that is there."""
    if name not in taken:
        return name
    others = itertools.chain([f"{name}_predicted"], (f"{name}_predicted_{number}" for number in itertools.count(2)))
    return next(other for other in others if other not in taken)


def _answers(
    predictor: Predictor, rows: Sequence[Mapping[str, Any]], column: str | None, size: int, policy: str, source: str
) -> list[dict[str, Any]]:
    """A line per row, in their order; a bad row's says `error`."""
    found: list[dict[str, Any]] = [{} for _ in rows]
    waiting: list[tuple[int, Any]] = []
    for place, row in enumerate(rows):
        where = f"row {place + 1}"
        try:
            given = row if column is None else {predictor.columns[0]: _text(row, column, where)}
            waiting.append((place, predictor.read({key: value for key, value in given.items() if key}, where)))
        except SlonikError as error:
            if policy == "stop":
                raise SlonikError(f"{source}, {error}") from None
            found[place] = {"error": str(error)}
    with progress_bar("answering", len(waiting)) as bar:
        for start in range(0, len(waiting), size):
            batch = waiting[start : start + size]
            for (place, _), line in zip(batch, _lines(predictor, batch, policy), strict=True):
                found[place] = line
            bar.advance(len(batch))
    return found


def _text(row: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise SlonikError(f"{where}: the column {column!r} is missing (there are {', '.join(map(str, row))})")
    return row[column]


def _lines(predictor: Predictor, batch: Sequence[tuple[int, Any]], policy: str) -> Iterator[dict[str, Any]]:
    try:
        yield from predictor.answer([given for _, given in batch], probabilities=True)
    except SlonikError:  # a row that only the model can refuse: which one?
        for place, given in batch:
            try:
                yield from predictor.answer([given], probabilities=True)
            except SlonikError as error:
                if policy == "stop":
                    raise
                yield {"error": str(error).replace("row 1", f"row {place + 1}", 1)}


def _columns(line: Mapping[str, Any], probabilities: bool) -> dict[str, Any]:
    """The new columns of a row."""
    if "error" in line:
        return {"label": None, "error": line["error"]}
    label = line.get("label", line.get("passage"))
    made: dict[str, Any] = {"label": label}
    chances = line.get("probabilities")
    if isinstance(chances, Mapping) and isinstance(label, str | bool | int):
        made["probability"] = chances.get(str(label).lower() if isinstance(label, bool) else str(label))
    elif "probability" in line:
        made["probability"] = line["probability"]
    if probabilities and isinstance(chances, Mapping):
        made |= {f"probability_{name}": value for name, value in chances.items()}
    return made


def _write(target: Path, rows: Sequence[Mapping[str, Any]], table: CsvTable | None) -> None:
    kind = target.suffix.lower()
    with new_file(target) as unfinished:
        if kind in _TABLES:
            own = table.separator if table is not None and table.separator != "\t" else ","
            line_end = table.line_end if table is not None else "\n"
            text = _as_text(rows, own if kind == ".csv" else _TABLES[kind], line_end)
            unfinished.write_bytes(_encoded(text, table.encoding if table is not None else "utf-8", target))
        elif kind == ".parquet":
            _write_parquet(unfinished, rows)
        else:
            unfinished.write_text("".join(f"{json_line(dict(row))}\n" for row in rows), encoding="utf-8")


def _as_text(rows: Sequence[Mapping[str, Any]], separator: str, line_end: str) -> str:
    stream = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, names, delimiter=separator, lineterminator=line_end)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ";".join(value)  # as several labels are read
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _encoded(text: str, encoding: str, target: Path) -> bytes:
    with suppress(UnicodeEncodeError):
        return text.encode(encoding)
    warn_once(f"{target}: not everything can be written in {encoding}, so it is UTF-8")
    return text.encode("utf-8-sig", "backslashreplace")  # half a surrogate pair, as scraped texts have them


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("writing Parquet files", "parquet", "pyarrow") from error
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        content = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    except (pyarrow.ArrowException, UnicodeEncodeError) as error:
        raise SlonikError(f"the rows do not make a Parquet file ({error}): write .jsonl instead") from None
    pyarrow.parquet.write_table(content, path)
