"""Documents to token ids: each document is tokenised whole, and the ids are parted where its lines end.

White space is the tokenizer's business: line breaks are given to it with the text, so those that have a token for them
keep it, and a word at a line's begin gets the ids that it has inside the text. Where lines end is found afterwards, by
the tokens' places in the text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding, Tokenizer

from slonik.pretraining.shards import TokenCorpus
from slonik.text.tokenizing import content_ids, encode

_LINE_ENDS = re.compile(r"\s*\n\s*")
_BATCH = 32


def sentence_ids(tokenizer: Tokenizer, texts: Sequence[str], *, threads: int | None = None) -> list[list[list[int]]]:
    """Ids of each text, without specials, as lists of the ids of its lines; joined they are those of the whole text.

    The token of a line break belongs to the line that it ends. Lines and texts without a token are left out.

    Args:
        threads: 1 keeps to the caller's thread; None: as many as the library likes.
    """
    several = [text for text in texts if "\n" in text]
    parted = iter(_encodings(tokenizer, several, threads))
    whole = iter(content_ids(tokenizer, [text for text in texts if "\n" not in text], threads=threads))
    found = [_lines(next(parted), text) if "\n" in text else [next(whole)] for text in texts]
    return [[line for line in lines if line] for lines in found]


def tokenised(texts: Sequence[str], tokenizer: Tokenizer, key: str = "") -> TokenCorpus:
    """Texts as a corpus in memory, lines as sentences: for held-out texts and small experiments."""
    return TokenCorpus.of(sentence_ids(tokenizer, texts), key)


def _encodings(tokenizer: Tokenizer, texts: list[str], threads: int | None) -> list[Encoding]:
    if threads == 1 or len(texts) < _BATCH:
        return [encode(tokenizer, text) for text in texts]
    try:
        return tokenizer.encode_batch(texts, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):  # a lone surrogate somewhere: find it text by text
        return [encode(tokenizer, text) for text in texts]


def _lines(encoding: Encoding, text: str) -> list[list[int]]:
    """The ids, parted before the first token of each line that reaches beyond the white space before it."""
    ids = encoding.ids
    ends = np.fromiter((end for _, end in encoding.offsets), dtype=np.int64, count=len(ids))
    begins = [found.end() for found in _LINE_ENDS.finditer(text)]
    borders = np.unique(np.searchsorted(ends, begins, side="right")).tolist()
    cuts = [0, *borders, len(ids)]
    return [ids[start:end] for start, end in itertools.pairwise(cuts)]
