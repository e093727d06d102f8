"""Corpora and models as they are handed over in Python: by name, or in memory.

What is in memory is written down where a run keeps its steps, so that it is read, hashed and resumed as a file is.
Does: tell paths from texts, write JSON lines, tables of pairs, and models by what saves them.
Does not: read corpora (see `readers`, `pairs`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_text
from slonik.core.identity import HUB
from slonik.core.run import GIVEN, Steps, work_folder
from slonik.data.readers import FORMATS

Texts = str | Path | Iterable[str | Path]
"""A file or folder; several of them; or texts: a sequence of strings most of which name no file."""
Pairs = str | Path | Iterable[str | Path | tuple[str, str]]
"""A file or folder of (English, Russian) pairs, several of them, or pairs."""

_LONGEST_NAME = 1000
_ADDRESS = "://"
_FILE_ENDINGS = (*FORMATS, ".gz", ".po", ".mo")


class Given:
    """What a call of the library was given for a run that makes `out`.

    Args:
        out: as the run's.
    """

    def __init__(self, out: str | Path) -> None:
        self._folder = work_folder(out) / GIVEN
        self._contents: dict[Path, Callable[[], str]] = {}
        self._models: dict[Path, Callable[[Path], object]] = {}
        self.said: dict[str, str] = {}
        """Path of a file that is written here -> what it stands for, in words."""

    def texts(self, name: str, corpus: Texts) -> tuple[str, ...]:
        """Names of the files of a corpus: those that were given, or the one that the texts will lie in.

        Args:
            name: of that file.

        Raises:
            SlonikError: files and texts in one corpus, or a string alone that names no file.
        """
        items = [corpus] if isinstance(corpus, str | Path) else list(corpus)
        for place, item in enumerate(items):
            if not isinstance(item, str | Path):
                raise SlonikError(f"{name} {place} is {item!r}, a {type(item).__name__}: give texts, or names of files")
        found = _files(items, alone=isinstance(corpus, str | Path))
        if found is not None:
            return found
        lines = [json.dumps({"text": str(text)}, ensure_ascii=False) for text in items]
        return self._kept(f"{name}.jsonl", lines, f"{len(lines):,} texts given in Python")

    def pairs(self, name: str, pairs: Pairs) -> tuple[str, ...]:
        """As `texts`, for (English, Russian) pairs.

        Raises:
            SlonikError: files and pairs in one corpus, or something that is neither.
        """
        items: list[Any] = [pairs] if isinstance(pairs, str | Path) else list(pairs)
        if all(isinstance(item, str | Path) for item in items):
            return tuple(str(item) for item in items)
        if any(isinstance(item, str | Path) or len(item) != 2 for item in items):
            raise SlonikError("pairs are files, or (English, Russian) tuples: not both, and nothing else")
        lines = ["\t".join(" ".join(str(side).split()) for side in item) for item in items]
        return self._kept(f"{name}.tsv", lines, f"{len(lines):,} pairs given in Python")

    def _kept(self, name: str, lines: list[str], words: str) -> tuple[str, ...]:
        path = self._folder / name
        self._contents[path] = lambda: "".join(f"{line}\n" for line in lines)
        self.said[str(path)] = words
        return (str(path),)

    def model(self, name: str, model: str | Path | Any, save: Callable[[Any, Path], object]) -> str:
        """Name of a model: what was given, or the folder that the loaded one will lie in.

        Args:
            name: of that folder.
            save: writes a loaded model into a new folder.
        """
        if isinstance(model, str | Path):
            return str(model)
        path = self._folder / name
        self._models[path] = lambda folder: save(model, folder)
        self.said[str(path)] = f"{getattr(model, 'name', type(model).__name__)} given in Python"
        return str(path)

    def write(self, steps: Steps) -> None:
        """Write what is in memory into the folder of the run's steps."""
        for path, save in self._models.items():
            target = steps.folder / GIVEN / path.name
            shutil.rmtree(target, ignore_errors=True)
            save(target)
        for path, content in self._contents.items():
            target = steps.folder / GIVEN / path.name
            text = content()
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                write_text(target, text)

    def told(self, value: Any) -> Any:
        """JSON values in which the files that are written here are told in words: for passports."""
        if isinstance(value, dict):
            return {name: self.told(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.told(one) for one in value]
        return self.said.get(value, value) if isinstance(value, str) else value


def names_of_files(names: list[str]) -> list[str]:
    """The names as they are, where each is a file's, a folder's or a hub's: what is typed is never a text itself.

    Raises:
        SlonikError: there is no such file.
    """
    for name in names:
        if not name.startswith(HUB) and _ADDRESS not in name and not Path(name).exists():
            raise SlonikError(f"corpus not found: {name}; name files or folders that exist, or hub:OWNER/NAME")
    return names


def _files(items: list[str | Path], *, alone: bool) -> tuple[str, ...] | None:
    """The items as names of files; None where they are texts, of which a few may happen to be names of files."""
    named = [alone or _names_a_file(item) for item in items]
    if all(named):
        return tuple(str(item) for item in items)
    if any(isinstance(item, Path) for item in items) or 2 * sum(named) >= len(named):
        text = str(items[named.index(False)])
        raise SlonikError(
            f"a corpus is files or texts, not both: {text[:60]!r} is no file, and {items[named.index(True)]} is one"
        )
    return None


def _names_a_file(item: str | Path) -> bool:
    if isinstance(item, Path) or item.startswith(HUB):
        return True
    if not item.strip() or len(item) > _LONGEST_NAME or any(sign in item for sign in "\0\n"):
        return False
    if item.lower().endswith(_FILE_ENDINGS) and not any(sign.isspace() for sign in item):
        return True
    try:
        return Path(item).exists()
    except OSError:  # a part that is too long for a name
        return False
