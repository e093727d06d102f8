"""slonik: a workbench for Russian transformer models.

    import slonik

    small = slonik.compress("embedded:multilingual-e5-small", corpus="ru.txt", out="small", layers=6)
    fast = slonik.export(small.checkpoint, out="small-onnx")
    vectors = slonik.load(fast.checkpoint).encode(["слонёнок", "little elephant"])

Every function takes plain Python values and objects as well as paths and names, gives a typed result, is silent unless
`progress=True`, and raises `SlonikError` for what its user can mend. A function is imported when it is first used: the
import of slonik itself brings neither torch nor anything else that takes time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slonik.core.errors import SlonikError
from slonik.core.version import __version__

if TYPE_CHECKING:
    from slonik.compression.compress import compress as compress
    from slonik.compression.distill import distill as distill
    from slonik.compression.static.run import compress_static as compress_static
    from slonik.evaluation.board import board as board
    from slonik.evaluation.board import check_submission as check_submission
    from slonik.evaluation.card import card as card
    from slonik.exporting.package.run import package as package
    from slonik.exporting.run import export as export
    from slonik.finetuning.folders import predict_folder as predict_folder
    from slonik.finetuning.predict import predict as predict
    from slonik.jobs import launch as launch
    from slonik.jobs import sweep as sweep
    from slonik.library import encode_folder as encode_folder
    from slonik.library import evaluate as evaluate
    from slonik.library import finetune as finetune
    from slonik.library import load as load
    from slonik.library import serve as serve
    from slonik.models.opening import show as show
    from slonik.models.writing import generate as generate
    from slonik.pretraining.adaptation.adapt import adapt as adapt
    from slonik.pretraining.preparation.prepare import prepare as prepare
    from slonik.pretraining.pretrain import pretrain as pretrain
    from slonik.tagging.folders import tag_folder as tag_folder
    from slonik.tagging.tag import tag as tag
    from slonik.words.ask import ask_words as ask_words
    from slonik.words.map import draw_map as draw_map
    from slonik.words.train import train_words as train_words

_HOMES = {
    "load": "slonik.library",
    "show": "slonik.models.opening",
    "compress": "slonik.compression.compress",
    "compress_static": "slonik.compression.static.run",
    "distill": "slonik.compression.distill",
    "prepare": "slonik.pretraining.preparation.prepare",
    "pretrain": "slonik.pretraining.pretrain",
    "adapt": "slonik.pretraining.adaptation.adapt",
    "finetune": "slonik.library",
    "tag": "slonik.tagging.tag",
    "predict": "slonik.finetuning.predict",
    "ask_words": "slonik.words.ask",
    "train_words": "slonik.words.train",
    "draw_map": "slonik.words.map",
    "encode_folder": "slonik.library",
    "tag_folder": "slonik.tagging.folders",
    "predict_folder": "slonik.finetuning.folders",
    "generate": "slonik.models.writing",
    "evaluate": "slonik.library",
    "export": "slonik.exporting.run",
    "board": "slonik.evaluation.board",
    "check_submission": "slonik.evaluation.board",
    "card": "slonik.evaluation.card",
    "package": "slonik.exporting.package.run",
    "serve": "slonik.library",
    "launch": "slonik.jobs",
    "sweep": "slonik.jobs",
}

__all__ = ["SlonikError", "__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """The function `name` of the library, imported now.

    Raises:
        MissingExtra: a package that it needs is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'slonik' has no attribute {name!r}")
    from slonik.core.errors import missing_extra

    try:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise missing_extra(f"slonik.{name}", error) from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The names of the library."""
    return sorted(__all__)
