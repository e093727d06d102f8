"""Rows of token ids as the tensors that a model takes: `slonik.text.batching` padding on torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.text.batching import pad_ids


def pad(
    rows: Sequence[Sequence[int] | NDArray[np.integer]],
    pad_id: int,
    *,
    left: bool = False,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` (B, T) int64 of B rows, padded to the longest.

    Args:
        rows: token ids, specials included.
        pad_id: id of the padding token.
        left: pad at the beginning, for decoders that go on writing.
        device: where the tensors go; None = they stay on the CPU.
    """
    ids, mask = (torch.from_numpy(array).to(device) for array in pad_ids(rows, pad_id, left=left))
    return {"input_ids": ids, "attention_mask": mask}
