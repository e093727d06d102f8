"""The main job on what registry packages carry: an embedded model, gettext translations, a few minutes of training.

Leaves a usable small model. The corpus is interface text of programs, translated by people, so the student is good at
such text and only fair elsewhere; the recipes under `recipes/` make better ones from real corpora. The catalogues are
read where pip installed them and never copied into slonik; `DEMO_PACKAGES` says under which licence each package gives
them.
Does not: install anything (`pip install 'slonik[demo]'` does), or use the network.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slonik.compression.compress import Compression, run_compress
from slonik.compression.config import CompressConfig, CorpusConfig, DistillConfig, PruneConfig, TrimConfig
from slonik.core.errors import MissingExtra
from slonik.core.run import Announce, silent
from slonik.data.given import Given
from slonik.data.pairs import read_catalogue
from slonik.data.sampling import normalised

MODEL = "embedded:multilingual-e5-small"
_STEPS = 260


def demo(out: str | Path, announce: Announce = silent, *, steps: int = _STEPS) -> Compression:
    """Run the demo; see `compress`.

    Args:
        out: folder for the small model.
        announce: called with one line for the user as steps begin and end.
        steps: of training; fewer are faster and worse.

    Raises:
        MissingExtra: none of the packages with translations is installed.
    """
    given = Given(out)
    pairs = [(_line(english), _line(russian)) for english, russian in demo_pairs()]
    names = ", ".join(f"{package.name} ({package.licence})" for package in installed_catalogues())
    announce(f"{len(pairs)} translated messages from {names}")
    config = CompressConfig(
        model=MODEL,
        out=str(out),
        corpus=CorpusConfig(
            texts=given.texts("russian", [russian for _, russian in pairs]),
            pairs=given.pairs("pairs", pairs),
            train_texts=6_000,
            train_pairs=2_000,
            held_out_texts=300,
            held_out_pairs=300,
            held_out_share=0.06,
        ),
        trim=TrimConfig(min_count=1, max_pieces=36_000),
        prune=PruneConfig(keep_layers=(1, 3, 5, 7, 9, 11), texts=256),
        distill=DistillConfig(max_steps=steps, batch_tokens=1024, evaluations=4),
        evaluate=False,
    )
    more = f" --steps {steps}" if steps != _STEPS else ""
    return run_compress(config, announce, given=given, command=f"slonik demo --out {out}{more}")


def _line(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True)
class DemoPackage:
    """A package that carries Russian catalogues: its name on the registry, its licence, what its texts are about."""

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

_RUSSIAN_CATALOGUE = re.compile(r"(^|/)ru(_RU)?/LC_MESSAGES/[^/]+\.mo$")
_PLACEHOLDER = re.compile(r"%\(\w+\)\w|%\d*\w|\$\{\w+\}|\$\w+|\{\w*\}|<\w+>")
_LETTERS = re.compile(r"[A-Za-zА-Яа-яЁё]")


def installed_catalogues() -> dict[DemoPackage, list[Path]]:
    """The Russian catalogues of the demo packages that are installed."""
    found: dict[DemoPackage, list[Path]] = {}
    for package in DEMO_PACKAGES:
        try:
            files = importlib.metadata.files(package.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = sorted(Path(str(file.locate())) for file in files if _RUSSIAN_CATALOGUE.search(file.as_posix()))
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
