"""Which texts lie nearest to a text in every layer of a model: by the cosine of the means over tokens.

Vectors are centred by the mean of the texts that are looked among, without which the first layers of most models find
everything alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.evaluation.long_texts import warn_cut
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.inputs import open_transformer
from slonik.models.encoder import TorchEncoder


def layer_neighbours(
    model: str | Path | TorchEncoder,
    text: str,
    texts: Sequence[str],
    *,
    top: int = 5,
    layer: int | None = None,
    prefix: str | None = None,
) -> list[Record]:
    """A record per layer: the cosine of the nearest text, `detail.answers` with the `top` nearest ones.

    Args:
        texts: that are looked among; the text itself is left out. layer: one alone; None = all.

    Raises:
        SlonikError: no transformer, fewer than three texts, a layer that is not there.
    """
    encoder = open_transformer(model)
    if not text.strip():
        raise SlonikError("there is no text whose neighbours could be found")
    others = [other for other in dict.fromkeys(texts) if other != text]
    if len(others) < 3:
        raise SlonikError(f"{len(others)} other texts: neighbours want three at least (--texts FILE)")
    warn_cut(encoder, [text, *others], prefix)
    states = encoder.encode_layers([text, *others], ["mean"], prefix=prefix)["mean"].astype(np.float32)
    if layer is not None and not 0 <= layer < len(states):
        raise SlonikError(f"{encoder.name} has no layer {layer}: give 0 (what goes in) to {len(states) - 1}")
    hashes = source_hashes(encoder, [text, *others])
    records = []
    for number in range(len(states)) if layer is None else [layer]:
        vectors = states[number] - states[number][1:].mean(0)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = unit[1:] @ unit[0]
        best = np.argsort(-cosines, kind="stable")[:top]
        answers = [[others[i], round(float(cosines[i]), 4)] for i in best.tolist()]
        records.append(inspection_record(encoder.name, "text", "neighbours", "nearest_cosine", float(cosines[best[0]]),
                                         layer=number, n=len(others), detail={"text": text, "answers": answers},
                                         hashes=hashes))  # fmt: skip
    return records
