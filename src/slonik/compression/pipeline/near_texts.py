"""Pairs of texts that lie close together: two translations of one sentence, and a sentence with one word changed.

What separates a good encoder from a fair one is the order of *very similar* texts, and random sentences of a corpus
hold no such pair. Both kinds are found without a label: translation memories translate one English sentence twice, and
an altered copy is made by dropping, swapping, replacing or negating words.
Does not: say whether the meaning stayed (a teacher's vectors do), or read files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from slonik.data.sampling import normalised, text_hash

Pair = tuple[str, str]

_DROP, _SWAP, _REPLACE, _NEGATE = range(4)
_MIN_WORDS = 4


def twice_translated(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Two different Russian translations of the same English text; each English text gives one pair at most.

    Keeps the first translation of every English text in memory.
    """
    first: dict[int, str | None] = {}
    for english, russian in pairs:
        mark = text_hash(english)
        if mark not in first:
            first[mark] = russian
            continue
        known = first[mark]
        if known is not None and normalised(known) != normalised(russian):
            first[mark] = None
            yield known, russian


def altered_copy(text: str, words: Sequence[str], seed: int = 0) -> str | None:
    """`text` with one or two words dropped, swapped, replaced or negated; the same for the same text and seed.

    Args:
        words: to take replacements from (words of the corpus, repeated as they occur).

    Returns:
        None for a text of fewer than four words, or when the change happens to change nothing.
    """
    parts = text.split()
    if len(parts) < _MIN_WORDS:
        return None
    rng = np.random.default_rng(text_hash(text, f"alter {seed}"))
    for _ in range(1 if len(parts) < 8 else int(rng.integers(1, 3))):
        _change(parts, words, rng)
    changed = " ".join(parts)
    return changed if normalised(changed) != normalised(text) else None


def _change(parts: list[str], words: Sequence[str], rng: np.random.Generator) -> None:
    """One random change in place."""
    kind, place = int(rng.integers(4)), int(rng.integers(len(parts)))
    if kind == _DROP and len(parts) > _MIN_WORDS - 1:
        del parts[place]
    elif kind == _SWAP:
        other = (place + 1 + int(rng.integers(len(parts) - 1))) % len(parts)
        parts[place], parts[other] = parts[other], parts[place]
    elif kind == _NEGATE:
        parts.insert(place, "не")
    elif words:
        parts[place] = words[int(rng.integers(len(words)))]
