"""What heads attend to: how spread, how far and on what; and which heads follow syntax.

Metrics of every head are averaged over a text's tokens and then over texts, with bootstrap intervals over texts:
entropy in nats and as a share of the greatest possible, mean distance in tokens, shares on special tokens, on the token
itself, on the one before and the one after (Clark et al. 2019, "What Does BERT Look at?", section 3).

Syntax, on a treebank: how often the word that a word attends to most is its syntactic head, or its dependent. Attention
between tokens becomes attention between words: summed over the tokens attended to, averaged over the tokens attending;
special tokens and the word itself are left out (section 4 there). The share is compared with the best fixed offset
("the word before"), which many relations follow without any syntax.

Transformers' fused attention (sdpa) gives no weights but an empty tuple: attention is switched to the eager
implementation for the pass and back. A family that still gives nothing is an error, never an empty result.

What heads mean for what the model computes is in `heads`. Shapes: B texts, H heads, T tokens, W words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.progress import shown, track
from slonik.core.records import Record
from slonik.data.conllu import Sentence, join_units, read_conllu
from slonik.inspection import inspection_record
from slonik.inspection.inputs import BATCH, Texts, batches, open_transformer, texts_of
from slonik.inspection.intervals import mean_interval, wilson
from slonik.models.anatomy import dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.pooling import reading_part
from slonik.text.tokenizing import encode, template_of

METRICS = ("entropy", "entropy_share", "distance", "special", "self", "previous", "next")
_OFFSETS = tuple(offset for offset in range(-4, 5) if offset)


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


def attention_weights(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """Attention of the reading part of `model` over a batch, ids and mask (B, T): per layer (B, H, T, T).

    Rows sum to 1 over the tokens that a row may see. Heads may differ in number by layer.

    Raises:
        SlonikError: a family that is not in the anatomy table, or one that gives no weights.
    """
    layers = len(dissect(model).layers)
    with torch.no_grad(), eager_attention(model):
        output = reading_part(model)(input_ids=ids, attention_mask=mask, output_attentions=True)
    weights = tuple(getattr(output, "attentions", None) or ())
    if len(weights) != layers:
        raise SlonikError(
            f"{type(model).__name__} gave attention weights of {len(weights)} layers out of {layers}: its class cannot "
            "show them with this version of transformers"
        )
    return weights


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block attention weights are computed openly; afterwards every config is as it was.

    The setting is written to the configs directly: `set_attn_implementation` refuses classes whose own source file does
    not spell the attention function out, which is so for our uneven-shape ones, and then goes on without a change.
    """
    configs: dict[int, Any] = {id(model.config): model.config}
    for module in model.modules():
        if (config := getattr(module, "config", None)) is not None and hasattr(config, "_attn_implementation"):
            configs[id(config)] = config
    used = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = used[key]


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
    for index, blocks in enumerate(rows, 1):
        table = np.concatenate(blocks)  # (texts, H, metrics)
        low, high = mean_interval(table, seed=seed, sample="attention")
        mean = table.mean(0)
        for head, place in np.ndindex(*mean.shape):
            ends = {"low": float(low[head, place]), "high": float(high[head, place])} if len(texts) > 1 else {}
            where: dict[str, Any] = {"layer": index, "n": len(texts), **ends}
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


def syntax_heads(
    encoder: TorchEncoder, sentences: Iterable[Sentence], *, prefix: str = "", fewest: int = 20
) -> list[Record]:
    """The best head of every relation (without subtype) with at least `fewest` words, in both directions, "any" first.

    The value is the share of the `n` words for which the most attended word is the right one; `detail` has relation,
    direction ("head": from a word to its head, "dependent": from a head to the word), head, and the share that the best
    fixed offset has.

    Raises:
        SlonikError: no sentence could be aligned with its tokens.
    """
    hits: dict[tuple[str, str], NDArray[np.float64]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    offsets: Counter[tuple[str, str, int]] = Counter()
    shape: list[int] = []
    for sentence in sentences:
        found = _word_attention(encoder, sentence, prefix)
        if found is None:
            continue
        words, shape = found
        numbers = np.arange(words.shape[1])
        words[:, numbers, numbers] = -1.0
        most = words.argmax(-1)  # (heads of all layers, W)
        for word in sentence.words:
            if not word.head or word.upos == "PUNCT":
                continue
            here, there = word.id - 1, word.head - 1
            for direction, start, goal in (("head", here, there), ("dependent", there, here)):
                right = (most[:, start] == goal).astype(np.float64)
                for relation in ("any", word.relation):
                    key = (relation, direction)
                    hits[key] = hits.get(key, 0) + right
                    counts[key] += 1
                    offsets[(*key, goal - start)] += 1
    if not hits:
        raise SlonikError("no sentence of the treebank could be aligned with the tokens of the model")
    best = []
    for (relation, direction), right in hits.items():
        n = counts[relation, direction]
        if n < fewest:
            continue
        place = int(right.argmax())
        layer = int(np.searchsorted(np.cumsum(shape), place, side="right"))
        head = place - sum(shape[:layer])
        low, high = wilson(float(right[place]), n)
        fixed = max(offsets[relation, direction, offset] for offset in _OFFSETS) / n
        detail = {"relation": relation, "direction": direction, "head": head, "offset_share": fixed}
        task, value = f"syntax_{relation}_to_{direction}", float(right[place]) / n
        where: dict[str, Any] = {"low": low, "high": high, "layer": layer + 1, "n": n, "detail": detail}
        order = (relation != "any", -value, relation, direction)
        best.append((order, inspection_record(encoder.name, task, "syntax", "syntax_share", value, **where)))
    return [record for _, record in sorted(best, key=lambda entry: entry[0])]


def _word_attention(
    encoder: TorchEncoder, sentence: Sentence, prefix: str
) -> tuple[NDArray[np.float64], list[int]] | None:
    """(heads of all layers, W, W) attention between words, and heads per layer; None for what cannot be aligned."""
    if any(unit.words[0] != unit.words[1] for unit in sentence.units):
        return None  # the words of a multiword token share their letters
    text = prefix + join_units(sentence.units)
    encoding = encode(encoder.tokenizer, text)
    template = template_of(encoder.tokenizer)
    ids = [*template.head, *encoding.ids, *template.tail]
    if len(ids) > encoder.max_length:
        return None
    owners = _owners(sentence, len(prefix), encoding.offsets)
    if len(set(owners) - {-1}) != len(sentence.units):
        return None
    row = torch.tensor([ids], device=encoder.device)
    found = attention_weights(encoder.model, row, torch.ones_like(row))
    inner = slice(len(template.head), len(template.head) + len(owners))
    weights = torch.cat([layer[0] for layer in found])[:, inner, inner].double().cpu().numpy()
    member = np.zeros((len(owners), len(sentence.units)))
    for token, word in enumerate(owners):
        if word >= 0:
            member[token, word] = 1.0
    summed = weights @ member
    averaged = np.einsum("pw,hpv->hwv", member / np.maximum(member.sum(0), 1), summed)
    return averaged, [layer.shape[1] for layer in found]


def _owners(sentence: Sentence, start: int, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """For every token the number of the word that most of its letters belong to, -1 for none."""
    letters: list[int] = [-1] * start
    for index, unit in enumerate(sentence.units):
        letters += [index] * len(unit.form) + [-1] * unit.space_after
    owners = []
    for first, last in offsets:
        inside = [owner for owner in letters[first:last] if owner >= 0]
        owners.append(Counter(inside).most_common(1)[0][0] if inside else -1)
    return owners
