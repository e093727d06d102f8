"""Hide a random share of the pieces of training inputs: a small task then cannot be learnt by heart.

The regulariser of a task model that is trained for many passes on few texts; nothing is predicted at the hidden
places. Torch's own random state decides, which the training loop keeps in its checkpoints.

Source: Iyyer et al. 2015, section 3.1 (word dropout), with the mask token in place of nothing.

Shapes: B inputs, T pieces, V ids.
"""

from __future__ import annotations

import torch
from torch import Tensor


class PieceMasking:
    """Replaces pieces by the mask token.

    Args:
        share: of the pieces, 0 to 1.
        mask: id of the mask token.
        special: (V,) True for ids that are never hidden.
    """

    def __init__(self, share: float, mask: int, special: Tensor) -> None:
        self.share = share
        self.mask = mask
        self.special = special

    def __call__(self, ids: Tensor) -> Tensor:
        """(..., T) ids, some of them hidden; another draw at each call."""
        hidden = torch.rand(ids.shape, device=ids.device) < self.share
        return torch.where(hidden & ~self.special.to(ids.device)[ids], self.mask, ids)
