"""Models: load, save, describe, encode. The torch-free encoder is in `slonik.runtime`.

The names below are imported when first used, so that reading the files of a checkpoint (`kinds`,
`checkpoint_files`, `describe`) works without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slonik.models.encoder import TorchEncoder as TorchEncoder
    from slonik.models.generation import load_generator as load_generator
    from slonik.models.kinds import resolve as resolve
    from slonik.models.loading import load as load
    from slonik.models.loading import load_transformer as load_transformer
    from slonik.models.loading import save as save
    from slonik.models.opening import open_encoder as open_encoder
    from slonik.models.writing import generate as generate
    from slonik.models.writing import open_generator as open_generator

_HOMES = {
    "TorchEncoder": "encoder", "generate": "writing", "load": "loading", "load_generator": "generation",
    "load_transformer": "loading", "open_encoder": "opening", "open_generator": "writing", "resolve": "kinds",
    "save": "loading",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name from its module.

    Raises:
        MissingExtra: torch or transformers is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from slonik.core.errors import missing_extra

        raise missing_extra(f"slonik.models.{name}", error) from None
