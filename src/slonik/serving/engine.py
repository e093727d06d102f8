"""A model as the queue uses it: texts to tokens, within the model's length, and tokens to results.

One engine per kind of model: encoders and classifiers in modules of their own, taggers here. A limit is counted in
tokens, never in characters; a line of a megabyte that is to be cut costs no more than its beginning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, get_args, runtime_checkable

from slonik.core.protocols import LongTexts
from slonik.runtime.session import available_threads
from slonik.serving.errors import ApiError
from slonik.serving.jobs import Job, Tokens

TEXTS_TOGETHER = 256
TEXTS_ALONE = 4  # for a model that runs texts one by one anyway: enough to hide the change of threads
MOST_WINDOWS = 32  # `average` takes texts up to this many times the model's length


class Engine(ABC):
    """Tokenises and runs one model.

    Attributes:
        max_tokens: the most tokens that the model reads at a time, specials included; None = any.
        workers: threads that may call `run` at a time: one per processor for a model that uses only one itself.
        batch_texts: the most texts that are worth running together.
        long_texts: what happens to longer texts where a request does not say.
    """

    max_tokens: int | None = None
    workers: int = 1
    batch_texts: int = TEXTS_TOGETHER
    long_texts: LongTexts = "truncate"

    @abstractmethod
    def prepare(self, wanted: Sequence[tuple[Job, int]]) -> Iterator[tuple[Job, int, Tokens | ApiError]]:
        """Tokens of each (job, index of its text), or the error that this text is answered with."""

    @abstractmethod
    def run(self, texts: Sequence[Tokens]) -> Sequence[Any]:
        """What comes of each of some prepared texts."""

    def _fit(self, job: Job, index: int, tokens: Tokens, size: int | None = None) -> Tokens | ApiError:
        """`tokens`, or the refusal of a text that is too long for what its request wants.

        Args:
            size: what the limit is held against; None = all tokens.
        """
        most, size = self.max_tokens, tokens.count if size is None else size
        if most is None or size <= most or job.long_texts == "truncate":
            return tokens
        if job.long_texts == "average":
            return tokens if size <= most * MOST_WINDOWS else self._too_long(job, index)
        return self._too_long(job, index)

    def _too_long(self, job: Job, index: int) -> ApiError:
        name = job.name_of(index)
        if job.long_texts == "average":
            most = f"{MOST_WINDOWS} times the {self.max_tokens} tokens that the model takes"
            message = f"{name} has more than {most}, over which texts are averaged here: shorten it"
        else:
            message = (
                f"{name} has more than the {self.max_tokens} tokens that the model takes: shorten it, or send "
                '"long_texts": "truncate" or "average"'
            )
        return ApiError(400, message, param=name, code="context_length_exceeded")


def workers_of(model: object, threads: int | None) -> int:
    """Calls of `model` that fit on the processors at a time.

    Args:
        threads: how many the server may use; None = all that this process may.
    """
    processors = threads or available_threads()
    return max(1, processors // int(getattr(model, "threads", processors)))


def own_policy(model: object, *settings: object) -> LongTexts:
    """What a model does with long texts when nobody says: its own attribute, or that of its settings."""
    for place in (model, *settings):
        found = getattr(place, "long_texts", None)
        if found in get_args(LongTexts):
            return found  # type: ignore[return-value]
    return "truncate"


Found = Sequence[Any]  # spans with start, end, label, confidence


@runtime_checkable
class SpanTagger(Protocol):
    """What is served: see `slonik.data.annotations.document.Tagger`."""

    name: str
    labels: tuple[str, ...]

    def tag(self, texts: Sequence[str]) -> Sequence[Found]:
        """Spans of each text, in order."""
        ...


_CHARACTERS_PER_TOKEN = 4  # about: a tagger reads texts of any length, in windows of its own
_TEXTS_TO_TAG = 32


class TaggerEngine(Engine):
    """Texts to their spans; called by as many threads as the tagger leaves processors for."""

    batch_texts = _TEXTS_TO_TAG

    def __init__(self, tagger: SpanTagger, threads: int | None = None) -> None:
        self._tagger = tagger
        self.workers = workers_of(tagger, threads)

    def prepare(self, wanted: Sequence[tuple[Job, int]]) -> Iterator[tuple[Job, int, Tokens | ApiError]]:
        """Texts with about as many tokens as they are likely to have."""
        for job, index in wanted:
            text = job.texts[index]
            yield job, index, Tokens(1 + len(text) // _CHARACTERS_PER_TOKEN, text)

    def run(self, texts: Sequence[Tokens]) -> Sequence[Found]:
        """Spans of each text."""
        return self._tagger.tag([text.content for text in texts])
