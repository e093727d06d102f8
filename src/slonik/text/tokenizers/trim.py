"""Trim a tokenizer's vocabulary to what a user needs, and say what that changes.

Source of the idea: LaBSE-en-ru (a 109-language vocabulary cut to Russian and English: four times fewer bytes at no
loss of quality). Texts whose pieces all survive are cut exactly as before, so a model embeds them exactly as
before: Unigram keeps its log-probabilities, WordPiece its longest-match rule, BPE every merge on the way to a kept
piece. Other texts are cut into smaller kept pieces.

Does: count, choose, rebuild and compare, for Unigram, WordPiece and BPE tokenizers.
Does not: cut a model's embedding rows: hand `TrimPlan.token_ids` to slonik.compression.surgery.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizers.comparison import CutComparison, compare_cuts
from slonik.text.tokenizers.counts import count_pieces, plain_copy, token_ids
from slonik.text.tokenizers.rebuild import new_order, rebuild, remap_config
from slonik.text.tokenizers.rules import TrimRules, choose_pieces, piece_scripts
from slonik.text.tokenizers.vocabulary import Vocabulary, read_vocabulary


class ScriptCount(BaseModel):
    """Pieces of one script before and after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: int
    after: int


class TrimReport(BaseModel):
    """What trimming did.

    Attributes:
        kind: unigram, wordpiece or bpe.
        pieces_before, pieces_after: sizes of the vocabulary.
        scripts: script -> pieces before and after, the largest first (`special`: special tokens and bytes).
        corpus_tokens: tokens that were counted in the corpus.
        held_out: `all` and the main scripts of the held-out texts -> how they are cut now; empty without texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    pieces_before: int
    pieces_after: int
    scripts: dict[str, ScriptCount]
    corpus_tokens: int
    held_out: dict[str, CutComparison]


@dataclass(frozen=True)
class TrimPlan:
    """A trimmed tokenizer and how to trim a model alike.

    Attributes:
        token_ids: new id -> old id: the rows of the embedding table to keep, in their new order.
        tokenizer: the trimmed tokenizer.
        rules: what was asked for.
        report: what came of it.
    """

    token_ids: tuple[int, ...]
    tokenizer: Tokenizer
    rules: TrimRules
    report: TrimReport

    def config_changes(self, config: dict[str, Any]) -> dict[str, Any]:
        """The fields `*_token_id` of a model's config that get another value."""
        return remap_config(config, self.token_ids)


def trim(
    tokenizer: Tokenizer,
    rules: TrimRules,
    texts: Iterable[str],
    *,
    held_out: Sequence[str] | Callable[[], Sequence[str]] = (),
    total: int | None = None,
) -> TrimPlan:
    """Trim `tokenizer` by `rules` to a corpus.

    texts: the corpus, streamed once.
    held_out: texts outside the corpus, to compare the cuts on; or a function that gives them when the corpus has
        been read.
    total: the number of texts, where it is known, for the progress bar.
    Raises SlonikError for an empty corpus, and for what `rules.choose_pieces` and `vocabulary.read_vocabulary` raise.
    """
    counts = count_pieces(tokenizer, texts, total=total)
    if not counts.any():
        raise SlonikError("the corpus is empty: there is nothing to count pieces in")
    return trim_by_counts(tokenizer, rules, counts, held_out=held_out() if callable(held_out) else held_out)


def trim_by_counts(
    tokenizer: Tokenizer, rules: TrimRules, counts: NDArray[np.int64], *, held_out: Sequence[str] = ()
) -> TrimPlan:
    """Trim `tokenizer` by `rules`, with (V,) counts made before by `counts.count_pieces`."""
    vocabulary = read_vocabulary(tokenizer)
    extra = set(itertools.chain.from_iterable(token_ids(plain_copy(tokenizer), rules.always_keep)))
    order = new_order(vocabulary, choose_pieces(vocabulary, rules, counts, extra))
    trimmed = rebuild(vocabulary, order)
    report = TrimReport(
        kind=vocabulary.kind,
        pieces_before=len(vocabulary.pieces),
        pieces_after=len(order),
        scripts=_script_counts(vocabulary, order),
        corpus_tokens=int(counts.sum()),
        held_out=compare_cuts(tokenizer, trimmed, order, held_out) if held_out else {},
    )
    return TrimPlan(order, trimmed, rules, report)


def _script_counts(vocabulary: Vocabulary, order: tuple[int, ...]) -> dict[str, ScriptCount]:
    scripts = piece_scripts(vocabulary)
    before = Counter(scripts.values())
    after = Counter(scripts[i] for i in order)
    return {name: ScriptCount(before=count, after=after[name]) for name, count in before.most_common()}
