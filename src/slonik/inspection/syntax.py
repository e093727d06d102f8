"""Which heads follow syntax: how often the word that a word attends to most is its syntactic head, or its dependent.

Attention between tokens becomes attention between words: summed over the tokens attended to, averaged over the tokens
attending; special tokens and the word itself are left out (Clark et al. 2019, "What Does BERT Look at?", section 4). A
word that a head cannot see (a later one in a decoder) is never its most attended word, and a word that sees no other
has none: where the right word cannot be seen nothing is right.

The share stands beside three others: of the best fixed offset ("the word before"), which many relations follow without
any syntax; of chance, one of the words that are seen; and of the best head of a twin with random weights, which is what
choosing the best of many heads on the same sentences gives by itself. Sentences that cannot be aligned with the model's
tokens are counted by reason.

Attention itself is in `attention`. Shapes: H heads, T tokens, W words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.progress import track, warn_once
from slonik.core.records import Record
from slonik.data.conllu import Sentence, Word, join_units
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.attention_weights import attention_weights
from slonik.inspection.intervals import wilson
from slonik.inspection.twin import random_twin
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizing import encode, template_of

_OFFSETS = tuple(offset for offset in range(-4, 5) if offset)
_MULTIWORD = "a multiword token"
_LONG = "longer than the model"
_TOKENS = "words without tokens of their own"

Key = tuple[str, str]
"""A relation ("any" for all) and a direction: "head", from a word to its head, or "dependent"."""


@dataclass
class _Counts:
    """What was counted over sentences: per key right answers of every head, words, chances; sentences left out."""

    hits: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    words: Counter[Key] = field(default_factory=Counter)
    unseen: Counter[Key] = field(default_factory=Counter)
    chance: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    offsets: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    sentences: int = 0
    shape: list[int] = field(default_factory=list)

    def add(self, words: Sequence[Word], attention: NDArray[np.float64]) -> None:
        """Count one sentence by its attention between words (heads of all layers, W, W)."""
        self.sentences += 1
        numbers = np.arange(attention.shape[1])
        attention[:, numbers, numbers] = 0.0
        seen = attention > 0
        most = np.where(seen.any(-1), attention.argmax(-1), -1)  # (heads, W)
        chances = seen / np.maximum(seen.sum(-1, keepdims=True), 1)
        for word in words:
            if not word.head or word.head > len(numbers) or word.upos == "PUNCT":
                continue
            here, there = word.id - 1, word.head - 1
            for direction, start, goal in (("head", here, there), ("dependent", there, here)):
                right = (most[:, start] == goal).astype(np.float64)
                for relation in ("any", word.relation):
                    key = (relation, direction)
                    self.hits[key] = self.hits.get(key, 0) + right
                    self.chance[key] = self.chance.get(key, 0) + chances[:, start, goal]
                    self.words[key] += 1
                    self.unseen[key] += not seen[:, start, goal].any()
                    self.offsets[(*key, goal - start)] += 1


def syntax_heads(
    encoder: TorchEncoder,
    sentences: Iterable[Sentence],
    *,
    prefix: str = "",
    fewest: int = 20,
    twin: bool = True,
) -> list[Record]:
    """The best head of every relation (without subtype) with at least `fewest` words, in both directions, "any" first.

    The value is the share of the `n` words for which the most attended word is the right one. `detail` has relation,
    direction ("head": from a word to its head, "dependent": from a head to the word), head; `offset_share` of the best
    fixed offset, `chance_share` of a word drawn from those that the head sees, `random_share` of the best head of a
    twin with random weights (None without `twin`); `unseen`, the share of words whose goal no head can see;
    `sentences` that were read and `skipped` ones by reason. No relation with enough words: none, and a warning.

    Raises:
        SlonikError: no sentence could be aligned with its tokens; the reasons are counted.
    """
    read = list(sentences)
    counts = _counted(encoder, read, prefix, encoder.name)
    if not counts.hits:
        why = _told(counts.skipped) or ("no word has a head" if read else "there is none")
        raise SlonikError(f"no sentence of the treebank could be aligned with the tokens of the model: {why}")
    if max(counts.words.values()) < fewest:
        warn_once(
            f"{max(counts.words.values())} words with a head in {counts.sentences} sentences are too few to say which "
            f"heads follow syntax: give a treebank with {fewest} or more"
        )
        return []
    other = _counted(random_twin(encoder), read, prefix, "the random twin").hits if twin else {}
    hashes = source_hashes(encoder, [prefix + sentence.text for sentence in read])
    best = []
    for (relation, direction), right in counts.hits.items():
        key, n = (relation, direction), counts.words[relation, direction]
        if n < fewest:
            continue
        place = int(right.argmax())
        layer = int(np.searchsorted(np.cumsum(counts.shape), place, side="right"))
        low, high = wilson(float(right[place]), n)
        detail: dict[str, Any] = {"relation": relation, "direction": direction}
        detail |= {"head": place - sum(counts.shape[:layer])}
        detail |= {"offset_share": max(counts.offsets[(*key, offset)] for offset in _OFFSETS) / n}
        detail |= {"chance_share": float(counts.chance[key].max()) / n}
        detail |= {"random_share": float(other[key].max()) / n if key in other else None}
        detail |= {"unseen": counts.unseen[key] / n, "sentences": counts.sentences, "skipped": dict(counts.skipped)}
        task, value = f"syntax_{relation}_to_{direction}", float(right[place]) / n
        where: dict[str, Any] = {"low": low, "high": high, "layer": layer + 1, "n": n, "detail": detail}
        record = inspection_record(encoder.name, task, "syntax", "syntax_share", value, hashes=hashes, **where)
        best.append(((relation != "any", -value, relation, direction), record))
    return [record for _, record in sorted(best, key=lambda entry: entry[0])]


def _told(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} with {reason}" if reason != _LONG else f"{count} {reason}"
                     for reason, count in skipped.most_common())  # fmt: skip


def _counted(encoder: TorchEncoder, sentences: Sequence[Sentence], prefix: str, name: str) -> _Counts:
    counts = _Counts()
    for sentence in track(sentences, f"syntax in the heads of {name}", len(sentences)):
        found = _word_attention(encoder, sentence, prefix)
        if isinstance(found, str):
            counts.skipped[found] += 1
            continue
        attention, counts.shape = found
        counts.add(sentence.words, attention)
    return counts


def _word_attention(
    encoder: TorchEncoder, sentence: Sentence, prefix: str
) -> tuple[NDArray[np.float64], list[int]] | str:
    """(heads of all layers, W, W) attention between words, and heads per layer; or why it cannot be aligned."""
    if any(unit.words[0] != unit.words[1] for unit in sentence.units):
        return _MULTIWORD  # the words of a multiword token share their letters
    text = prefix + join_units(sentence.units)
    encoding = encode(encoder.tokenizer, text)
    template = template_of(encoder.tokenizer)
    ids = [*template.head, *encoding.ids, *template.tail]
    if len(ids) > encoder.max_length:
        return _LONG
    owners = word_of_tokens(sentence, len(prefix), encoding.offsets)
    if len(set(owners) - {-1}) != len(sentence.units):
        return _TOKENS
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


def word_of_tokens(sentence: Sentence, start: int, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """For every token the number of the unit that most of its letters belong to, -1 for none.

    Args:
        start: letters before the sentence (a prefix). offsets: of the tokens in prefix and `join_units`.
    """
    letters: list[int] = [-1] * start
    for index, unit in enumerate(sentence.units):
        letters += [index] * len(unit.form) + [-1] * unit.space_after
    owners = []
    for first, last in offsets:
        inside = [owner for owner in letters[first:last] if owner >= 0]
        owners.append(Counter(inside).most_common(1)[0][0] if inside else -1)
    return owners
