"""Encode the texts of folders of Parquet and JSON Lines: vectors in a column `embedding` of the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.identity import code_identity
from slonik.core.protocols import Encoder
from slonik.core.run import Announce
from slonik.data.part_files import Columns, Kind
from slonik.scaling.parts import PartsResult, process_parts, text_of
from slonik.text.tokenizing import TooLong


class EncodeRows:
    """A column of texts to vectors; an empty text has zeros, and `error` says so."""

    def __init__(self, open_encoder: Callable[[], Encoder], column: str, prefix: str | None) -> None:
        self._encoder, self._column, self._prefix = open_encoder(), column, prefix
        self.kinds: Mapping[str, Kind] = {"embedding": self._encoder.dimension, "error": "text"}

    def answer(self, rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> Columns:
        """See `slonik.scaling.parts.Work`."""
        texts = [text_of(row, self._column, number) for number, row in enumerate(rows, start=1)]
        good = [place for place, text in enumerate(texts) if text is not None]
        vectors = np.zeros((len(texts), self._encoder.dimension), dtype=np.float32)
        before = getattr(self._encoder, "cut_texts", 0)
        if good:
            try:
                vectors[good] = self._encoder.encode([str(texts[place]) for place in good], prefix=self._prefix)
            except TooLong as error:
                raise TooLong(error.place, error.limit, f"row {good[error.place] + 1}") from None
        counts["empty texts"] += len(texts) - len(good)
        if cut := getattr(self._encoder, "cut_texts", 0) - before:
            counts[f"texts cut at the {getattr(self._encoder, 'max_length', None)} tokens that the model reads"] += cut
        return {"embedding": vectors, "error": [None if text is not None else "empty" for text in texts]}


def encode_parts(
    open_encoder: Callable[[], Encoder],
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    identity: Mapping[str, Any],
    column: str = "text",
    prefix: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    progress: bool = False,
    announce: Announce | None = None,
) -> PartsResult:
    """Encode every part; see `slonik.scaling.parts.process_parts` for what is common to all models.

    Args:
        open_encoder: opens the model; picklable where Ray's actors are to call it.
        identity: of model and options.
        column: of the texts.
        prefix: None = the model's default, "" = none.

    Raises:
        SlonikError: as `process_parts`, or what the encoder refuses.
    """
    known = {**identity, "column": column, "prefix": prefix, "code": code_identity(__name__)}
    return process_parts(
        partial(EncodeRows, open_encoder, column, prefix), inputs, out, command="encode", identity=known,
        engine=engine, workers=workers, progress=progress, announce=announce,
    )  # fmt: skip
