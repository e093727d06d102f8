"""How tokenizers fit texts: how often each token is used, tokens per word, and what a smaller vocabulary changes.

Does: stream texts through the tokenizer on all cores, in constant memory, with progress.
Does not: judge what that means for a model (evaluate the checkpoint for that), or choose what stays (see `rules`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.records import Record
from slonik.text.scripts import main_script
from slonik.text.tokenizers.vocabulary import read_vocabulary
from slonik.text.tokenizing import content_ids, without_limits

SUITE = "tokenizer"
#: Texts handed to the tokenizer at once: enough to keep all cores busy, few enough to fit in memory.
_BATCH_TEXTS = 2_000


def count_tokens(tokenizer: Tokenizer, texts: Iterable[str], *, total: int | None = None) -> NDArray[np.int64]:
    """How often each token occurs in `texts`: (V,) counts, V being one more than the largest id.

    total: the number of texts where it is known, for the progress bar.
    """
    plain = without_limits(tokenizer)
    size = max(plain.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    counts = np.zeros(size, dtype=np.int64)
    with progress_bar("counting tokens", total) as bar:
        for batch in _batches(texts):
            ids = list(itertools.chain.from_iterable(content_ids(plain, batch)))
            if ids:
                counts += np.bincount(np.asarray(ids, dtype=np.int64), minlength=size)
            bar.advance(len(batch))
    return counts


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, _BATCH_TEXTS)):
        yield batch


class Fit(Config):
    """Sums over some texts: how many texts, words, UTF-8 bytes, tokens (special ones left out), unknown tokens."""

    texts: int
    words: int
    bytes: int
    tokens: int
    unknown: int

    @property
    def fertility(self) -> float:
        """Tokens per word, words being what stands between white space: how the sources compare tokenizers."""
        return self.tokens / max(self.words, 1)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes per token: compares tokenizers without any notion of a word."""
        return self.bytes / max(self.tokens, 1)

    @property
    def unknown_rate(self) -> float:
        return self.unknown / max(self.tokens, 1)


def measure_fit(tokenizer: Tokenizer, texts: Iterable[str]) -> Fit:
    """Encode `texts` and add up; raises SlonikError when there are none."""
    plain = without_limits(tokenizer)
    unknown = read_vocabulary(plain).unknown
    sums = [0, 0, 0, 0, 0]
    for batch in _batches(texts):
        cut = content_ids(plain, batch)
        sums[0] += len(batch)
        sums[1] += sum(len(text.split()) for text in batch)
        sums[2] += sum(len(text.encode()) for text in batch)
        sums[3] += sum(map(len, cut))
        sums[4] += 0 if unknown is None else sum(ids.count(unknown) for ids in cut)
    if not sums[0]:
        raise SlonikError("there are no texts to measure tokenizers on")
    return Fit(texts=sums[0], words=sums[1], bytes=sums[2], tokens=sums[3], unknown=sums[4])


def fit_records(fits: Mapping[str, Mapping[str, Fit]]) -> list[Record]:
    """Records of name of tokenizer -> kind of text -> fit: suite `tokenizer`, task `fit`, variant the kind of text."""
    return [
        Record(
            suite=SUITE, task="fit", variant=kind, model=name, metric=metric, value=getattr(fit, metric), n=fit.texts
        )
        for name, by_kind in fits.items()
        for kind, fit in by_kind.items()
        for metric in ("fertility", "bytes_per_token", "unknown_rate")
    ]


class CutComparison(Config):
    """What became of some texts under another vocabulary.

    Attributes:
        texts: how many there were.
        identical: how many are cut into the same tokens as before.
        tokens_before, tokens_after: how many tokens they have, special tokens left out.
        unknown_before, unknown_after: how many of these tokens are unknown ones.
    """

    texts: int
    identical: int
    tokens_before: int
    tokens_after: int
    unknown_before: int
    unknown_after: int

    @property
    def identical_share(self) -> float:
        """Share of texts cut as before, 1 when there is no text."""
        return self.identical / self.texts if self.texts else 1.0

    @property
    def token_growth(self) -> float:
        """Growth of the number of tokens: 0.02 is two per cent more."""
        return self.tokens_after / self.tokens_before - 1 if self.tokens_before else 0.0

    @property
    def unknown_rate_before(self) -> float:
        return self.unknown_before / max(self.tokens_before, 1)

    @property
    def unknown_rate_after(self) -> float:
        return self.unknown_after / max(self.tokens_after, 1)


def compare_cuts(
    before: Tokenizer, after: Tokenizer, kept_ids: Sequence[int], texts: Sequence[str], *, unknown: int | None
) -> dict[str, CutComparison]:
    """Compare two tokenizers on `texts`: the key `all`, then one key for each main script of a text.

    kept_ids: new id -> old id.
    unknown: the id of the unknown token before, if there is one.
    """
    old_ids = np.asarray(kept_ids, dtype=np.int64)
    unknown_old, unknown_new = unknown, read_vocabulary(after).unknown
    cut_before = content_ids(without_limits(before), texts)
    cut_after = content_ids(without_limits(after), texts)
    sums: dict[str, np.ndarray] = {"all": np.zeros(6, dtype=np.int64)}
    for text, old, new in zip(texts, cut_before, cut_after, strict=True):
        same = len(old) == len(new) and old == old_ids[new].tolist()
        row = (1, same, len(old), len(new), old.count(unknown_old), new.count(unknown_new))  # type: ignore[arg-type]
        for name in ("all", main_script(text)):
            sums[name] = sums.get(name, np.zeros(6, dtype=np.int64)) + np.asarray(row, dtype=np.int64)
    names = tuple(CutComparison.model_fields)
    return {key: CutComparison(**dict(zip(names, map(int, row), strict=True))) for key, row in sums.items()}
