"""Texts that are written token by token, side by side: the base of every model that writes.

A subclass says how its model reads prompts and goes one token on; what is drawn, where a text ends, how it is cut into
pieces, and that texts may join and leave others that are being written, is here. What is drawn for a prompt depends on
the seed, the prompt and its number alone, not on what else is in the batch (but for the last digits of the arithmetic).
Needs no torch.

Shapes: B texts that are written side by side, V tokens of the vocabulary.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.runtime.sampling import SamplingConfig, generator_of, next_token
from slonik.text.batching import token_budget_batches
from slonik.text.prompts import Prompts, WritingFacts

_READ_TOKENS = 4096  # padded tokens of prompts that are read in one pass
GREEDY = SamplingConfig(temperature=0)


class Continuation:
    """One text that is being written.

    Args:
        prompts: rules of the model that writes.
        ids: of the prompt.
        config: how to draw.
        number: of the prompt among several, for the seed.

    Attributes:
        written: tokens so far.
        finish: "stop" after an end token, "length" where there is no more room; None while it is being written.
        cancelled: nobody wants the rest.
        error: what the model, or its logits, failed with on this text.
    """

    def __init__(self, prompts: Prompts, ids: list[int], config: SamplingConfig, number: int = 0) -> None:
        self.ids, self.written = ids, list[int]()
        self.finish: Literal["stop", "length"] | None = None
        self.cancelled = False
        self.error: Exception | None = None
        self._prompts, self._config = prompts, config
        self._room = min(config.max_tokens, prompts.room(ids))
        self._random = generator_of(config, number)
        self._sent = ""

    @property
    def most_tokens(self) -> int:
        """Of prompt and text, once it is as long as it may become."""
        return len(self.ids) + self._room

    @property
    def open(self) -> bool:
        """Whether it is to be gone on with."""
        return self.finish is None and self.error is None and not self.cancelled

    def take(self, logits: FloatArray) -> None:
        """Draw the next token from logits (V,)."""
        token = next_token(logits, [*self.ids, *self.written], self._config, self._random)
        if token in self._prompts.facts.ends:
            self.finish = "stop"
            return
        self.written.append(token)
        if len(self.written) >= self._room:
            self.finish = "length"

    def text(self) -> str:
        """All that was written."""
        return self._prompts.text(self.ids, self.written)

    def piece(self) -> str:
        """What has been written since the last call; an incomplete character at the end is kept back.

        Tokenizers that fall back to bytes (Llama's) show one for each of its bytes, and then the character in their
        place.
        """
        whole = self.text().rstrip("\ufffd")
        piece = whole[len(self._sent) :] if whole.startswith(self._sent) else ""
        self._sent += piece
        return piece

    def rest(self) -> str:
        """An incomplete character that has remained at the end, as it is shown; else nothing."""
        text = self.text()
        return text[len(self._sent) :] if text.startswith(self._sent) else ""


class Writer(ABC):
    """A model that writes; a `Generator` for the server.

    Args:
        prompts: its rules for prompts.
        max_length: where prompts may be cut (`answers`), their most tokens; of a decoder, with the answer, and within
            the context.

    Attributes:
        name: what the user called it.
        max_tokens: the context: the most tokens of prompt and continuation together (of each, in an encoder-decoder).
        two_stacks: whether it is an encoder-decoder.
    """

    def __init__(self, prompts: Prompts, *, max_length: int = 512) -> None:
        self.prompts = prompts
        self.max_tokens: int = prompts.facts.context
        self.max_length = max_length if self.two_stacks else min(max_length, self.max_tokens)

    @property
    def name(self) -> str:
        return self.prompts.name

    @name.setter
    def name(self, value: str) -> None:
        self.prompts.name = value

    @property
    def facts(self) -> WritingFacts:
        return self.prompts.facts

    @property
    def two_stacks(self) -> bool:
        return self.facts.two_stacks

    @property
    def tokenizer(self) -> Tokenizer:
        return self.prompts.tokenizer

    def prompt_ids(self, prompt: str, room: int | None = None) -> list[int]:
        """Ids of a prompt, as `Prompts.ids` makes them."""
        return self.prompts.ids(prompt, room)

    def answer_ids(self, answer: str, *, ends: bool = True) -> list[int]:
        """Ids of an answer, as `Prompts.answer` makes them."""
        return self.prompts.answer(answer, ends=ends)

    # What a model does. A cache holds what it has read of B texts; it is a value: none of these changes it.

    @abstractmethod
    def read(self, rows: Sequence[list[int]]) -> tuple[FloatArray, Any]:
        """Logits (B, V) of the token after each prompt, and their cache."""

    @abstractmethod
    def step(self, tokens: Sequence[int], cache: Any) -> tuple[FloatArray, Any]:
        """Logits (B, V) of the token after the next one of each text, and their cache."""

    @abstractmethod
    def joined(self, first: Any, second: Any) -> Any:
        """The cache of the texts of two caches."""

    @abstractmethod
    def kept(self, cache: Any, rows: Sequence[int]) -> Any:
        """The cache of some of its texts."""

    divisible = True
    """Whether texts can join and leave a cache (`joined`, `kept`)."""

    # What is written with it.

    def begin(self, prompt: str, config: SamplingConfig = SamplingConfig(), number: int = 0) -> Continuation:
        """A continuation of which nothing is written yet, to be put into a `WritingBatch`.

        Raises:
            SlonikError: the prompt fills the context, or is empty and the model has no token to begin with.
        """
        return Continuation(self.prompts, self.prompts.ids(prompt), config, number)

    def generate(self, prompt: str, *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0) -> Iterator[str]:
        """The continuation as it comes, a piece of text per token; drawn anew at each call.

        A piece is empty while a character is not complete; one that remains incomplete is left out.

        Args:
            max_tokens: the most tokens to write; fewer where the context ends.
            temperature: 0 = the likeliest token each time.
            top_p: draw from the likeliest tokens of this joint probability (nucleus sampling, Holtzman et al. 2020).

        Raises:
            SlonikError: the prompt alone fills the model's context.
        """
        config = SamplingConfig(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=secrets.randbits(63))
        return self.stream(prompt, config, rest=False)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, as a prompt.

        Raises:
            SlonikError: it fills the model's context.
        """
        return len(self.prompts.ids(text))

    def stream(
        self, prompt: str, config: SamplingConfig = SamplingConfig(), *, number: int = 0, rest: bool = True
    ) -> Iterator[str]:
        """The continuation as it comes, a piece of text per token; empty while a character is not complete.

        Args:
            number: of the prompt among several, for the seed.
            rest: give one more piece where the last character has remained incomplete; else it is left out.

        Raises:
            SlonikError: the prompt fills the context.
        """
        text = self.begin(prompt, config, number)
        batch = WritingBatch(self)
        batch.add([text])
        written = 0
        while text.open:
            batch.step()
            if text.error is not None:
                raise text.error
            if len(text.written) > written:
                written += 1
                yield text.piece()
        if rest and (last := text.rest()):
            yield last

    def complete(
        self, prompts: Sequence[str], config: SamplingConfig = SamplingConfig(), *, first: int = 0
    ) -> list[str]:
        """Continuations of several prompts, written side by side.

        Args:
            first: number of the first prompt among all, for the seed.

        Raises:
            SlonikError: a prompt fills the context.
        """
        rows = [self.prompts.ids(prompt) for prompt in prompts]
        return [text.text() for text in self._written(rows, config, first)]

    def answers(self, prompts: Sequence[str], *, max_tokens: int = 64, batch_texts: int = 8) -> list[str]:
        """The likeliest continuation of each prompt, token by token, without specials and spaces around it.

        Of a prompt that is too long the end is kept, where the question stands.
        """
        room = self.max_length
        if not self.two_stacks:
            room = max(room // 2, room - max_tokens)
        greedy = GREEDY.model_copy(update={"max_tokens": max_tokens})
        made = []
        for start in range(0, len(prompts), batch_texts):
            rows = [self.prompts.ids(prompt, room) for prompt in prompts[start : start + batch_texts]]
            written = self._written(rows, greedy, start)
            made += [str(self.tokenizer.decode(text.written)).strip() for text in written]
        return made

    def _written(self, rows: Sequence[list[int]], config: SamplingConfig, first: int) -> list[Continuation]:
        texts = [Continuation(self.prompts, ids, config, first + place) for place, ids in enumerate(rows)]
        batch = WritingBatch(self)
        batch.add(texts)
        while batch.texts:
            for text in batch.step():
                if text.error is not None:
                    raise text.error
        return texts


class WritingBatch:
    """Continuations that are written side by side, each by a token per step. Texts may be added between steps.

    A text on which the model fails has its `error`, and the others are gone on with.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._new: list[Continuation] = []
        self._rows: list[Continuation] = []  # of the cache; those that have ended stay where it cannot be divided
        self._cache: Any = None

    @property
    def texts(self) -> list[Continuation]:
        """Those that are being written."""
        return [text for text in (*self._rows, *self._new) if text.open]

    @property
    def takes_more(self) -> bool:
        """Whether `add` may be called now."""
        return self._writer.divisible or not any(text.open for text in self._rows)

    def add(self, texts: Sequence[Continuation]) -> None:
        """Have `texts` written from the next step on; their prompts are read then."""
        assert self.takes_more
        self._new += texts

    def step(self) -> list[Continuation]:
        """Write a token of each text; returns the texts that were gone on with, those that failed among them."""
        self._drop()
        old = list(self._rows)
        if old:
            pad = self._writer.facts.pad
            tokens = [text.written[-1] if text.open else pad for text in old]
            try:
                logits, self._cache = self._writer.step(tokens, self._cache)
            except Exception as error:  # whose text it was cannot be told
                for text in old:
                    text.error = error
                self._rows, self._cache = [], None
            else:
                _take(old, logits)
        new, self._new = [text for text in self._new if text.open], []
        for texts in self._batches(new):
            self._read(texts)
        return [*old, *new]

    def _drop(self) -> None:
        """Leave out the texts that have ended."""
        kept = [place for place, text in enumerate(self._rows) if text.open]
        if not kept:
            self._rows, self._cache = [], None
        elif len(kept) < len(self._rows) and self._writer.divisible:
            self._rows = [self._rows[place] for place in kept]
            self._cache = self._writer.kept(self._cache, kept)

    def _batches(self, new: list[Continuation]) -> list[list[Continuation]]:
        """The new texts by like lengths; all together where no text can join another."""
        if not self._writer.divisible:
            return [new] if new else []
        found = token_budget_batches([len(text.ids) for text in new], _READ_TOKENS)
        return [[new[place] for place in batch] for batch in found]

    def _read(self, texts: list[Continuation]) -> None:
        try:
            logits, cache = self._writer.read([text.ids for text in texts])
        except Exception as error:
            if len(texts) == 1 or not self._writer.divisible:
                for text in texts:
                    text.error = error
            else:
                for text in texts:
                    self._read([text])
            return
        self._cache = self._writer.joined(self._cache, cache) if self._rows else cache
        self._rows += texts
        _take(texts, logits)


def _take(texts: Sequence[Continuation], logits: FloatArray) -> None:
    for text, row in zip(texts, logits, strict=True):
        if text.open:
            try:
                text.take(row)
            except SlonikError as error:
                text.error = error


@dataclass(frozen=True)
class Generated:
    """What was written for one prompt.

    Attributes:
        prompt: as it was given. text: the continuation; of an encoder-decoder, its output.
        whole: both together; of an encoder-decoder, the output alone.
    """

    prompt: str
    text: str
    whole: str


def continuations(
    writer: Writer, prompts: Iterable[str], config: SamplingConfig, *, batch_size: int = 8
) -> Iterator[Generated]:
    """Continuations as they are made: any number of prompts in constant memory, `batch_size` side by side.

    Raises:
        SlonikError: a prompt fills the context, or `batch_size` is no number of texts.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts is one string; pass a list of prompts")
    if batch_size < 1:
        raise SlonikError(f"batch_size is {batch_size}: at least one text is written at a time")
    waiting, first = iter(prompts), 0
    while batch := list(islice(waiting, batch_size)):
        for prompt, text in zip(batch, writer.complete(batch, config, first=first), strict=True):
            yield Generated(prompt, text, text if writer.two_stacks else prompt + text)
        first += len(batch)
