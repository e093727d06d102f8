"""Word content: which one of many words a sentence holds (Conneau et al. 2018), chosen from a bounded sample.

The words are the commonest nouns, verbs and adjectives of the sample for which there are enough sentences that hold
exactly one of them. Unlike in other tasks the word is the label, so it must be in every split.
"""

from __future__ import annotations

from collections import Counter

from slonik.data.conllu import Sentence
from slonik.inspection.probing_tasks.selection import Item, Pool, Selection, capacity, select, split_of

PER_WORD = 20
MOST_CLASSES = 1000
_OPEN = ("NOUN", "VERB", "ADJ", "PROPN")
_TOO_COMMON = 0.05  # a word in more of the sentences than this says little about them
_SAMPLE = 20  # sentences of the sample for every sentence wanted


class WordContent:
    """Collects sentences, then picks words and rows.

    Args:
        size: sentences wanted. seed: of the splits.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._lemmas: dict[str, tuple[str, ...]] = {}
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
        wanted = max(2, min(MOST_CLASSES, self._size // PER_WORD))
        usable = [(lemma, count) for lemma, count in counts.items() if count <= max(_TOO_COMMON * len(sample), 1)]
        usable.sort(key=lambda entry: (-entry[1], entry[0]))
        words = {lemma for lemma, _ in usable[:wanted]}
        pool = Pool(capacity(self._size, len(words)))
        for item, lemmas in sample:
            held = words.intersection(lemmas)
            if len(held) == 1:
                split = split_of(self._seed, item.text)
                pool.offer(held.pop(), split, Item(item.priority, item.text, item.text, item.length))
        return select(pool, self._size)
