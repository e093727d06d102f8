"""Count the words of a corpus, as a tokenizer's own normalizer and pre-tokenizer cut them.

Does: stream texts with progress; keep memory bounded on corpora with many millions of different words.
Does not: cut words into pieces (see `merging`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer

from slonik.core.progress import progress_bar

#: Different words held in memory; beyond it, words seen once or twice so far are forgotten.
MAX_WORDS = 3_000_000


def count_words(
    pipeline: Tokenizer, texts: Iterable[str], *, total: int | None = None, max_words: int = MAX_WORDS
) -> Counter[str]:
    """Word -> how often it occurs.

    pipeline: its normalizer and pre-tokenizer are used, its model is not.
    total: number of texts, where it is known, for the progress bar.
    max_words: when more different words are held, the rarest are dropped, so counts of rare words in a huge corpus
        are lower bounds.
    """
    counts: Counter[str] = Counter()
    normalizer, splitter = pipeline.normalizer, pipeline.pre_tokenizer
    with progress_bar("counting words", total) as bar:
        for text in texts:
            clean = normalizer.normalize_str(text) if normalizer is not None else text
            counts.update([word for word, _ in splitter.pre_tokenize_str(clean)])
            if len(counts) > max_words:
                _forget_rare(counts, max_words)
            bar.advance(1)
    return counts


def _forget_rare(counts: Counter[str], max_words: int) -> None:
    """Drop words by rising count until at most half of `max_words` are left (only the rarest are touched)."""
    limit = 1
    while len(counts) > max_words // 2:
        for word in [word for word, count in counts.items() if count <= limit]:
            del counts[word]
        limit += 1
