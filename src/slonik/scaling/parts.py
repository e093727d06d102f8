"""A model over folders of rows: one output part per input part, done parts skipped, by this process or by Ray's actors.

What is done to rows comes as a `Work`, which opens a model and says which columns it adds. The parts of a folder are
independent, so workers share them out; the rows of a part stay in order. A part that is there was made from the same
content by the same model: its record beside it says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import new_file, write_json
from slonik.core.identity import file_identity
from slonik.core.progress import progress_bar, shown
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.part_files import Columns, Kind, PartFile, part_files, part_writer, read_part_rows

LIVE = ".slonik"
_ENGINES = ("local", "ray")
_SHOWN = 3


class Work(Protocol):
    """A model, and what it says of rows.

    Attributes:
        kinds: name -> kind of the columns that it adds.
    """

    kinds: Mapping[str, Kind]

    def answer(self, rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> Columns:
        """The new columns of some rows.

        Args:
            counts: of what the user should know, in words: added to.

        Raises:
            SlonikError: a row without the column that is read; its sentence begins with the row's number in `rows`.
        """
        ...


Open = Callable[[], Work]
"""Opens the model; picklable where Ray's actors are to call it."""


@dataclass(frozen=True, kw_only=True)
class PartsResult(Result):
    """Folders of rows that a model has gone through.

    Attributes:
        folder: of the output parts.
        parts: how many there are.
        skipped: of these, that were done before.
        rows: in all parts.
        counts: what happened to rows, in words -> how many.
    """

    folder: Path
    parts: int
    skipped: int
    rows: int
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """What was made, in a line."""
        return f"{self.rows:,} rows in {self.parts:,} parts ({self.skipped:,} done before) -> {self.folder}"


def process_parts(
    open_work: Open,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    command: str,
    identity: Mapping[str, Any],
    engine: str = "local",
    workers: int | None = None,
    progress: bool = False,
    announce: Announce | None = None,
) -> PartsResult:
    """Write every part of `inputs` again, with what the model says of its rows, into the folder `out`.

    Args:
        inputs: folders of Parquet and JSON Lines, or such files.
        identity: of model and options: everything but the parts that decides the result.
        engine: "local" (this process) or "ray".
        workers: models at once, of Ray; None = as many as the cluster has processors.
        progress: show it on standard error. announce: called with a line for the user, instead.

    Raises:
        SlonikError: no parts, something else in `out`, or made by another model; parts that failed, which are named
            when all others are done.
        MissingExtra: pyarrow or ray is not installed.
    """
    lookup(engine, dict.fromkeys(_ENGINES), "engine")
    if workers is not None and (engine == "local" or workers < 1):
        raise SlonikError(f"workers is {workers}: with --engine ray it is a number from 1 on, and of no use without")
    parts, others = part_files(inputs)
    tell = announce or (say if progress else silent)
    with shown(progress), Run(out, command=command, announce=tell, reads=inputs, live=LIVE) as run:
        run.done_before(identity)
        if others:
            tell(f"{others:,} files that are neither Parquet nor JSON Lines are left alone")
        records = run.folder / "parts"
        stamps = {part.name: file_identity(part.path) for part in parts}
        todo = [part for part in parts if _done(part, run.out, records, stamps[part.name]) is None]
        if skipped := len(parts) - len(todo):
            tell(f"{skipped:,} of {len(parts):,} parts: done before")
        failures: dict[str, str] = {}
        with progress_bar(f"{command}: parts", total=len(parts), completed=skipped) as bar:

            def ended(name: str, error: str | None) -> None:
                bar.advance(1)
                if error is not None:
                    failures[name] = error

            each = partial(process_part, out=run.out, records=records, stamps=stamps)
            if engine == "ray" and todo:
                from slonik.scaling.engines.ray_parts import run_on_ray

                run_on_ray(open_work, each, todo, workers, ended)
            elif todo:
                _run_here(open_work, each, todo, ended)
        _check(failures, len(parts))
        found = [_done(part, run.out, records, stamps[part.name]) or {} for part in parts]
        counts = sum((Counter(one["counts"]) for one in found), Counter[str]())
        rows = sum(int(one["rows"]) for one in found)
        return PartsResult(
            folder=run.out, parts=len(parts), skipped=skipped, rows=rows, counts=dict(counts), seconds=run.seconds
        )


def process_part(work: Work, part: PartFile, *, out: Path, records: Path, stamps: Mapping[str, str]) -> None:
    """Write one part, then the record that it is done.

    Raises:
        SlonikError: naming the file and the row.
    """
    target, counts, rows = out / part.name, Counter[str](), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_file(target) as temporary:
        writer = part_writer(part, temporary, work.kinds)
        try:
            for batch, values in read_part_rows(part):
                try:
                    columns = work.answer(values, counts)
                except SlonikError as error:
                    among = f"among rows {rows + 1:,} to {rows + len(values):,}"
                    raise SlonikError(f"{part.path}, {among}: {error}") from None
                writer.write(batch, columns)
                rows += len(values)
        finally:
            writer.close()
    made = {"input": stamps[part.name], "bytes": target.stat().st_size, "rows": rows, "counts": dict(counts)}
    write_json(records / f"{part.name}.json", made)


def text_of(row: Mapping[str, Any], column: str, number: int) -> str | None:
    """The text of a row; None where it is empty.

    Raises:
        SlonikError: there is no such column, or it holds something else.
    """
    if column not in row:
        raise SlonikError(f"row {number}: no column {column!r} (it has: {', '.join(row)[:200]}): name one by --column")
    value = row[column]
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise SlonikError(f"row {number}: the column {column!r} holds {value!r}, a {type(value).__name__}, and no text")
    return value


def _run_here(
    open_work: Open, each: Callable[[Work, PartFile], None], todo: Sequence[PartFile],
    ended: Callable[[str, str | None], None],
) -> None:  # fmt: skip
    work = open_work()
    for part in todo:
        try:
            each(work, part)
            ended(part.name, None)
        except SlonikError as error:
            ended(part.name, str(error))


def _done(part: PartFile, out: Path, records: Path, stamp: str) -> dict[str, Any] | None:
    """The record of a part that is whole and was made of the same content."""
    target = out / part.name
    try:
        record: dict[str, Any] = json.loads((records / f"{part.name}.json").read_text(encoding="utf-8"))
        same = record["input"] == stamp and record["bytes"] == target.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same else None


def _check(failures: Mapping[str, str], parts: int) -> None:
    if failures:
        told = "; ".join(list(failures.values())[:_SHOWN])
        more = f"; and {len(failures) - _SHOWN:,} more" if len(failures) > _SHOWN else ""
        raise SlonikError(f"{len(failures):,} of {parts:,} parts failed ({told}{more}); the others are done")
