"""What an export was given, checked: the checkpoint's folder, texts to calibrate on."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.data.readers import read_texts
from slonik.exporting.parity import calibration_texts
from slonik.models import TorchEncoder

_MOST_FILE_TEXTS = 256


def check_source(encoder: TorchEncoder, out: Path) -> None:
    """Refuse a model that lies in memory only, and a folder that holds the checkpoint itself.

    Raises:
        SlonikError: it is one of these.
    """
    if encoder.source is None:
        raise SlonikError(
            f"{encoder.name} lies in memory only: save it with slonik.models.save, then export the folder"
        )
    if out.resolve() in (encoder.source.resolve(), *encoder.source.resolve().parents):
        raise SlonikError(f"{out} holds the checkpoint itself, which an export would replace: choose another --out")


def calibration(corpus: str | Path | Iterable[str] | None) -> list[str]:
    """The texts that activation ranges are taken from: given ones, the first 256 of a file, or our own Russian ones.

    Raises:
        SlonikError: there is none.
    """
    if corpus is None:
        return calibration_texts()
    texts = list(islice(read_texts(corpus), _MOST_FILE_TEXTS)) if isinstance(corpus, str | Path) else list(corpus)
    if not texts:
        raise SlonikError("the calibration corpus is empty: give at least a few dozen texts")
    return texts
