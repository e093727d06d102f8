"""What heads attend to: how spread, how far and on what.

Metrics of every head are averaged over a text's tokens and then over texts, with bootstrap intervals over texts:
entropy in nats and as a share of the greatest possible, mean distance in tokens, shares on special tokens, on the token
itself, on the one before and the one after (Clark et al. 2019, "What Does BERT Look at?", section 3).

Which heads follow syntax is in `syntax`, what heads mean for what the model computes in `heads`. Shapes: B texts, H
heads, T tokens.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.core.numbers import check_count, check_seed
from slonik.core.progress import shown, track
from slonik.core.records import Record
from slonik.data.conllu import read_conllu
from slonik.evaluation.long_texts import warn_cut
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.attention_weights import attention_weights, eager_attention
from slonik.inspection.inputs import BATCH, Texts, batches, open_transformer, texts_of
from slonik.inspection.intervals import mean_interval
from slonik.inspection.syntax import syntax_heads
from slonik.inspection.text_tokens import TextTokens, read_tokens, shown_token
from slonik.inspection.twin import twin_of
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizing import template_of

METRICS = ("entropy", "entropy_share", "distance", "special", "self", "previous", "next")


@dataclass(frozen=True)
class Attention:
    """What the heads of a model attend to, on how many texts.

    Attributes:
        records: every metric of every head, of the twin with random weights too, then with a treebank the best head of
            every relation and direction; layers count from 1, heads from 0.
    """

    model: str
    texts: int
    records: tuple[Record, ...]


def attention(
    model: str | Path | TorchEncoder,
    texts: Texts = None,
    *,
    treebank: str | Path | None = None,
    limit: int | None = None,
    prefix: str | None = None,
    twin: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Attention:
    """What every head attends to on texts, and with a treebank which heads follow syntax.

    Args:
        model: a folder, a hub id, `embedded:NAME`, or a loaded transformer.
        texts: a file, or texts; None = 64 Russian sentences of our own.
        treebank: a file in CoNLL-U. limit: at most this many of its sentences.
        prefix: before each text, None = the encoder's own (none for the treebank). seed: of the bootstrap.
        twin: measure the model with random weights too, whose records stand beside the model's.
        progress: show it on standard error.

    Raises:
        SlonikError: no transformer, no text, a family without attention weights, or a treebank that cannot be aligned.
    """
    check_seed(seed)
    check_count("limit", limit)
    if limit is not None and treebank is None:
        raise SlonikError(f"limit is {limit}, and there is no treebank whose sentences it could bound: leave it out")
    encoder, sample = open_transformer(model), texts_of(texts)
    warn_cut(encoder, sample, prefix)
    with shown(progress):
        metrics = head_metrics(encoder, sample, prefix=prefix, seed=seed)
        if (other := twin_of(encoder, twin)) is not None:
            metrics += head_metrics(other, sample, prefix=prefix, seed=seed)
        read = None if treebank is None else islice(read_conllu(treebank), limit)
        syntax = [] if read is None else syntax_heads(encoder, read, prefix=prefix or "", twin=twin)
    return Attention(encoder.name, len(sample), (*metrics, *syntax))


@dataclass(frozen=True)
class StackAttention:
    """Attention of one stack on one text.

    Attributes:
        stack: "self", of an encoder-decoder "encoder", "decoder" or "cross".
        rows: the tokens that attend. columns: those that are attended to.
        weights: per layer (H, rows, columns).
    """

    stack: str
    rows: TextTokens
    columns: TextTokens
    weights: tuple[NDArray[np.float32], ...]

    def record(self, model: str) -> Record:
        """Everything that a page needs: of each row of weights its largest, and shares of that in 1/255."""
        detail: dict[str, Any] = {"rows": self.rows.detail(), "layers": [_packed(layer) for layer in self.weights]}
        if self.columns is not self.rows:
            detail["columns"] = self.columns.detail()
        return inspection_record(
            model, "text", self.stack, "text_attention", None, n=len(self.rows.tokens), detail=detail
        )


@dataclass(frozen=True)
class TextAttention:
    """The attention of every head of a model on one text, stack by stack; the text's own stack is the first."""

    model: str
    stacks: tuple[StackAttention, ...]

    @property
    def text(self) -> str:
        """The text that was given."""
        return self.stacks[0].rows.text

    @property
    def tokens(self) -> tuple[str, ...]:
        """T tokens of the text as people read them."""
        return self.stacks[0].rows.tokens

    @property
    def weights(self) -> tuple[NDArray[np.float32], ...]:
        """Per layer (H, T, T), between the tokens of the text."""
        return self.stacks[0].weights

    @property
    def records(self) -> tuple[Record, ...]:
        """One per stack."""
        return tuple(stack.record(self.model) for stack in self.stacks)


def _packed(layer: NDArray[np.floating]) -> dict[str, Any]:
    """(H, R, C) weights as shares of their row's largest, whole numbers to 255 (zlib), and these largest ones."""
    largest = np.maximum(np.asarray(layer, np.float32).max(-1), 1e-12)
    shares = np.clip(np.rint(np.asarray(layer) / largest[..., None] * 255), 0, 255).astype(np.uint8)
    return {
        "heads": int(layer.shape[0]),
        "packing": "zlib",
        "shares": base64.b64encode(zlib.compress(shares.tobytes(), 9)).decode("ascii"),
        "largest": base64.b64encode(largest.astype("<f4").tobytes()).decode("ascii"),
    }


def unpacked(packed: Mapping[str, Any], rows: int, columns: int) -> NDArray[np.float32]:
    """The weights (H, R, C) of a layer in a record, to 1/255 of each row's largest."""
    content = base64.b64decode(packed["shares"])
    content = zlib.decompress(content) if packed.get("packing") == "zlib" else content
    shares = np.frombuffer(content, np.uint8).reshape(packed["heads"], rows, columns)
    largest = np.frombuffer(base64.b64decode(packed["largest"]), "<f4").reshape(packed["heads"], rows)
    return np.asarray(shares / 255.0 * largest[..., None], np.float32)


def text_attention(
    model: str | Path | TorchEncoder, text: str, *, target: str | None = None, prefix: str | None = None
) -> TextAttention:
    """The weights of all heads on one text, for the page that shows them.

    Args:
        target: what the decoder of an encoder-decoder writes: its own and its cross-attention are given too.

    Raises:
        SlonikError: no transformer, no text, a target for a model without a decoder of its own, or a family without
            attention weights.
    """
    encoder = open_transformer(model)
    tokens = read_tokens(encoder, text, prefix)
    ids = torch.tensor([tokens.ids], device=encoder.device)
    both = bool(getattr(encoder.model.config, "is_encoder_decoder", False))
    if target is None:
        weights = attention_weights(encoder.model, ids, torch.ones_like(ids))
        return TextAttention(
            encoder.name, (StackAttention("encoder" if both else "self", tokens, tokens, _first(weights)),)
        )
    if not both or not hasattr(encoder.model, "decoder"):
        raise SlonikError(f"{encoder.name} is no encoder-decoder, so --target means nothing to it: leave it out")
    start = encoder.model.config.decoder_start_token_id
    written = read_tokens(encoder, target, "")
    ids_out = (int(start), *written.ids[: encoder.max_length - 1])
    begun = TextTokens(written.text, ids_out, (shown_token(encoder.tokenizer, int(start)), *written.tokens),
                       (-1, *written.word), written.words, written.cut)  # fmt: skip
    given = torch.tensor([ids_out], device=encoder.device)
    with torch.no_grad(), eager_attention(encoder.model):
        output = encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=given,
                               output_attentions=True)  # fmt: skip
    found = (output.encoder_attentions, output.decoder_attentions, output.cross_attentions)
    if not all(found):
        raise SlonikError(f"{type(encoder.model).__name__} gives no attention weights of its decoder")
    sides = (("encoder", tokens, tokens), ("decoder", begun, begun), ("cross", begun, tokens))
    return TextAttention(encoder.name, tuple(
        StackAttention(name, rows, columns, _first(weights))
        for (name, rows, columns), weights in zip(sides, found, strict=True)
    ))  # fmt: skip


def _first(weights: Sequence[Tensor]) -> tuple[NDArray[np.float32], ...]:
    return tuple(layer[0].float().cpu().numpy() for layer in weights)


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
