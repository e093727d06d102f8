"""Trim a tokenizer's vocabulary to what a user needs, and say what that changes.

Source of the idea: LaBSE-en-ru (a 109-language vocabulary cut to Russian and English: four times fewer bytes at no
loss of quality). Texts whose tokens all survive are cut exactly as before, so a model embeds them exactly as
before: Unigram keeps its log-probabilities, WordPiece its longest-match rule, BPE every merge on the way to a kept
token. Other texts are cut into smaller kept tokens.

Does: count, choose (by `rules`), rebuild and compare, for Unigram, WordPiece and BPE tokenizers.
Does not: cut a model's embedding rows: hand `TrimPlan.token_ids` to slonik.compression.surgery.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.text.tokenizers.fit import CutComparison, compare_cuts, count_tokens
from slonik.text.tokenizers.rules import TrimRules, choose_tokens, token_scripts
from slonik.text.tokenizers.vocabulary import Vocabulary, read_vocabulary, renumber_processor, split_merge
from slonik.text.tokenizing import content_ids, without_limits


class ScriptCount(Config):
    """Tokens of one script before and after."""

    before: int
    after: int


class TrimReport(Config):
    """What trimming did.

    Attributes:
        kind: unigram, wordpiece or bpe.
        pieces_before, pieces_after: sizes of the vocabulary.
        scripts: script -> tokens before and after, the largest first (`special`: special tokens and bytes).
        corpus_tokens: tokens that were counted in the corpus.
        held_out: `all` and the main scripts of the held-out texts -> how they are cut now; empty without texts.
    """

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
    Raises SlonikError for an empty corpus, and for what `rules.choose_tokens` and `vocabulary.read_vocabulary` raise.
    """
    plain = without_limits(tokenizer)
    counts = count_tokens(plain, texts, total=total)
    if not counts.any():
        raise SlonikError("the corpus is empty: there is nothing to count tokens in")
    return _trimmed(tokenizer, plain, rules, counts, held_out() if callable(held_out) else held_out)


def trim_by_counts(
    tokenizer: Tokenizer, rules: TrimRules, counts: NDArray[np.int64], *, held_out: Sequence[str] = ()
) -> TrimPlan:
    """Trim `tokenizer` by `rules`, with (V,) counts made before by `fit.count_tokens`."""
    return _trimmed(tokenizer, without_limits(tokenizer), rules, counts, held_out)


def _trimmed(
    tokenizer: Tokenizer, plain: Tokenizer, rules: TrimRules, counts: NDArray[np.int64], held_out: Sequence[str]
) -> TrimPlan:
    """`plain` is the tokenizer without its limits: a copy of 250,000 tokens takes a second, so there is one."""
    vocabulary = read_vocabulary(tokenizer)
    scripts = token_scripts(vocabulary)
    extra = set(itertools.chain.from_iterable(content_ids(plain, rules.always_keep)))
    order = new_order(vocabulary, choose_tokens(vocabulary, rules, counts, extra, scripts))
    trimmed = rebuild(vocabulary, order)
    report = TrimReport(
        kind=vocabulary.kind,
        pieces_before=len(vocabulary.tokens),
        pieces_after=len(order),
        scripts=_script_counts(scripts, order),
        corpus_tokens=int(counts.sum()),
        held_out=compare_cuts(plain, trimmed, order, held_out, unknown=vocabulary.unknown) if held_out else {},
    )
    return TrimPlan(order, trimmed, rules, report)


def _script_counts(scripts: Mapping[int, str], order: tuple[int, ...]) -> dict[str, ScriptCount]:
    before = Counter(scripts.values())
    after = Counter(scripts[i] for i in order)
    return {name: ScriptCount(before=count, after=after[name]) for name, count in before.most_common()}


def new_order(vocabulary: Vocabulary, kept: Collection[int]) -> tuple[int, ...]:
    """The old ids in the order of the new ones.

    Special tokens first, in their old order, then the rest in its old order; added tokens that lie outside the model's
    own vocabulary stay behind it, where the library expects them. The padding token keeps its old id where that is
    possible: RoBERTa's position ids start after it.
    """
    wanted = set(kept) | set(vocabulary.specials)
    outside = set(vocabulary.outside)
    specials = [i for i in vocabulary.specials if i not in outside]
    order = specials + sorted(wanted - outside - set(specials))
    padding = vocabulary.padding
    if padding in specials and padding < len(order):
        order.remove(padding)
        order.insert(padding, padding)
    return (*order, *sorted(outside))


def rebuild(vocabulary: Vocabulary, token_ids: tuple[int, ...]) -> Tokenizer:
    """The tokenizer whose id n is the token `token_ids[n]` of the old one: everything that holds an id is renumbered.

    Raises SlonikError when the library does not accept the result.
    """
    new_ids = {old: new for new, old in enumerate(token_ids)}
    content = copy.deepcopy({key: value for key, value in vocabulary.json.items() if key != "model"})
    content["model"] = _model(vocabulary, token_ids, new_ids)
    for each in content["added_tokens"]:
        each["id"] = new_ids[each["id"]]
    content["added_tokens"].sort(key=lambda each: each["id"])
    if content.get("padding"):
        content["padding"]["pad_id"] = new_ids[content["padding"]["pad_id"]]
    renumber_processor(content.get("post_processor"), new_ids)
    try:
        tokenizer = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the Rust library raises plain Exception
        raise SlonikError(f"the trimmed vocabulary does not make a tokenizer ({error})") from None
    for new, old in enumerate(token_ids):
        if tokenizer.id_to_token(new) != vocabulary.tokens[old]:
            raise SlonikError(f"the tokenizer moves the token {vocabulary.tokens[old]!r}; it cannot be trimmed")
    return tokenizer


def remap_config(config: dict[str, Any], token_ids: tuple[int, ...]) -> dict[str, Any]:
    """A model config's fields `*_token_id` (one id or a list of them) under the new ids; only those that change.

    Ids that were dropped become None.
    """
    new_ids = {old: new for new, old in enumerate(token_ids)}
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if key.endswith("_token_id") and isinstance(value, int):
            changed[key] = new_ids.get(value)
        elif key.endswith("_token_id") and isinstance(value, list):
            changed[key] = [new_ids[old] for old in value if old in new_ids]
    return {key: value for key, value in changed.items() if value != config[key]}


def _model(vocabulary: Vocabulary, token_ids: tuple[int, ...], new_ids: dict[int, int]) -> dict[str, Any]:
    """The model part: tokens of its own vocabulary, original log-probabilities, merges among kept tokens."""
    old = vocabulary.json["model"]
    model = {key: value for key, value in old.items() if key not in ("vocab", "merges")}
    outside = set(vocabulary.outside)
    inside = [i for i in token_ids if i not in outside]
    if vocabulary.kind == "unigram":
        model["vocab"] = [old["vocab"][i] for i in inside]
        model["unk_id"] = None if old.get("unk_id") is None else new_ids[old["unk_id"]]
        return model
    model["vocab"] = {vocabulary.tokens[i]: new_ids[i] for i in inside}
    if vocabulary.kind == "bpe":
        kept = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in map(split_merge, old["merges"])
            if left in kept and right in kept and left + right.removeprefix(vocabulary.prefix) in kept
        ]
    return model
