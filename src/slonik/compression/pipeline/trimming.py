"""Trim an encoder's vocabulary: the tokenizer, the embedding rows and the ids in the config together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from slonik.compression.pipeline.config import CorpusConfig, TrimConfig
from slonik.compression.pipeline.corpus import CorpusSample
from slonik.compression.surgery import keep_tokens
from slonik.core.passport import Step
from slonik.data.pairs import read_pairs
from slonik.data.readers import read_texts
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizers.rules import TrimRules
from slonik.text.tokenizers.trim import TrimPlan, trim

T = TypeVar("T")


def corpus_to_count(corpus: CorpusConfig, limit: int) -> Iterable[str]:
    """About `limit` lines of the corpus and as many pairs, both sides, evenly spread over the files.

    A corpus is often sorted by source: its first lines alone would count the words of one genre.
    """
    texts = _spread(lambda: read_texts(list(corpus.texts)), limit)
    if not corpus.pairs:
        return texts
    pairs = _spread(lambda: read_pairs(list(corpus.pairs)), limit)
    return itertools.chain(texts, itertools.chain.from_iterable(pairs))


def _spread(read: Callable[[], Iterable[T]], limit: int) -> Iterator[T]:
    """Every n-th item, so that at most `limit` come out; reads the source twice and keeps nothing."""
    total = sum(1 for _ in read())
    return itertools.islice(read(), 0, None, max(1, -(-total // limit)))


def plan_trim(encoder: TorchEncoder, corpus: CorpusConfig, config: TrimConfig, sample: CorpusSample) -> TrimPlan:
    """Which pieces stay by the story's settings, by lines of its corpus and its substituted texts."""
    rules = TrimRules.model_validate(config.model_dump(exclude={"count_texts"}))
    texts = itertools.chain(corpus_to_count(corpus, config.count_texts), sample.substituted)
    return plan_by_rules(encoder, rules, texts, sample.held_texts)


def plan_by_rules(
    encoder: TorchEncoder,
    rules: TrimRules,
    texts: Iterable[str],
    held_out: Sequence[str] | Callable[[], Sequence[str]] = (),
) -> TrimPlan:
    """Which pieces stay; the model's prefixes always do.

    Args:
        texts: read once, to count pieces in.
        held_out: texts to compare the cuts on, or what gives them once `texts` has been read.
    """
    prefixes = sorted(set(encoder.sentence.prefixes.values()) - {""})
    rules = rules.model_copy(update={"always_keep": (*rules.always_keep, *prefixes)})
    return trim(encoder.tokenizer, rules, texts, held_out=held_out)


def apply_trim(encoder: TorchEncoder, plan: TrimPlan) -> TorchEncoder:
    """The encoder with the trimmed tokenizer and the kept embedding rows; texts of kept pieces embed as before."""
    model = keep_tokens(encoder.model, plan.token_ids)
    for field, value in plan.config_changes(encoder.model.config.to_dict()).items():
        setattr(model.config, field, value)
    step = Step(
        command="trim",
        config=plan.rules.model_dump(mode="json"),
        inputs={"parent": encoder.weights_hash()},
        summary=plan.report.model_dump(mode="json"),
    )
    return TorchEncoder(
        model,
        plan.tokenizer,
        encoder.sentence,
        encoder.passport.with_step(step),
        name=f"{encoder.name} (trimmed)",
        source=encoder.source,
    )
