"""What every inspection takes: a transformer by name or loaded, and texts from a file, from Python, or of our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.evaluation.resources.measure import bench_texts
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import is_checkpoint, kind_of
from slonik.models.loading import load
from slonik.models.padding import pad

BATCH = 16
TEXTS = 64
Texts = str | Path | Iterable[str] | None
"""A file of texts, texts, or None for sentences of our own."""


def open_transformer(
    model: str | Path | TorchEncoder, *, device: str | None = None, trust_remote_code: bool = False
) -> TorchEncoder:
    """A transformer that is loaded, or loaded now under the name that the user gave.

    Raises:
        SlonikError: no such model, or one without layers and heads.
    """
    if isinstance(model, str | Path):
        if not is_checkpoint(model) or kind_of(model).stack is None:
            raise SlonikError(f"{model} is no transformer: it has no layers and heads to look into")
        name, model = str(model), load(model, device=device, trust_remote_code=trust_remote_code)
        model.name = name
    if not isinstance(model, TorchEncoder):
        raise SlonikError(f"{model.name} is no transformer: it has no layers and heads to look into")
    return model


def texts_of(texts: Texts, limit: int = TEXTS) -> list[str]:
    """Texts of a file or of one's own, `limit` of them at most; texts given in Python are taken whole.

    Raises:
        SlonikError: the file is not there or holds no text.
    """
    if texts is None or isinstance(texts, str | Path):
        return bench_texts(None if texts is None else Path(texts), limit=limit)
    return list(texts)


def batches(
    encoder: TorchEncoder, texts: Sequence[str], size: int, prefix: str | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded ids and masks of `texts` in their order, `size` texts at a time; None = the encoder's own prefix."""
    rows = encoder.tokenize(texts, prefix)
    for start in range(0, len(rows), size):
        inputs = pad(rows[start : start + size], encoder.pad_id, device=encoder.device)
        yield inputs["input_ids"], inputs["attention_mask"]
