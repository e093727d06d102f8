"""Which heads follow syntax: how often the word that a word attends to most is its syntactic head, or its dependent.

Attention between pieces becomes attention between words: summed over the pieces attended to, averaged over the pieces
attending; special tokens and the word itself are left out (Clark et al. 2019, section 4). The share is compared with
the best fixed offset ("the word before"), which many relations follow without any syntax. Needs a treebank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.data.conllu import Sentence, join_units
from slonik.inspection.hooks import look_inside
from slonik.inspection.probing_tasks.noise import wilson
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizing import template_of

_OFFSETS = tuple(offset for offset in range(-4, 5) if offset)


@dataclass(frozen=True)
class SyntaxHead:
    """One head and one kind of dependency.

    Attributes:
        layer: from 1. head: from 0. relation: without subtype, "any" for all together.
        direction: "head" (from a word to its head) or "dependent" (from a head to the word).
        share: of `n` words for which the most attended word is the right one; low, high: 95 % interval.
        offset_share: the same for the best fixed offset.
    """

    layer: int
    head: int
    relation: str
    direction: str
    share: float
    low: float
    high: float
    n: int
    offset_share: float


def syntax_heads(
    encoder: TorchEncoder, sentences: Iterable[Sentence], *, prefix: str = "", fewest: int = 20
) -> list[SyntaxHead]:
    """The best head of every relation with at least `fewest` words, in both directions, "any" first.

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
        layer, head = _split(place, shape)
        low, high = wilson(float(right[place]), n)
        fixed = max(offsets[relation, direction, offset] for offset in _OFFSETS) / n
        best.append(SyntaxHead(layer + 1, head, relation, direction, float(right[place]) / n, low, high, n, fixed))
    best.sort(key=lambda found: (found.relation != "any", -found.share, found.relation, found.direction))
    return best


def _word_attention(
    encoder: TorchEncoder, sentence: Sentence, prefix: str
) -> tuple[NDArray[np.float64], list[int]] | None:
    """(heads of all layers, W, W) attention between words, and heads per layer; None for what cannot be aligned."""
    if any(unit.words[0] != unit.words[1] for unit in sentence.units):
        return None  # the words of a multiword token share their letters
    text = prefix + join_units(sentence.units)
    encoding = encoder.tokenizer.encode(text, add_special_tokens=False)
    template = template_of(encoder.tokenizer)
    ids = [*template.head, *encoding.ids, *template.tail]
    if len(ids) > encoder.max_length:
        return None
    owners = _owners(sentence, len(prefix), encoding.offsets)
    if len(set(owners) - {-1}) != len(sentence.units):
        return None
    row = torch.tensor([ids], device=encoder.device)
    inside = look_inside(encoder.model, row, torch.ones_like(row))
    inner = slice(len(template.head), len(template.head) + len(owners))
    weights = torch.cat([layer[0] for layer in inside.attentions])[:, inner, inner].double().cpu().numpy()
    member = np.zeros((len(owners), len(sentence.units)))
    for piece, word in enumerate(owners):
        if word >= 0:
            member[piece, word] = 1.0
    summed = weights @ member
    averaged = np.einsum("pw,hpv->hwv", member / np.maximum(member.sum(0), 1), summed)
    return averaged, [layer.shape[1] for layer in inside.attentions]


def _owners(sentence: Sentence, start: int, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """For every piece the number of the word that most of its letters belong to, -1 for none."""
    letters: list[int] = [-1] * start
    for index, unit in enumerate(sentence.units):
        letters += [index] * len(unit.form) + [-1] * unit.space_after
    owners = []
    for first, last in offsets:
        inside = [owner for owner in letters[first:last] if owner >= 0]
        owners.append(Counter(inside).most_common(1)[0][0] if inside else -1)
    return owners


def _split(place: int, shape: Sequence[int]) -> tuple[int, int]:
    for layer, heads in enumerate(shape):
        if place < heads:
            return layer, place
        place -= heads
    raise IndexError(place)
