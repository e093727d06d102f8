"""Stream English-Russian translation pairs: TSV files (English, Russian, optional source) and gettext catalogues.

Does: .tsv and .txt (also .gz) with tab-separated columns, .po and .mo, folders and several of them, in file order.
Does not: filter by length, deduplicate or align anything (see `sampling`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.data.catalogues import CATALOGUE_FORMATS, read_catalogue
from slonik.text.lines import numbered_lines

Pair = tuple[str, str]


def read_pairs(paths: str | Path | Sequence[str | Path]) -> Iterator[Pair]:
    """Iterate over (English, Russian) pairs; pairs with an empty side are skipped.

    Missing files and the first pair are checked at the call. Raises SlonikError for a missing file, a line with
    fewer than two columns, no pair at all, or what `lines.numbered_lines` and `catalogues.read_catalogue` raise.
    """
    files = _pair_files([paths] if isinstance(paths, str | Path) else list(paths))
    pairs = itertools.chain.from_iterable(_file_pairs(path) for path in files)
    first = next(pairs, None)
    if first is None:
        names = ", ".join(str(path) for path in files[:3])
        raise SlonikError(f"no translation pair in {names}")
    return itertools.chain([first], pairs)


def _pair_files(given: list[str | Path]) -> list[Path]:
    """The files to read; folders give their .po, .mo and .tsv files."""
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in CATALOGUE_FORMATS or _is_table(p))
            if not found:
                raise SlonikError(f"no translation pairs in {path}: no .tsv, .tsv.gz, .po or .mo file there")
            files.extend(found)
        elif path.exists():
            files.append(path)
        else:
            raise SlonikError(f"file of translation pairs not found: {path}")
    if not files:
        raise SlonikError("no file of translation pairs given")
    return files


def _is_table(path: Path) -> bool:
    return path.name.endswith((".tsv", ".tsv.gz"))


def _file_pairs(path: Path) -> Iterator[Pair]:
    """The pairs of one file, by its ending."""
    return read_catalogue(path) if path.suffix in CATALOGUE_FORMATS else _table_pairs(path)


def _table_pairs(path: Path) -> Iterator[Pair]:
    """English, Russian and ignored further columns, separated by tabs, without quoting."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) < 2:
            raise SlonikError(f"{path}, line {number}: no tab; a pair is English, a tab, Russian")
        english, russian = columns[0].strip(), columns[1].strip()
        if english and russian:
            yield english, russian
