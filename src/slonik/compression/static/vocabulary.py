"""The tokens of a static model: a Unigram vocabulary learnt from the corpus, or the first teacher's, trimmed to it.

A table has no context, so a word is best one token: the vocabulary is spent on words of one case.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers

from slonik.compression.corpus import CorpusSample
from slonik.compression.static.config import VocabularyConfig
from slonik.core.errors import SlonikError
from slonik.text.tokenizers.rules import TrimRules
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.text.tokenizers.trim import trim
from slonik.text.tokenizing import without_limits

_FAMILY = "gpt2"  # four special tokens, the fewest there are
_CHUNK = 20_000


def make_vocabulary(config: VocabularyConfig, sample: CorpusSample, teacher: Any) -> Tokenizer:
    """The tokenizer of a static model.

    Args:
        sample: what it is learnt from, or trimmed to.
        teacher: the first teacher, for a trimmed vocabulary.

    Raises:
        SlonikError: a teacher without a tokenizer, or a corpus that does not give so many tokens.
    """
    if config.kind == "unigram":
        settings = TrainConfig(  # letters and bytes say nothing to a table: what has no token is left out
            kind="unigram", vocab_size=config.tokens, lowercase=config.lowercase, family=_FAMILY, whole_alphabet=False,
            byte_fallback=False,
        )  # fmt: skip
        return without_limits(train(settings, _texts(sample, config.texts)).tokenizer)
    tokenizer: Tokenizer | None = getattr(teacher, "tokenizer", None)
    if tokenizer is None:
        raise SlonikError(f"{teacher.name} has no vocabulary to trim: use vocabulary.kind=unigram")
    own = without_limits(tokenizer)
    if config.lowercase:
        before = [own.normalizer] if own.normalizer is not None else []
        own.normalizer = normalizers.Sequence([*before, normalizers.Lowercase()])  # type: ignore[assignment]
    rules = TrimRules(mode="counts", max_pieces=config.tokens)
    return trim(own, rules, _texts(sample, config.texts)).tokenizer


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    """Ids of each text, without special tokens: an unknown one says nothing, and other libraries leave it out."""
    silent = np.asarray(silent_ids(tokenizer), dtype=np.int32)
    found: list[NDArray[np.int32]] = []
    for first in range(0, len(texts), _CHUNK):
        for encoding in tokenizer.encode_batch_fast(list(texts[first : first + _CHUNK]), add_special_tokens=False):
            ids = np.asarray(encoding.ids, dtype=np.int32)
            found.append(ids[~np.isin(ids, silent)])
    return found


def silent_ids(tokenizer: Tokenizer) -> list[int]:
    """Special tokens, the unknown one among them."""
    return sorted(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token says as a text of its own (V,); a special token says nothing."""
    return [tokenizer.decode([number], skip_special_tokens=True) for number in range(tokenizer.get_vocab_size())]


def _texts(sample: CorpusSample, most: int) -> Iterable[str]:
    """Sentences and both sides of pairs, sentences without the altered copies."""
    pairs = itertools.chain.from_iterable(sample.pairs)
    return itertools.chain(sample.texts[:most], itertools.islice(pairs, most))
