"""The card of a distribution, with what it lacks measured: encodechka, speed beside peers, how it behaves.

Everything is measured on the installed package itself, beside the models that the maker names, and kept in the
distribution's passport; the card is then written from it. Each part alone can be measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from slonik.core.errors import SlonikError, lookup
from slonik.core.records import Record, read_records
from slonik.core.run import Announce, Result, say, silent
from slonik.evaluation.suite import Evaluation
from slonik.exporting.package.card import Made, read_made, write_card
from slonik.models import distributions
from slonik.models.names import EMBEDDED_PREFIX


def card(
    package: str | Path,
    *,
    measure: str | Iterable[str] = (),
    against: str | Sequence[str] = (),
    records: str | Path | Iterable[str | Path | Record] = (),
    about: str | Path | None = None,
    data_dir: str | Path | None = None,
    pairs: str | Path | Iterable[tuple[str, str]] | None = None,
    progress: bool = False,
    announce: Announce | None = None,
) -> Result:
    """Measure what the card of a distribution is to say, and write it.

    Args:
        package: the folder of the distribution, as `slonik.package` wrote it.
        measure: of "encodechka", "speed", "character": on the package that is installed.
        against: models that are measured beside it.
        records: results that were measured already, or files of them; they go into the passport as they are.
        about: Markdown, or the path of such a file: how the model was made, from which data; None = as it was.
        data_dir: of encodechka, and of the texts that speed is measured on.
        pairs: of "character": (English, Russian) texts or a file of them; None = messages of installed programs.
        progress: say on standard error what is being done.
        announce: called with a line instead.

    Returns:
        `report`: the card's file; `records`: everything that it was written from.

    Raises:
        SlonikError: no such package, another one of its name is installed, an unknown part, or what a part raises.
    """
    started, said = time.perf_counter(), announce or (say if progress else silent)
    made = read_made(package)
    parts = [measure] if isinstance(measure, str) else list(measure)
    models = [EMBEDDED_PREFIX + made.name, *([against] if isinstance(against, str) else against)]
    work = [(name, lookup(name, _PARTS, "part of a card")) for name in parts]
    found = list(_given(records))
    if work:
        _check_installed(made)
    for name, part in work:
        said(f"{name} ...")
        some = part(models, data_dir, pairs, progress)
        found += some.records
        for warning in some.warnings:
            said(f"warning: {warning}")
        write_card(made.root, found)  # what was measured is kept if the next part fails
    text = about.read_text(encoding="utf-8") if isinstance(about, Path) else about
    path, all_records = write_card(made.root, found, about=text)
    return Result(report=path, records=all_records, seconds=time.perf_counter() - started)


Part = Callable[[list[str], "str | Path | None", "str | Path | Iterable[tuple[str, str]] | None", bool], Evaluation]


def _encodechka(models: list[str], data_dir: object, pairs: object, progress: bool) -> Evaluation:
    from slonik.evaluation.encodechka.suite import encodechka

    return encodechka(models, data_dir=data_dir, progress=progress)  # type: ignore[arg-type]


def _speed(models: list[str], data_dir: object, pairs: object, progress: bool) -> Evaluation:
    from slonik.evaluation.resources.side_by_side import bench

    return bench(models, data_dir=data_dir, progress=progress)  # type: ignore[arg-type]


def _character(models: list[str], data_dir: object, pairs: object, progress: bool) -> Evaluation:
    from slonik.evaluation.character import character

    return character(models, pairs=pairs, progress=progress)  # type: ignore[arg-type]


_PARTS: dict[str, Part] = {"encodechka": _encodechka, "speed": _speed, "character": _character}


def _given(records: str | Path | Iterable[str | Path | Record]) -> Iterable[Record]:
    for one in [records] if isinstance(records, str | Path) else records:
        if isinstance(one, Record):
            yield one
        else:
            yield from read_records(one)


def _check_installed(made: Made) -> None:
    """Refuse to measure another package than that in the folder."""
    there = distributions.find(made.name)
    line = f"pip install --force-reinstall --no-deps {made.root}"
    if there is None:
        raise SlonikError(f"what ships is measured as it is installed, and {made.name} is not: {line}")
    own = made.content.get("files"), made.content.get("version")
    if own != ((read := distributions.read_content(there.folder)).get("files"), read.get("version")):
        raise SlonikError(f"the installed {made.name} is not the one in {made.root}: {line}")
