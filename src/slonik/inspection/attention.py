"""What the attention of every head looks like on some texts: how spread, how far, and on what.

Figures per head, averaged over a text's tokens and then over texts, with bootstrap intervals over texts: entropy in
nats and as a share of the greatest possible, mean distance in tokens, shares on special tokens, on the token itself, on
the one before and the one after. What heads mean for a task is in `heads`, for syntax in `syntax`.

Source: Clark et al. 2019, "What Does BERT Look at?", section 3. Shapes: B texts, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.progress import track
from slonik.inspection.hooks import batches, look_inside
from slonik.models.encoder import TorchEncoder

FIGURES = ("entropy", "entropy_share", "distance", "special", "self", "previous", "next")
_BATCH = 16
_RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """One figure of one head: mean over texts and its 95 % interval."""

    layer: int
    head: int
    name: str
    value: float
    low: float
    high: float


def attention_figures(
    encoder: TorchEncoder, texts: Sequence[str], *, prefix: str | None = None, seed: int = 0
) -> list[Figure]:
    """FIGURES of every head, layers from 1, heads from 0.

    Raises:
        SlonikError: no text, or a family without attention weights.
    """
    if not texts:
        raise SlonikError("there are no texts to look at attention on")
    specials = _specials(encoder)
    rows: list[list[NDArray[np.float64]]] = []  # per layer: (texts, H, figures) blocks
    total = -(-len(texts) // _BATCH)
    for ids, mask in track(batches(encoder, texts, _BATCH, prefix), "attention", total):
        inside = look_inside(encoder.model, ids, mask)
        marked = torch.isin(ids, specials) & mask.bool()
        rows = rows or [[] for _ in inside.attentions]
        for layer, weights in zip(rows, inside.attentions, strict=True):
            layer.append(per_text(weights.double(), mask, marked).cpu().numpy())
    found = []
    for index, blocks in enumerate(rows, 1):
        table = np.concatenate(blocks)  # (texts, H, figures)
        low, high = _bounds(table, seed)
        for head in range(table.shape[1]):
            for place, name in enumerate(FIGURES):
                cell = (head, place)
                value = float(table.mean(0)[cell])
                found.append(Figure(index, head, name, value, float(low[cell]), float(high[cell])))
    return found


def per_text(weights: Tensor, mask: Tensor, special: Tensor) -> Tensor:
    """FIGURES of every text: weights (B, H, T, T), mask and special (B, T) -> (B, H, 7)."""
    real = mask.to(weights.dtype)
    length = weights.shape[-1]
    seen = weights * real[:, None, None, :]
    places = torch.arange(length, device=weights.device)
    apart = (places[None, :] - places[:, None]).to(weights.dtype)
    entropy = -(seen * seen.clamp_min(1e-30).log()).sum(-1)
    # a row that may see n tokens (all of the text, or those before it in a decoder) has at most log n
    visible = (weights > 0).to(weights.dtype).sum(-1).clamp_min(2)
    per_token = [
        entropy,
        entropy / visible.log(),
        (seen * apart.abs()).sum(-1),
        (seen * special.to(weights.dtype)[:, None, None, :]).sum(-1),
        (seen * (apart == 0)).sum(-1),
        (seen * (apart == -1)).sum(-1),
        (seen * (apart == 1)).sum(-1),
    ]
    stacked = torch.stack(per_token, dim=-1)  # (B, H, T, 7)
    tokens = real[:, None, :, None]
    return (stacked * tokens).sum(2) / tokens.sum(2)


def _specials(encoder: TorchEncoder) -> Tensor:
    """Ids that the tokenizer puts around a text, and every added token marked as special."""
    ids = {key for key, token in encoder.tokenizer.get_added_tokens_decoder().items() if token.special}
    found = encoder.tokenizer.encode("а")
    ids |= {number for number, special in zip(found.ids, found.special_tokens_mask, strict=True) if special}
    return torch.tensor(sorted(ids), dtype=torch.long, device=encoder.device)


def _bounds(table: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile interval of the mean over texts, (H, figures) each."""
    n = len(table)
    rng = np.random.default_rng(derive_seed(seed, "attention", n))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    means = (counts @ table.reshape(n, -1)) / n
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low.reshape(table.shape[1:]), high.reshape(table.shape[1:])
