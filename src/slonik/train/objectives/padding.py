"""Token id lists to one padded batch. Masks nothing and draws nothing: the corruption of objectives without one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.train.objectives.loss import Batch


def pad(ids: Sequence[NDArray[np.integer]], pad_id: int) -> Batch:
    """Pad on the right to the longest text.

    Args:
        ids: B arrays of token ids, specials included.
        pad_id: id of the padding token.

    Returns:
        input_ids (B, T) int64 and attention_mask (B, T) int64, 1 for real tokens.
    """
    lengths = np.fromiter((len(text) for text in ids), dtype=np.int64, count=len(ids))
    real = np.arange(int(lengths.max(initial=0)))[None, :] < lengths[:, None]  # (B, T)
    padded = np.full(real.shape, pad_id, dtype=np.int64)
    if len(ids):
        padded[real] = np.concatenate(ids)
    return {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(real.astype(np.int64))}
