"""An encoder as the queue uses it: texts to tokens, within the model's length, and tokens to vectors.

An encoder that takes token ids (`encode_ids`) is tokenised here once, so lengths are known before batches are
made. Any other encoder gets its texts; its tokens are then counted by its tokenizer, or as words when it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from tokenizers import Tokenizer

from slonik.core.protocols import Encoder, FloatArray
from slonik.runtime.session import available_threads
from slonik.serving.errors import ApiError
from slonik.serving.jobs import Job, Tokens
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import Template, template_of, without_limits

_MOST_CHARACTERS_PER_TOKEN = 64  # a text longer than this per allowed token is refused without tokenising it
_LONGEST_PREFIX = 256
_TEXTS_TOGETHER = 256
_TEXTS_ALONE = 4  # for an encoder that runs texts one by one anyway: enough to hide the change of threads
_MOST_WINDOWS = 32  # `average` takes texts up to this many times the model's length


@runtime_checkable
class IdEncoder(Encoder, Protocol):
    """An encoder that takes tokenised texts, from any thread."""

    tokenizer: Tokenizer
    sentence: SentenceConfig

    def encode_ids(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Vectors (N, D) of texts given as token ids with specials; longer ones are averaged over windows."""
        ...


class Engine:
    """Tokenises and encodes for one model.

    Attributes:
        max_tokens: the most tokens of one text, specials included; None = any.
        longest_prefix: the most characters of a prefix: it is read once per text, and must leave room for it.
        vocabulary: number of token ids; None without a tokenizer.
        workers: threads that may call `encode` at a time: one per processor for an encoder that uses only one itself.
        batch_texts: the most texts that are worth encoding together.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._takes_ids = isinstance(encoder, IdEncoder)
        self.sentence: SentenceConfig | None = getattr(encoder, "sentence", None)
        tokenizer: Tokenizer | None = getattr(encoder, "tokenizer", None)
        self._tokenizer = without_limits(tokenizer) if tokenizer else None
        self.dimension = encoder.dimension
        self.max_tokens = _max_tokens(encoder) if self._tokenizer else None
        self.vocabulary = self._tokenizer.get_vocab_size() if self._tokenizer else None
        self.longest_prefix = min(_LONGEST_PREFIX, (self.max_tokens or 2 * _LONGEST_PREFIX) // 2)
        self.workers = _workers(encoder) if self._takes_ids else 1
        self.batch_texts = _TEXTS_ALONE if getattr(encoder, "alone", False) else _TEXTS_TOGETHER
        template = template_of(self._tokenizer) if self._tokenizer else Template((), ())
        self._lead, self._trail = list(template.head), list(template.tail)

    def prepare(self, wanted: Sequence[tuple[Job, int]]) -> Iterator[tuple[Job, int, Tokens | ApiError]]:
        """Tokens of each (job, index of its text), or the error that this text is answered with."""
        strings: list[tuple[Job, int, str]] = []
        for job, index in wanted:
            text = job.texts[index]
            if not isinstance(text, str):
                yield job, index, self._fit(job, index, self._wrap(text, job.prefix))
            elif (clipped := self._clip(job, text)) is None:
                yield job, index, self._too_long(job, index, f"{len(text)} characters")
            else:
                strings.append((job, index, job.prefix + clipped))
        prepared = self._tokenize([text for _, _, text in strings])
        for (job, index, _), tokens in zip(strings, prepared, strict=True):
            yield job, index, self._fit(job, index, tokens)

    def encode(self, texts: Sequence[Tokens]) -> FloatArray:
        """Vectors (N, D) of prepared texts."""
        if self._takes_ids:
            contents: list[Any] = [text.content for text in texts]
            return self._encoder.encode_ids(contents)  # type: ignore[attr-defined,no-any-return]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for windows in (False, True):
            rows = [row for row, text in enumerate(texts) if text.windows == windows]
            if rows:
                vectors[rows] = self._encode_strings([str(texts[row].content) for row in rows], windows)
        return vectors

    def _encode_strings(self, texts: list[str], windows: bool) -> FloatArray:
        """Vectors of whole texts; the encoder itself cuts long ones or averages their windows."""
        if hasattr(self._encoder, "long_texts"):
            self._encoder.long_texts = "windows" if windows else "truncate"
        return self._encoder.encode(texts, prefix="")

    def _clip(self, job: Job, text: str) -> str | None:
        """`text`, cut where far over the limit if the client allows; None when it must be refused."""
        if self.max_tokens is None:
            return text
        limit = _MOST_CHARACTERS_PER_TOKEN * self.max_tokens * (_MOST_WINDOWS if job.long_text == "average" else 1)
        if len(text) <= limit:
            return text
        return text[:limit] if job.long_text == "truncate" else None

    def _tokenize(self, texts: list[str]) -> list[Tokens]:
        if self._tokenizer is None:
            return [Tokens(max(1, len(text.split())), text) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(texts)
        if self._takes_ids:
            return [Tokens(len(encoding.ids), encoding.ids) for encoding in encodings]
        return [Tokens(len(encoding.ids), text) for text, encoding in zip(texts, encodings, strict=True)]

    def _wrap(self, ids: Sequence[int], prefix: str) -> Tokens:
        """Ids without specials as the model reads them.

        With a prefix they go by their text: a prefix changes how the start of a text is cut into pieces.
        """
        if self._tokenizer is None:
            raise TypeError("this encoder has no tokenizer, so it takes no token ids")
        if prefix or not self._takes_ids:
            return self._tokenize([prefix + self._tokenizer.decode(list(ids))])[0]
        whole = [*self._lead, *ids, *self._trail]
        return Tokens(len(whole), whole)

    def _fit(self, job: Job, index: int, tokens: Tokens) -> Tokens | ApiError:
        """`tokens` made to fit the model as the client asked, or the refusal."""
        most = self.max_tokens
        if most is None or tokens.count <= most:
            return tokens
        if job.long_text == "average" and tokens.count <= most * _MOST_WINDOWS:
            return Tokens(tokens.count, tokens.content, windows=True)
        if job.long_text != "truncate":
            return self._too_long(job, index, f"{tokens.count} tokens")
        if isinstance(tokens.content, str):
            return Tokens(most, tokens.content)
        return Tokens(most, tokens.content[: most - len(self._trail)] + self._trail)

    def _too_long(self, job: Job, index: int, size: str) -> ApiError:
        name = "input" if len(job.places) == 1 else f"input[{job.places.index(index)}]"
        if job.long_text == "average":
            message = f"{name} has {size}: over {_MOST_WINDOWS} times the {self.max_tokens} tokens that the model takes"
        else:
            message = (
                f"{name} has {size}: over the {self.max_tokens} tokens that the model takes; shorten it, or send"
                ' "long_text": "truncate" or "average"'
            )
        return ApiError(400, message, param="input", code="context_length_exceeded")


def _workers(encoder: Encoder) -> int:
    """Calls of `encoder` that fit on this machine's processors at a time."""
    processors = available_threads()
    return max(1, processors // int(getattr(encoder, "threads", processors)))


def _max_tokens(encoder: Encoder) -> int | None:
    """The most tokens that `encoder` reads at a time."""
    sentence: SentenceConfig | None = getattr(encoder, "sentence", None)
    return getattr(encoder, "max_length", None) or (sentence.max_length if sentence else None)
