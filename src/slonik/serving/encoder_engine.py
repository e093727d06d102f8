"""An encoder as the queue uses it: texts and token ids to vectors.

An encoder that takes token ids (`encode_ids`) tokenises here once, by its own `tokenize`, so lengths are known before
batches are made. Any other encoder gets its texts; its tokens are counted by its tokenizer, or as words without one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from tokenizers import Tokenizer

from slonik.core.errors import NotNumbers
from slonik.core.protocols import Encoder, FloatArray, LongTexts
from slonik.serving.engine import MOST_WINDOWS, TEXTS_ALONE, TEXTS_TOGETHER, Engine, own_policy, workers_of
from slonik.serving.errors import ApiError
from slonik.serving.jobs import Job, Tokens
from slonik.text.matryoshka import measured_cuts
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import TextRows, pad_id, without_limits

_LONGEST_PREFIX = 256


@runtime_checkable
class IdEncoder(Encoder, Protocol):
    """An encoder that takes tokenised texts, from as many threads as it leaves processors for."""

    tokenizer: Tokenizer

    def tokenize(
        self, texts: Sequence[str], prefix: str | None = None, max_length: int | None = None, *, whole: bool = False
    ) -> list[list[int]]:
        """Token ids of each text, specials included, cut at `max_length` unless `whole`."""
        ...

    def encode_ids(
        self, ids: Sequence[Sequence[int]], *, long_texts: LongTexts | None = None, prompt_tokens: int = 0
    ) -> FloatArray:
        """Vectors (N, D) of texts given as token ids with specials."""
        ...


class EncoderEngine(Engine):
    """Tokenises and encodes for one model.

    Args:
        encoder: what is served.
        threads: processors that the server may use; None = all.

    Attributes:
        sentence: prefixes and modules; None for an encoder without.
        dimension: numbers per vector.
        shorter: dimensions that a vector may be cut to, as its folder says; None = any, empty = none.
        normalize: whether vectors have length one, and cut ones get it again.
        longest_prefix: the most characters of a prefix: it is read once per text, and must leave room for it.
        vocabulary: number of token ids; None without a tokenizer.
    """

    def __init__(self, encoder: Encoder, threads: int | None = None) -> None:
        self._encoder = encoder
        self.sentence: SentenceConfig | None = getattr(encoder, "sentence", None)
        tokenizer: Tokenizer | None = getattr(encoder, "tokenizer", None)
        self._tokenizer = without_limits(tokenizer) if tokenizer else None
        self._takes_ids = isinstance(encoder, IdEncoder)
        self._takes_policy = self._takes_ids or "long_texts" in inspect.signature(encoder.encode).parameters
        self.dimension = encoder.dimension
        self.shorter = _cuts(encoder)
        self.normalize = bool(getattr(self.sentence or encoder, "normalize", True))
        if self._tokenizer is not None and self._takes_policy:
            self.max_tokens = getattr(encoder, "max_length", None) or (
                self.sentence.max_length if self.sentence else None
            )
        self.vocabulary = self._tokenizer.get_vocab_size() if self._tokenizer else None
        self.longest_prefix = min(_LONGEST_PREFIX, (self.max_tokens or 2 * _LONGEST_PREFIX) // 2)
        self.workers = workers_of(encoder, threads) if self._takes_ids and hasattr(encoder, "threads") else 1
        self.batch_texts = TEXTS_ALONE if getattr(encoder, "alone", False) else TEXTS_TOGETHER
        self.long_texts = own_policy(encoder, self.sentence)
        self._rows = TextRows(self._tokenizer, pad_id(self._tokenizer)) if self._tokenizer else None

    def prepare(self, wanted: Sequence[tuple[Job, int]]) -> Iterator[tuple[Job, int, Tokens | ApiError]]:
        """Tokens of each (job, index of its text), or the error that this text is answered with."""
        strings: dict[tuple[str, LongTexts], list[tuple[Job, int]]] = {}
        for job, index in wanted:
            if isinstance(job.texts[index], str):
                strings.setdefault((job.prefix, job.long_texts), []).append((job, index))
            else:
                yield job, index, self._fit(job, index, self._of_ids(job, index))
        for (prefix, policy), group in strings.items():
            texts = [str(job.texts[index]) for job, index in group]
            for (job, index), tokens in zip(group, self._tokenize(texts, prefix, policy), strict=True):
                yield job, index, self._fit(job, index, tokens)

    def run(self, texts: Sequence[Tokens]) -> Sequence[FloatArray]:
        """Vectors (D,) of prepared texts.

        Raises:
            NotNumbers: the model gave something that is no number.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for policy, prompt in {(text.long_texts, text.prompt) for text in texts}:
            places = [place for place, text in enumerate(texts) if (text.long_texts, text.prompt) == (policy, prompt)]
            vectors[places] = self._encode([texts[place].content for place in places], policy, prompt)
        if not np.isfinite(vectors).all():
            raise NotNumbers
        return vectors  # type: ignore[return-value]  # a sequence of its rows

    def _encode(self, contents: list[Any], policy: LongTexts, prompt: int) -> FloatArray:
        encoder: Any = self._encoder
        if self._takes_ids:
            found: FloatArray = encoder.encode_ids(contents, long_texts=policy, prompt_tokens=prompt)
        elif self._takes_policy:
            found = encoder.encode(contents, prefix="", long_texts=policy)
        else:
            found = encoder.encode(contents, prefix="")
        return found

    def _tokenize(self, texts: list[str], prefix: str, policy: LongTexts) -> list[Tokens]:
        if self._tokenizer is None:
            return [Tokens(max(1, len(text.split())), prefix + text, policy) for text in texts]
        prompt = self._prompt(prefix)
        if self._takes_ids:
            encoder: Any = self._encoder
            rows = encoder.tokenize(texts, prefix, self._reading(policy))
            made = [self._tokens(len(row), row, policy, prompt) for row in rows]
            if cut := [place for place, one in enumerate(made) if one.cut]:
                rows = encoder.tokenize([texts[place] for place in cut], prefix, self.max_tokens)
                for place, row in zip(cut, rows, strict=True):
                    made[place] = replace(made[place], content=row)
            return made
        assert self._rows is not None
        rows = self._rows.rows([prefix + text for text in texts], self._reading(policy), threads=1)
        return [self._tokens(len(row), prefix + text, policy, prompt) for text, row in zip(texts, rows, strict=True)]

    def _tokens(self, count: int, content: Any, policy: LongTexts, prompt: int = 0) -> Tokens:
        """A text of so many tokens, of which a cut one has those that the model reads."""
        cut = policy == "truncate" and self.max_tokens is not None and count > self.max_tokens
        return Tokens(self.max_tokens if cut and self.max_tokens else count, content, policy, prompt, cut)

    def _reading(self, policy: LongTexts) -> int | None:
        """How many tokens of a text are to be read, at most; one more than may be, to see that a text is too long."""
        if self.max_tokens is None:
            return None
        return 1 + self.max_tokens * (MOST_WINDOWS if policy == "average" else 1)

    def _prompt(self, prefix: str) -> int:
        if not prefix or self._rows is None or getattr(self.sentence, "include_prompt", True):
            return 0
        return self._rows.prompt_length(prefix)

    def _of_ids(self, job: Job, index: int) -> Tokens:
        """Ids without specials as the model reads them.

        With a prefix they go by their text: a prefix changes how the start of a text is cut into pieces.
        """
        ids = [int(number) for number in job.texts[index]]
        if self._tokenizer is None or self._rows is None:
            raise TypeError("this encoder has no tokenizer, so it takes no token ids")
        if job.prefix or not self._takes_ids:
            return self._tokenize([self._tokenizer.decode(ids)], job.prefix, job.long_texts)[0]
        whole = [*self._rows.template.head, *ids, *self._rows.template.tail]
        return self._tokens(len(whole), whole, job.long_texts)


def _cuts(encoder: Encoder) -> tuple[int, ...] | None:
    """Dimensions that vectors may be cut to, as the folder says; None = any."""
    source = getattr(encoder, "source", None)
    known = measured_cuts(source) if isinstance(source, str | Path) else ()
    return known and tuple(size for size in sorted(known) if size < encoder.dimension)
