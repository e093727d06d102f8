"""What heads attend to: how spread, how far and on what.

Metrics of every head are averaged over a text's tokens and then over texts, with bootstrap intervals over texts:
entropy in nats and as a share of the greatest possible, mean distance in tokens, shares on special tokens, on the token
itself, on the one before and the one after (Clark et al. 2019, "What Does BERT Look at?", section 3).

Which heads follow syntax is in `syntax`, what heads mean for what the model computes in `heads`. Shapes: B texts, H
heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.core.progress import shown, track
from slonik.core.records import Record
from slonik.data.conllu import read_conllu
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.attention_weights import attention_weights
from slonik.inspection.inputs import BATCH, Texts, batches, open_transformer, texts_of
from slonik.inspection.intervals import mean_interval
from slonik.inspection.syntax import syntax_heads
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizing import template_of

METRICS = ("entropy", "entropy_share", "distance", "special", "self", "previous", "next")


@dataclass(frozen=True)
class Attention:
    """What the heads of a model attend to, on how many texts.

    Attributes:
        records: every metric of every head, then with a treebank the best head of every relation and direction;
            layers count from 1, heads from 0.
    """

    model: str
    texts: int
    records: tuple[Record, ...]


def attention(
    model: str | Path | TorchEncoder,
    texts: Texts = None,
    *,
    treebank: str | Path | None = None,
    prefix: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Attention:
    """What every head attends to on texts, and with a treebank which heads follow syntax.

    Args:
        model: a folder, a hub id, `embedded:NAME`, or a loaded transformer.
        texts: a file, or texts; None = 64 Russian sentences of our own.
        treebank: a file in CoNLL-U.
        prefix: before each text, None = the encoder's own (none for the treebank). seed: of the bootstrap.
        progress: show it on standard error.

    Raises:
        SlonikError: no transformer, no text, a family without attention weights, or a treebank that cannot be aligned.
    """
    encoder, sample = open_transformer(model), texts_of(texts)
    with shown(progress):
        metrics = head_metrics(encoder, sample, prefix=prefix, seed=seed)
        syntax = [] if treebank is None else syntax_heads(encoder, read_conllu(treebank), prefix=prefix or "")
    return Attention(encoder.name, len(sample), (*metrics, *syntax))


@dataclass(frozen=True)
class TextAttention:
    """The attention of every head on one text: T tokens as people read them, weights per layer (H, T, T)."""

    text: str
    tokens: tuple[str, ...]
    weights: tuple[NDArray[np.float32], ...]


def text_attention(model: str | Path | TorchEncoder, text: str, *, prefix: str | None = None) -> TextAttention:
    """The weights of all heads on one text, for the page that shows them.

    Raises:
        SlonikError: no transformer, or a family without attention weights.
    """
    encoder = open_transformer(model)
    ids, mask = next(batches(encoder, [text], 1, prefix))
    weights = attention_weights(encoder.model, ids, mask)
    tokens = tuple(_shown(encoder, int(number)) for number in ids[0])
    return TextAttention(text, tokens, tuple(layer[0].float().cpu().numpy() for layer in weights))


def _shown(encoder: TorchEncoder, number: int) -> str:
    """A token as people read it: byte-level ones decoded where they are whole letters."""
    token = encoder.tokenizer.id_to_token(number) or f"<{number}>"
    decoded = encoder.tokenizer.decode([number], skip_special_tokens=False).strip()
    return token if not decoded or "\ufffd" in decoded or token.startswith(("##", "▁")) else decoded


def head_metrics(
    encoder: TorchEncoder, texts: Sequence[str], *, prefix: str | None = None, seed: int = 0
) -> list[Record]:
    """METRICS of every head: means over texts with their intervals, which one text alone does not have.

    Raises:
        SlonikError: no text, or a family without attention weights.
    """
    if not texts:
        raise SlonikError("there are no texts to look at attention on")
    specials = _specials(encoder)
    rows: list[list[NDArray[np.float64]]] = []  # per layer: (texts, H, metrics) blocks
    total = -(-len(texts) // BATCH)
    for ids, mask in track(batches(encoder, texts, BATCH, prefix), "attention", total):
        weights = attention_weights(encoder.model, ids, mask)
        marked = torch.isin(ids, specials) & mask.bool()
        rows = rows or [[] for _ in weights]
        for blocks, layer in zip(rows, weights, strict=True):
            blocks.append(per_text(layer.double(), mask, marked).cpu().numpy())
    found = []
    hashes = source_hashes(encoder, texts)
    for index, blocks in enumerate(rows, 1):
        table = np.concatenate(blocks)  # (texts, H, metrics)
        low, high = mean_interval(table, seed=seed, sample="attention")
        mean = table.mean(0)
        for head, place in np.ndindex(*mean.shape):
            ends = {"low": float(low[head, place]), "high": float(high[head, place])} if len(texts) > 1 else {}
            where: dict[str, Any] = {"layer": index, "n": len(texts), "hashes": hashes, **ends}
            task, metric, value = f"head_{head:02d}", METRICS[place], float(mean[head, place])
            found.append(inspection_record(encoder.name, task, "attention", metric, value, **where))
    return found


def per_text(weights: Tensor, mask: Tensor, special: Tensor) -> Tensor:
    """METRICS of every text: weights (B, H, T, T), mask and special (B, T) -> (B, H, 7)."""
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
    template = template_of(encoder.tokenizer)
    ids |= {*template.head, *template.tail}
    return torch.tensor(sorted(ids), dtype=torch.long, device=encoder.device)
