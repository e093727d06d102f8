"""Models that Python packages carry, so that everything works on a machine without the hub.

Each module rebuilds one model from a registry package. `materialise` writes it once into the cache folder as an
ordinary checkpoint, under a name that holds the package version and the folder format, so that a newer package
or a newer writer makes a new folder. This module loads no weights into a model and needs no torch.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import ModuleType

from slonik.core.errors import MissingExtra, SlonikError, lookup
from slonik.core.files import new_folder
from slonik.core.paths import cache_dir
from slonik.core.progress import progress_bar
from slonik.models.embedded import all_minilm_l6_v2, multilingual_e5_small
from slonik.models.names import EMBEDDED_PREFIX, UNIVERSAL_SENTENCE_ENCODER

# Each has NAME, PACKAGE, FORMAT and build(folder).
CHECKPOINTS: dict[str, ModuleType] = {
    multilingual_e5_small.NAME: multilingual_e5_small,
    all_minilm_l6_v2.NAME: all_minilm_l6_v2,
}


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
    module = lookup(name, CHECKPOINTS, "embedded model")
    try:
        version = importlib.metadata.version(module.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtra(called, "embedded", module.PACKAGE) from None
    folder = cache_dir() / "embedded" / f"{name}-{module.PACKAGE}-{version}-v{module.FORMAT}"
    if (folder / "config.json").is_file():
        return folder
    with progress_bar(f"unpacking {called}"):
        try:
            with new_folder(folder) as unfinished:
                module.build(unfinished)
        except SlonikError:
            if not (folder / "config.json").is_file():  # another process was first
                raise
    return folder
