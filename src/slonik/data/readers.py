"""Stream texts out of corpora: .txt, .jsonl, .csv, .tsv (each also .gz) and .parquet; one file, several, or folders.

Does: yield one text at a time in file order, in constant memory, with errors that name the file and the line.
Does not: clean, split or deduplicate texts. Translation pairs are read by `pairs`.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.identity import HUB, code_identity, known_of
from slonik.core.progress import progress_bar
from slonik.text.lines import MAX_LINE_BYTES, json_lines, numbered_lines

#: File name endings that are read as texts (`.gz` may follow all but .parquet).
FORMATS = (".txt", ".text", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_PLAIN = (".txt", ".text")

_DEFAULT_COLUMN = "text"
# What `slonik data prepare` makes: held-out texts lie beside shards, or beside a folder of documents.
_SHARDS, _DOCUMENTS, _HELD_OUT = "shards.json", "documents", "held_out.jsonl"
_PARQUET_BATCH_ROWS = 4096

Paths = str | Path | Sequence[str | Path]


def corpus_files(paths: Paths) -> list[Path]:
    """List the files that `read_texts` would read, in order: folders are walked and sorted by name.

    Raises SlonikError when nothing is given, a path does not exist, or a folder holds no file of a known format.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise SlonikError("no corpus file given")
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            if (path / _SHARDS).is_file():
                raise SlonikError(f"{path} holds a corpus that is tokenised already ({_SHARDS}), and texts are needed")
            if (path / _DOCUMENTS).is_dir() and (path / _HELD_OUT).is_file():
                raise SlonikError(f"{path} holds texts that were set aside ({_HELD_OUT}) too: give {path / _DOCUMENTS}")
            found = sorted(p for p in path.rglob("*") if p.is_file() and _kind(p) in FORMATS and not is_ranges(p.name))
            if not found:
                raise SlonikError(f"no text file in {path}; files that can be read: {_formats_sentence()}")
            files.extend(found)
        elif path.exists():
            files.append(path)
        else:
            raise SlonikError(f"corpus not found: {path}")
    return files


def read_texts(paths: Paths, *, column: str | int | None = None) -> Iterator[str]:
    """Iterate over the texts of a corpus; blank ones are skipped, each is stripped of surrounding white space.

    paths: a file, a folder, or several of them. A file with an unknown ending is read as plain text.
    column: for .jsonl the field, for .parquet the column, for .csv and .tsv the header's name or a number counted
        from 0 (then the file has no header). Default: `text`, or the only column there is.

    Missing files, the first text and its encoding are checked at the call, not at the first `next`.
    Raises SlonikError for what `corpus_files`, `check_column` and `lines.numbered_lines` raise, for a corpus without
    any text, and for a missing column or a line that is not a record.
    """
    files = corpus_files(paths)
    check_column(files, column)
    texts = itertools.chain.from_iterable(_file_texts(path, column) for path in files)
    found = (text for raw in texts if (text := raw.strip()))
    first = next(found, None)
    if first is None:
        names = ", ".join(str(path) for path in files[:3]) + (" ..." if len(files) > 3 else "")
        raise SlonikError(f"the corpus is empty: no text in {names}")
    return itertools.chain([first], found)


def has_columns(name: str | Path) -> bool:
    """Whether a file (by its ending) or a hub data set holds records that `column` chooses a field of."""
    return str(name).startswith(HUB) or (_kind(Path(name)) in FORMATS and _kind(Path(name)) not in _PLAIN)


def check_column(files: Sequence[str | Path], column: str | int | None) -> None:
    """That a column is named only where one of the files has any.

    Raises SlonikError for a column of plain text alone: the option would do nothing.
    """
    if column is not None and not any(map(has_columns, files)):
        names = ", ".join(str(path) for path in files[:3]) + (" ..." if len(files) > 3 else "")
        raise SlonikError(f"--column is {column!r}, and {names}, plain text, has no columns: leave it out")


def check_files(paths: Paths) -> None:
    """Read all lines once, so that what would be refused in the middle of hours of work is refused before it.

    Looks for what `lines.numbered_lines` refuses: other encodings, NUL bytes, endless lines, damaged gzip files.
    Whether a line is a record, and what a Parquet file holds, is seen only when it is read. A large file that was right
    is not read again as long as its size, times and inode are the same.

    Raises SlonikError for that, and for what `corpus_files` raises.
    """
    files = [path for path in corpus_files(paths) if _kind(path) != ".parquet"]
    checked = f"lines are right: {code_identity('slonik.text.lines')}"
    with progress_bar("checking texts", len(files)) as bar:
        for path in files:
            known_of(path, checked, _all_lines)
            bar.advance(1)


def _all_lines(path: Path) -> bool:
    for _ in numbered_lines(path):
        pass
    return True


def is_ranges(name: str) -> bool:
    """Whether a file is the table of sources beside a text file (see `documents`), and no text itself."""
    return name.endswith(".ranges.tsv")


def _kind(path: Path) -> str:
    """The format ending of a file name, without `.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _formats_sentence() -> str:
    return ", ".join(FORMATS) + " (.gz too)"


def _file_texts(path: Path, column: str | int | None) -> Iterator[str]:
    """The raw texts of one file, by its ending."""
    kind = _kind(path)
    if kind in (".jsonl", ".ndjson"):
        return _jsonl_texts(path, _DEFAULT_COLUMN if column is None else str(column))
    if kind in (".csv", ".tsv"):
        return _table_texts(path, "\t" if kind == ".tsv" else ",", column)
    if kind == ".parquet":
        return _parquet_texts(path, column)
    return (line for _, line in numbered_lines(path))


def _jsonl_texts(path: Path, field: str) -> Iterator[str]:
    """One JSON object with the field, or one JSON string, a line."""
    for where, record in json_lines(path):
        text = record.get(field) if isinstance(record, dict) else record
        if not isinstance(text, str):
            has = f"fields: {', '.join(record)}" if isinstance(record, dict) else f"a {type(record).__name__}"
            raise SlonikError(f"{where}: no text in the field '{field}' (the line has {has})")
        yield text


def _table_texts(path: Path, delimiter: str, column: str | int | None) -> Iterator[str]:
    """One column of a .csv (quoted as usual) or .tsv (never quoted) file."""
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = (line + "\n" for _, line in numbered_lines(path))
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting)
    index = int(column) if column is not None and str(column).isdecimal() else None
    try:
        for row in rows:
            if not row:
                continue
            if index is None:
                index = _header_index(path, [name.strip() for name in row], column)
                continue
            if index >= len(row):
                where = f"{path}, line {rows.line_num}"
                raise SlonikError(f"{where}: no column {index} (counted from 0), the line has {len(row)}")
            yield row[index]
    except csv.Error as error:
        raise SlonikError(f"{path}, line {rows.line_num}: not a table row ({error})") from error


def _header_index(path: Path, header: list[str], column: str | int | None) -> int:
    """Where the wanted column stands in the header."""
    wanted = _DEFAULT_COLUMN if column is None else str(column)
    if wanted in header:
        return header.index(wanted)
    if column is None and len(header) == 1:
        return 0
    raise SlonikError(
        f"{path}: no column '{wanted}' in the header ({', '.join(header)[:200]}); "
        f"name one of these, or give a number counted from 0 if there is no header"
    )


def _parquet_texts(path: Path, column: str | int | None) -> Iterator[str]:
    """One string column of a Parquet file, read batch by batch; nulls are skipped."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet files", "parquet", "pyarrow") from error
    try:
        with parquet.ParquetFile(path) as table:
            names = table.schema_arrow.names
            wanted = str(column) if column is not None else (_DEFAULT_COLUMN if len(names) > 1 else names[0])
            if wanted not in names:
                raise SlonikError(f"{path}: no column '{wanted}' (it has: {', '.join(names)[:200]})")
            for batch in table.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=[wanted]):
                yield from _strings(batch.column(0).to_pylist(), path, wanted)
    except (arrow.ArrowException, OSError) as error:
        raise SlonikError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from error


def _strings(values: list[Any], path: Path, column: str) -> Iterator[str]:
    for value in values:
        if value is None:
            continue
        if not isinstance(value, str):
            kind = type(value).__name__
            raise SlonikError(f"{path}: the column '{column}' holds {kind} values, texts are needed")
        yield value
