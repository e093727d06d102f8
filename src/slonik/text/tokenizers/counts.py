"""Count how often a corpus uses each piece of a vocabulary.

Does: stream texts through the tokenizer on all cores, in constant memory, with progress.
Does not: decide what the counts mean (see `rules`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.progress import progress_bar

#: Texts handed to the tokenizer at once: enough to keep all cores busy, few enough to fit in memory.
BATCH_TEXTS = 2_000


def plain_copy(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that neither truncates nor pads, so that whole texts are counted."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, special tokens left out; the tokenizer must neither truncate nor pad."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def count_pieces(tokenizer: Tokenizer, texts: Iterable[str], *, total: int | None = None) -> NDArray[np.int64]:
    """How often each piece occurs in `texts`: (V,) counts, V being one more than the largest id.

    total: the number of texts where it is known, for the progress bar.
    """
    plain = plain_copy(tokenizer)
    size = max(plain.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    counts = np.zeros(size, dtype=np.int64)
    with progress_bar("counting pieces", total) as bar:
        for batch in batches(texts, BATCH_TEXTS):
            ids = list(itertools.chain.from_iterable(token_ids(plain, batch)))
            if ids:
                counts += np.bincount(np.asarray(ids, dtype=np.int64), minlength=size)
            bar.advance(len(batch))
    return counts


def batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` texts."""
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
