"""How often automatic annotation gives a wrong probing label: gold sentences annotated again and labelled twice.

Of the sentences that the automatic annotation would take for a task, how many does gold label otherwise, and how
many would gold not take at all. Intervals are Wilson's (1927) at 95 %.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, Protocol

from slonik.data.conllu import Sentence
from slonik.inspection.probing_tasks.labels import LABELLERS, refused

_Z = 1.959964
_CHUNK = 256
# Their labels come from the words and the order alone.
_UNTOUCHED = ("sent_len", "ngram_shift")


class Reannotator(Protocol):
    """What annotates sentences again, word for word."""

    def again(self, sentences: Iterable[Sentence]) -> Iterable[Sentence]:
        """The same words with other annotation, in order."""
        ...


def label_errors(gold: Iterable[Sentence], annotator: Reannotator) -> dict[str, dict[str, Any]]:
    """Task -> figures: `taken` sentences by automatic annotation, `label_error` (share of those that gold takes too
    but labels otherwise) with `low` and `high`, `not_taken_by_gold`, and `found` (share of gold's that are taken)."""
    counts = {
        name: dict.fromkeys(("taken", "both", "wrong", "gold"), 0) for name in LABELLERS if name not in _UNTOUCHED
    }
    stream = iter(gold)
    while chunk := list(itertools.islice(stream, _CHUNK)):
        kept = [sentence for sentence in chunk if not refused(sentence)]
        for true, found in zip(kept, annotator.again(kept), strict=True):
            for name, count in counts.items():
                right = LABELLERS[name](true)
                guess = None if refused(found) else LABELLERS[name](found)
                count["gold"] += right is not None
                count["taken"] += guess is not None
                if right is not None and guess is not None:
                    count["both"] += 1
                    count["wrong"] += right.label != guess.label
    return {name: _figures(count) for name, count in counts.items()}


def _figures(count: dict[str, int]) -> dict[str, Any]:
    taken, both, wrong, gold = (count[name] for name in ("taken", "both", "wrong", "gold"))
    low, high = wilson(wrong, both)
    return {
        "taken": taken,
        "label_error": round(wrong / both, 4) if both else None,
        "low": round(low, 4),
        "high": round(high, 4),
        "not_taken_by_gold": round(1 - both / taken, 4) if taken else None,
        "found": round(both / gold, 4) if gold else None,
    }


def wilson(hits: float, trials: int) -> tuple[float, float]:
    """Wilson's interval of a share; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = hits / trials
    centre = share + _Z * _Z / (2 * trials)
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z * _Z / (4 * trials * trials))
    scale = 1 + _Z * _Z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
