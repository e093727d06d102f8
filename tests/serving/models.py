"""Encoders and decoders for the tests: vectors that depend on every token, its place and nothing else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from slonik.core.errors import NotNumbers, SlonikError
from slonik.core.protocols import FloatArray, LongTexts
from slonik.data.annotations.document import Span
from slonik.runtime.writing import Writer
from slonik.text.prompts import Prompts, WritingFacts
from slonik.text.sentence_config import SentenceConfig

DIMENSION = 16


class ToyEncoder:
    """An encoder that takes token ids, with a toy tokenizer.

    Attributes:
        batches: texts of each call.
        open: encoding waits until this is set.
        poison: a batch with this token id fails.
        seconds_per_text: how long a text takes.
    """

    def __init__(self, name: str = "toy", seconds_per_text: float = 0.0) -> None:
        from tests.tiny import tokenizers as toy  # it brings torch, which the server processes do without

        self.name = name
        self.dimension = DIMENSION
        self.tokenizer = toy.tokenizer("unigram")
        self.sentence = SentenceConfig(
            max_length=64, prefixes={"query": "query: ", "passage": "passage: "}, default_prefix="query"
        )
        self.batches: list[list[list[int]]] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.poison: int | None = None
        self.seconds_per_text = seconds_per_text
        rng = np.random.default_rng(0)
        self._table = rng.standard_normal((self.tokenizer.get_vocab_size(), DIMENSION)).astype(np.float32)

    def tokenize(
        self, texts: Sequence[str], prefix: str | None = None, max_length: int | None = None, *, whole: bool = False
    ) -> list[list[int]]:
        start = self.sentence.prefix(prefix)
        rows = [self.tokenizer.encode(start + text).ids for text in texts]
        length = None if whole else max_length or self.sentence.max_length
        return [row if length is None or len(row) <= length else row[: length - 1] + row[-1:] for row in rows]

    def encode_ids(
        self, ids: Sequence[Sequence[int]], *, long_texts: LongTexts | None = None, prompt_tokens: int = 0
    ) -> FloatArray:
        length = self.sentence.max_length
        if long_texts == "truncate":
            ids = [list(row) if len(row) <= length else [*row[: length - 1], row[-1]] for row in ids]
        self.batches.append([list(text) for text in ids])
        self.entered.set()
        self.open.wait(60)  # a test that failed must not hang
        if self.seconds_per_text:
            time.sleep(self.seconds_per_text * len(ids))
        if any(self.poison in text for text in ids):
            raise RuntimeError("poison")
        return np.stack([self._vector(text) for text in ids])

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Alone, without the queue: what answers are compared with."""
        start = self.sentence.prefix(prefix)
        return np.stack([self._vector(self.tokenizer.encode(start + text).ids) for text in texts])

    def describe(self) -> dict[str, Any]:
        return {}

    def identity(self) -> str:
        return self.name

    def _vector(self, ids: Sequence[int]) -> FloatArray:
        places = 1 + np.arange(len(ids), dtype=np.float32)[:, None]
        return (self._table[list(ids)] / places).sum(0)


class WordEncoder:
    """An encoder without a tokenizer, as the baselines are."""

    dimension = 4

    def __init__(self, name: str = "words", seconds_per_text: float = 0.0) -> None:
        self.name = name
        self._seconds_per_text = seconds_per_text

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        time.sleep(self._seconds_per_text * len(texts))
        return np.array([[len(text), text.count(" "), 1, 0] for text in texts], dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {}

    def identity(self) -> str:
        return self.name


class LengthClassifier:
    """Scores that depend on every letter and its place: `labels` of a text, or of two texts read together.

    Attributes:
        batches: rows of each call.
        open: a call waits until this is set.
        entered: set when a call has begun.
    """

    max_length = 32

    def __init__(
        self, name: str = "moods", target: str = "single", labels: Sequence[str] = ("зло", "добро", "так")
    ) -> None:
        from tests.tiny import tokenizers as toy

        self.name = name
        self.target = target
        self.labels = tuple(labels) if target != "number" else ()
        self.tokenizer = toy.tokenizer("unigram")
        self.batches: list[list[Any]] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def logits(self, rows: Sequence[Any], *, long_texts: LongTexts | None = None) -> FloatArray:
        self.batches.append(list(rows))
        self.entered.set()
        self.open.wait(60)  # a test that failed must not hang
        if "яд" in rows:
            raise RuntimeError("poison")
        return np.stack([self._scores(row, long_texts) for row in rows])

    def _scores(self, row: Any, long_texts: LongTexts | None) -> FloatArray:
        first, second = (row, "") if isinstance(row, str) else row
        if first == "трое":
            raise SlonikError("row 1 has 1 texts: give two")
        width = len(self.labels) or 1
        share = len(set(first) & set(second)) - len(set(second) - set(first)) / 8
        own = [np.sin(len(first) + 3 * place + (long_texts == "average")) for place in range(width)]
        if first == "ничто":
            raise NotNumbers("row 1")
        if first == "нечисло":
            own = [np.nan] * width
        return np.array(own if self.labels else [share / 4], dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {}

    def identity(self) -> str:
        return self.name


class CapitalTagger:
    """Marks words that begin with a capital.

    Attributes:
        open: a call waits until this is set.
        entered: set when a call has begun.
        spans: what marks one text.
    """

    name = "capitals"
    labels = ("NAME",)

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.spans: Callable[[str], list[Span]] = lambda text: [
            Span(*match.span(), "NAME", 0.75) for match in re.finditer(r"\b[А-ЯЁ]\w*", text)
        ]

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        self.entered.set()
        self.open.wait(60)  # a test that failed must not hang
        if "яд" in texts:
            raise RuntimeError("poison")
        return [self.spans(text) for text in texts]


class ToyWriter(Writer):
    """Writes words that depend on all the words so far, in several texts side by side.

    Attributes:
        open: each step waits until this is set.
        entered: set when a prompt has been read.
        widths: texts of each step.
    """

    def __init__(self, context: int = 100) -> None:
        from tests.tiny import tokenizers as toy  # it brings torch, which the server processes do without

        tokenizer = toy.tokenizer("bpe")
        facts = WritingFacts(False, context, begin=0, ends=frozenset({2}), end=2, pad=1, start=1)
        super().__init__(Prompts(tokenizer, facts, "writer"))
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.widths: list[int] = []
        self._table = np.random.default_rng(0).standard_normal((97, tokenizer.get_vocab_size())).astype(np.float32) * 3
        self._table[:, 2] -= 100  # texts do not end by themselves

    def read(self, rows: Sequence[list[int]]) -> tuple[FloatArray, list[int]]:
        if any(999_999 in row for row in rows):
            raise RuntimeError("poison")
        self.entered.set()
        self.open.wait(60)  # a test that failed must not hang
        sums = [sum(place * token for place, token in enumerate(row, start=1)) % 97 for row in rows]
        return self._table[sums], sums

    def step(self, tokens: Sequence[int], cache: list[int]) -> tuple[FloatArray, list[int]]:
        self.widths.append(len(tokens))
        self.open.wait(60)
        sums = [(7 * before + token) % 97 for before, token in zip(cache, tokens, strict=True)]
        return self._table[sums], sums

    def joined(self, first: list[int], second: list[int]) -> list[int]:
        return [*first, *second]

    def kept(self, cache: list[int], rows: Sequence[int]) -> list[int]:
        return [cache[row] for row in rows]


class EchoDecoder:
    """Writes the words of its prompt back, one per token, for ever.

    Attributes:
        written: pieces written so far.
        open: each piece waits until this is set.
    """

    name = "echo"
    max_tokens = 100

    def __init__(self) -> None:
        self.written = 0
        self.open = threading.Event()
        self.open.set()

    def generate(self, prompt: str, *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0) -> Iterator[str]:
        words = prompt.split()
        if len(words) >= self.max_tokens:
            raise SlonikError(f"the prompt has {len(words)} tokens: send fewer than {self.max_tokens}")
        if "яд" in words:
            raise RuntimeError("poison")
        for place in range(min(max_tokens, self.max_tokens - len(words))):
            self.open.wait(60)  # a test that failed must not hang
            self.written += 1
            yield " " + words[place % len(words)] if words else "."

    def count_tokens(self, text: str) -> int:
        return len(text.split())
