"""Tokenise a corpus once, into memory-mapped rows of ids that every epoch and every run reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from slonik.core.hashing import sha256_json, sha256_texts
from slonik.train.ragged import Ragged, write_ragged

_CHUNK_TEXTS = 4096


def tokenized(
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    texts: Sequence[str],
    folder: Path,
    *,
    identity: object,
) -> Ragged:
    """Token ids of `texts`, from the cache where they are there.

    Args:
        tokenize: texts -> ids with specials, cut to the longest length.
        folder: cache of all corpora; each (tokenizer, texts) has a folder in it.
        identity: JSON value of all that decides the ids apart from the texts: hash of the tokenizer, prefix, length.
    """
    key = sha256_json({"identity": identity, "texts": sha256_texts(texts)})

    def chunks() -> Iterator[Sequence[Sequence[int]]]:
        for start in range(0, len(texts), _CHUNK_TEXTS):
            yield tokenize(texts[start : start + _CHUNK_TEXTS])

    return write_ragged(folder / key[:24], chunks(), key=key, total=len(texts), description="tokens")
