"""Choose sentences for one task: bounded memory, deterministic, splits apart in their deciding words, labels balanced.

Every sentence has a priority from the hash of its text and the seed, and the smallest priorities win: the result does
not depend on the order of the source, and tasks share sentences where they can, which makes encoding them cheap. The
key (the deciding lemma) goes to one split with all its sentences, and keys are shared out so that every split has its
share of every label: fifty sentences of a rare label are enough. In `WordContent` alone the word is the label and is in
every split.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slonik.core.hashing import derive_seed
from slonik.data.conllu import Sentence
from slonik.inspection.probing.tasks import SPLITS

SHARES = {"tr": 0.6, "va": 0.2, "te": 0.2}
# A class with fewer sentences than this in a split is left out: nothing could be measured on it.
FEWEST = {"tr": 10, "va": 4, "te": 4}
_SPARE = 4  # candidates kept for every sentence wanted: caps and matching will refuse some
_LARGEST_KEY_SHARE = 0.02
_BUCKET_WORDS = 3
_NAMED = 4  # classes named in a reason

PER_WORD = 20
MOST_WORDS = 1000
_OPEN = ("NOUN", "VERB", "ADJ", "PROPN")
_TOO_COMMON = 0.05  # a word in more of the sentences than this says little about them
_SAMPLE = 20  # sentences of the sample for every sentence wanted


@dataclass(frozen=True, order=True)
class Item:
    """A candidate: `priority` decides, `length` is in words."""

    priority: int
    text: str
    key: str
    length: int


@dataclass(frozen=True)
class Selection:
    """The chosen sentences of one task.

    Attributes:
        rows: (split, label) -> items in order of priority; empty if the task could not be built.
        dropped: labels left out, with the reason. matched: share of items chosen so that lengths are alike.
        reason: why the task could not be built, "" if it could.
    """

    rows: dict[tuple[str, str], list[Item]]
    dropped: dict[str, str]
    matched: float | None = None
    reason: str = ""


class Pool:
    """Candidates of one task, at most `capacity` for every label (and split, where it has one): the smallest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._heaps: dict[tuple[str, str], list[tuple[int, str, Item]]] = {}
        self._texts: dict[tuple[str, str], set[str]] = {}

    def offer(self, label: str, split: str, item: Item) -> None:
        """Keep the item if it is among the best; a text that is there already is not taken twice."""
        heap = self._heaps.setdefault((label, split), [])
        texts = self._texts.setdefault((label, split), set())
        if item.text in texts or (len(heap) >= self._capacity and item.priority >= -heap[0][0]):
            return
        heapq.heappush(heap, (-item.priority, item.text, item))
        texts.add(item.text)
        if len(heap) > self._capacity:
            texts.discard(heapq.heappop(heap)[1])

    def items(self, label: str, split: str) -> list[Item]:
        """What is kept, smallest priority first."""
        return sorted(entry[2] for entry in self._heaps.get((label, split), []))

    def of_label(self, label: str) -> list[Item]:
        """What is kept of a label in all splits, smallest priority first."""
        return sorted(entry[2] for (own, _), heap in self._heaps.items() if own == label for entry in heap)

    @property
    def labels(self) -> list[str]:
        """All labels met, sorted."""
        return sorted({label for label, _ in self._heaps})


def priority(seed: int, text: str) -> int:
    """Smaller goes first; the same for every task."""
    return derive_seed(seed, "probing", text)


def capacity(size: int, labels: int) -> int:
    """Candidates to keep for every label of a task of `size` sentences."""
    return max(60, math.ceil(_SPARE * size / max(2, labels)))


def shared_out(items: Mapping[str, Sequence[Item]]) -> dict[tuple[str, str], list[Item]]:
    """(split, label) -> items: keys whole, each split with its share of every label as nearly as keys allow.

    Keys go one after another, those with most sentences first, to the split that lacks most of what the key has.

    Args:
        items: label -> its items.
    """
    groups: dict[str, dict[str, list[Item]]] = {}
    for label, own in items.items():
        for item in own:
            groups.setdefault(item.key, {}).setdefault(label, []).append(item)
    labels = list(items)
    lacking = {split: {label: share * len(items[label]) for label in labels} for split, share in SHARES.items()}
    found: dict[tuple[str, str], list[Item]] = {(split, label): [] for label in labels for split in SPLITS}

    def first_of(key: str) -> tuple[int, int]:
        own = [item for part in groups[key].values() for item in part]
        return -len(own), min(item.priority for item in own)

    for key in sorted(groups, key=first_of):
        counts = {label: len(own) for label, own in groups[key].items()}

        def need(split: str, counts: dict[str, int] = counts) -> float:
            """How much of the split's share is still to come, by the labels that the key has."""
            return sum(
                count * lacking[split][label] / (SHARES[split] * len(items[label])) for label, count in counts.items()
            )

        split = max(SPLITS, key=need)  # the first of equals
        for label, own in groups[key].items():
            found[split, label] += own
            lacking[split][label] -= len(own)
    return {place: sorted(own) for place, own in found.items()}


def select(pool: Pool, size: int, *, match_length: bool = False) -> Selection:
    """Balanced rows: as many of each label in a split, at most `size` in all."""
    found = {label: pool.of_label(label) for label in pool.labels}
    items = shared_out(_capped(found, size))
    dropped = _too_few(items, pool.labels)
    labels = [label for label in pool.labels if label not in dropped]
    if len(labels) >= 2:  # a task that stays small lets a key have less; labels left out decide nothing
        smaller = sum(_quota(items, labels, split, size) * len(labels) for split in SPLITS)
        again = shared_out(_capped({label: found[label] for label in labels}, smaller))
        short = _too_few(again, labels)
        if not short:
            items = again
    if len(labels) < 2:
        named = [f"{label}: {reason}" for label, reason in list(dropped.items())[:_NAMED]]
        reasons = "; ".join([*named, *(["..."] if len(dropped) > _NAMED else [])]) or "no sentence has the features"
        return Selection({}, dropped, None, f"fewer than two classes with enough sentences ({reasons})")
    rows: dict[tuple[str, str], list[Item]] = {}
    matched = 0
    for split in SPLITS:
        quota = _quota(items, labels, split, size)
        groups = [items[split, label] for label in labels]
        chosen, alike = _alike(groups, quota) if match_length else ([group[:quota] for group in groups], 0)
        matched += alike
        rows |= {(split, label): group for label, group in zip(labels, chosen, strict=True)}
    total = sum(map(len, rows.values()))
    return Selection(rows, dropped, matched / total if match_length and total else None)


def _quota(items: Mapping[tuple[str, str], list[Item]], labels: Sequence[str], split: str, size: int) -> int:
    """Sentences of every label in a split: as many as the rarest label has."""
    return min(int(size * SHARES[split] / len(labels)), *(len(items[split, label]) for label in labels))


def _too_few(items: Mapping[tuple[str, str], list[Item]], labels: Sequence[str]) -> dict[str, str]:
    dropped = {}
    for label in labels:
        short = [f"{split} {len(items[split, label])}" for split in SPLITS if len(items[split, label]) < FEWEST[split]]
        if short:
            dropped[label] = f"too few sentences ({', '.join(short)})"
    return dropped


def _capped(found: Mapping[str, list[Item]], size: int) -> dict[str, list[Item]]:
    """Per label at most 2 % of a task of `size` sentences from one key, two at least."""
    most = max(2, math.ceil(_LARGEST_KEY_SHARE * size))
    kept: dict[str, list[Item]] = {}
    for label, items in found.items():
        seen: Counter[str] = Counter()
        kept[label] = []
        for item in items:
            seen[item.key] += 1
            if seen[item.key] <= most:
                kept[label].append(item)
    return kept


def _alike(groups: Sequence[list[Item]], quota: int) -> tuple[list[list[Item]], int]:
    """`quota` of each group, taken first so that every class has as many sentences of each length.

    Returns:
        The groups, and how many items were chosen that way; the rest goes by priority.
    """
    buckets: list[dict[int, list[Item]]] = []
    for group in groups:
        by_length: dict[int, list[Item]] = {}
        for item in group:
            by_length.setdefault(item.length // _BUCKET_WORDS, []).append(item)
        buckets.append(by_length)
    common = {length: min(len(b.get(length, [])) for b in buckets) for length in set().union(*buckets)}
    room = sum(common.values())
    if room > quota:
        common = {length: count * quota // room for length, count in common.items()}
    chosen = [[item for length, count in common.items() for item in b.get(length, [])[:count]] for b in buckets]
    alike = sum(map(len, chosen))
    for group, taken in zip(groups, chosen, strict=True):
        have = set(taken)
        taken.extend([item for item in group if item not in have][: quota - len(taken)])
        taken.sort()
    return chosen, alike


class WordContent:
    """Which one of many words a sentence holds (Conneau et al. 2018), chosen from a bounded sample of sentences.

    The words are the commonest nouns, verbs and adjectives of the sample for which there are enough sentences that hold
    exactly one of them.

    Args:
        size: sentences wanted.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._sample = Pool(_SAMPLE * size)

    def offer(self, sentence: Sentence, priority: int, length: int) -> None:
        """Add a sentence to the sample if its priority is among the smallest."""
        lemmas = {(w.lemma or w.form).lower() for w in sentence.words if w.upos in _OPEN and len(w.form) > 2}
        key = "\t".join(sorted(lemmas))
        self._sample.offer("", "", Item(priority, sentence.text, key, length))

    def select(self) -> Selection:
        """Balanced rows, the lemma being the label; `Item.key` is empty afterwards."""
        sample = [(item, item.key.split("\t") if item.key else []) for item in self._sample.items("", "")]
        counts = Counter(lemma for _, lemmas in sample for lemma in lemmas)
        wanted = max(2, min(MOST_WORDS, self._size // PER_WORD))
        usable = [(lemma, count) for lemma, count in counts.items() if count <= max(_TOO_COMMON * len(sample), 1)]
        usable.sort(key=lambda entry: (-entry[1], entry[0]))
        words = {lemma for lemma, _ in usable[:wanted]}
        pool = Pool(capacity(self._size, len(words)))
        for item, lemmas in sample:
            held = words.intersection(lemmas)
            if len(held) == 1:
                pool.offer(held.pop(), "", Item(item.priority, item.text, item.text, item.length))
        return select(pool, self._size)
