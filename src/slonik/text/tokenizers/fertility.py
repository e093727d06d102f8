"""How well tokenizers fit kinds of text: tokens per word, bytes per token, unknown rate, side by side.

Fertility (tokens per word, words being what stands between white space) is how the sources compare tokenizers;
bytes per token compares them without any notion of a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.text.tokenizers.counts import BATCH_TEXTS, batches, plain_copy, token_ids
from slonik.text.tokenizers.vocabulary import read_vocabulary

SUITE = "tokenizer"


class Fit(BaseModel):
    """Sums over some texts: how many texts, words, UTF-8 bytes, tokens (special ones left out), unknown tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    words: int
    bytes: int
    tokens: int
    unknown: int

    @property
    def fertility(self) -> float:
        """Tokens per word."""
        return self.tokens / max(self.words, 1)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes per token."""
        return self.bytes / max(self.tokens, 1)

    @property
    def unknown_rate(self) -> float:
        """Share of unknown tokens."""
        return self.unknown / max(self.tokens, 1)


def measure_fit(tokenizer: Tokenizer, texts: Iterable[str]) -> Fit:
    """Encode `texts` and add up; raises SlonikError when there are none."""
    plain = plain_copy(tokenizer)
    unknown = read_vocabulary(plain).unknown
    sums = [0, 0, 0, 0, 0]
    for batch in batches(texts, BATCH_TEXTS):
        cut = token_ids(plain, batch)
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
