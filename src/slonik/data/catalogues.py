"""Translated messages of programs whose packages are installed: text that people have translated, without a download.

The catalogues (gettext) are read where pip installed them and never copied into slonik; `DEMO_PACKAGES` says under
which licence each package gives them. Interface text: short, and about programs.
Does not: install anything (`pip install 'slonik[demo]'` does), or use the network.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import MissingExtra
from slonik.data.pairs import read_catalogue
from slonik.data.sampling import normalised


@dataclass(frozen=True)
class DemoPackage:
    """A package with catalogues, Russian ones among them: its name, its licence, what its texts are about."""

    name: str
    licence: str
    about: str


#: Packages that are looked for, in this order; whichever are installed are used.
DEMO_PACKAGES: tuple[DemoPackage, ...] = (
    DemoPackage("gramps", "GPL-2.0-or-later", "genealogy: interface, tips, phrases of reports"),
    DemoPackage("plone.app.locales", "GPL-2.0", "content management: interface and mails"),
    DemoPackage("jupyterlab-language-pack-ru-RU", "BSD-3-Clause", "notebooks, version control, language servers"),
    DemoPackage("Django", "BSD-3-Clause", "web framework: validation messages, administration"),
)

_PLACEHOLDER = re.compile(r"%\(\w+\)\w|%\d*\w|\$\{\w+\}|\$\w+|\{\w*\}|<\w+>")
_LETTERS = re.compile(r"[A-Za-zА-Яа-яЁё]")


def installed_catalogues(language: str = "ru") -> dict[DemoPackage, list[Path]]:
    """The catalogues of a language ("ru", "de") in the demo packages that are installed."""
    catalogue = re.compile(rf"(^|/){re.escape(language)}(_[A-Z]{{2}})?/LC_MESSAGES/[^/]+\.mo$")
    found: dict[DemoPackage, list[Path]] = {}
    for package in DEMO_PACKAGES:
        try:
            files = importlib.metadata.files(package.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = sorted(Path(str(file.locate())) for file in files if catalogue.search(file.as_posix()))
        if paths := [path.resolve() for path in paths if path.is_file()]:
            found[package] = paths
    return found


def demo_pairs(*, min_words: int = 1, max_words: int = 60) -> list[tuple[str, str]]:
    """All different (English, Russian) pairs of the installed demo packages, in a fixed order.

    min_words, max_words: how long both sides may be. Left out besides: message keys instead of messages, texts with
    more than two placeholders, texts that are mostly signs, and all but the first pair with one Russian side.
    Raises MissingExtra when none of the packages is installed.
    """
    catalogues = installed_catalogues()
    if not catalogues:
        raise MissingExtra("the demo's corpus", "demo", DEMO_PACKAGES[0].name)
    paths = [path for files in catalogues.values() for path in files]
    pairs: dict[str, tuple[str, str]] = {}
    for english, russian in _messages(paths):
        words = len(english.split()), len(russian.split())
        if min_words <= min(words) and max(words) <= max_words and _is_text(english) and _is_text(russian):
            pairs.setdefault(normalised(russian), (english, russian))
    return list(pairs.values())


def other_messages(language: str) -> dict[str, str]:
    """English message -> its translation into another language, of the installed packages; only what reads as text."""
    found: dict[str, str] = {}
    for paths in installed_catalogues(language).values():
        for path in paths:
            for english, translated in read_catalogue(path, russian=False):
                if _is_text(english) and len(translated.split()) > 1:
                    found.setdefault(english, translated)
    return found


def _messages(paths: list[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        yield from read_catalogue(path)


def _is_text(text: str) -> bool:
    """Whether a message reads as text: not a key like `label_my_page`, few placeholders, mostly letters."""
    if "_" in text and " " not in text:
        return False
    placeholders = _PLACEHOLDER.findall(text)
    rest = _PLACEHOLDER.sub("", text)
    return len(placeholders) <= 2 and 2 * len(_LETTERS.findall(rest)) > len(rest.replace(" ", ""))
