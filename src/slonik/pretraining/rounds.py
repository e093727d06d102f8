"""Which tokens of a text a model is asked for, and what it reads beside them: windows, rounds of hidden words, rows.

What that costs, the bytes that it is divided by, and why it is asked in this way are `bits_per_byte`'s. N texts, U
units of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.pretraining.denoising import Denoiser, SpanNoise, corrupt_text
from slonik.pretraining.spelling import Spelled, Spelling, byte_count
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.text.tokenizing import encode, template_of
from slonik.train.objectives.masking import IGNORED

ROUNDS = 7  # so a seventh is hidden at a time: near the 15 % that most models are trained with
_UNIT = re.compile(r"\s*\w{1,32}|\s*[^\w\s]{1,32}|\s+")
_NOISE = SpanNoise(0.15, 3.0)

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Asking:
    """How texts are asked about.

    Attributes:
        objective: mlm, clm or denoising.
        max_length: tokens of a window, specials included (denoising: prefix and end token too).
        denoisers: the mixture that an encoder-decoder is trained with.
        rounds: of masked models and encoder-decoders, from the first on.
    """

    objective: str
    max_length: int
    denoisers: tuple[Denoiser, ...] = ()
    rounds: int = ROUNDS


def text_units(text: str) -> tuple[list[tuple[int, int]], IntArray]:
    """What is hidden whole, and when: a function of the text alone.

    Returns:
        Character spans that cover the text, each a word or a run of punctuation with the white space before it; (U,)
        the round of each: seven neighbours, from a multiple of seven on, have all seven.
    """
    spans = [(found.start(), found.end()) for found in _UNIT.finditer(text)]
    rng = np.random.default_rng(derive_seed(0, "rounds", text))
    blocks = -(-len(spans) // ROUNDS)
    rounds = [rng.permutation(ROUNDS) for _ in range(blocks)]
    return spans, np.concatenate([*rounds, np.zeros(0, np.int64)])[: len(spans)].astype(np.int64)


def strides(length: int, size: int, *, both_sides: bool) -> list[tuple[int, int, int, int]]:
    """Windows over `length` items, each half of `size` further on, the last one full too.

    Returns:
        (start, end, first, last): the window, and the items that count in it; each counts in exactly one. With
        `both_sides` that is the window where it is further from an edge, else the first that holds it.
    """
    if length <= size:
        return [(0, length, 0, length)]
    starts = [*range(0, length - size, max(1, size // 2)), length - size]
    found, first = [], 0
    for number, start in enumerate(starts):
        end = start + size
        last = end
        if number + 1 < len(starts) and both_sides:
            last = (starts[number + 1] + end + 1) // 2
        found.append((start, end, first, last))
        first = last
    return found


@dataclass(frozen=True)
class Row:
    """What a model reads at once and is asked.

    Attributes:
        text: the number of the text.
        inputs: ids. labels: the id that is asked at each place, or -100; encoder-decoders: the target.
        counts: encoder-decoders: which places of the target count.
    """

    text: int
    inputs: IntArray
    labels: IntArray
    counts: NDArray[np.bool_] | None = None

    @property
    def asked(self) -> int:
        """How many tokens are to be guessed."""
        return int(((self.labels != IGNORED) if self.counts is None else self.counts).sum())


class RowReader:
    """Texts to rows for one vocabulary.

    Args:
        asking: how they are asked about. tokenizer: raw. facts: of its ids.

    Attributes:
        sizes, spelled: bytes of each text so far, and bits for what its tokens cannot give back.

    Raises:
        SlonikError: a tokenizer without the special tokens that the objective needs, or a window without room.
    """

    def __init__(self, asking: Asking, tokenizer: Tokenizer, facts: TokenFacts) -> None:
        self._objective, self._length, self._rounds = asking.objective, asking.max_length, asking.rounds
        denoisers = asking.denoisers
        self._tokenizer, self._facts, self._spelling = tokenizer, facts, Spelling(tokenizer)
        self.spelled: list[float] = []
        self.sizes: list[int] = []
        self._head, self._tail = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if self._objective == "clm":
            start = facts.bos if facts.bos is not None else facts.need("eos", "measuring a causal language model")
            self._head = np.asarray([start], dtype=np.int64)
            room = self._length
        elif self._objective == "denoising":
            facts.need("eos", "denoising")
            prefixes = [each.prefix for each in denoisers if each.noise == _NOISE and each.prefix]
            self._head = np.asarray([facts.need_named(prefixes[0])] if prefixes else [], dtype=np.int64)
            room = self._length - len(self._head) - 1
        else:
            facts.need("mask", "measuring a masked-language model")
            template = template_of(tokenizer)
            self._head, self._tail = np.asarray(template.head, np.int64), np.asarray(template.tail, np.int64)
            room = self._length - template.size
        if room < 2:
            raise SlonikError(f"windows of {self._length} tokens have no room for text beside the special tokens")
        self._room = room

    def rows(self, texts: Sequence[str]) -> Iterator[Row]:
        """The rows of all texts, in order."""
        for number, text in enumerate(texts):
            encoding = encode(self._tokenizer, text)
            ids = np.asarray(encoding.ids, dtype=np.int64)
            spelled = self._spelling.of(text, encoding)
            if self._objective == "clm":
                self._note(byte_count(text), spelled.total)
                yield from self._causal(number, ids)
            else:
                yield from self._hidden(number, text, ids, encoding.offsets, spelled)

    def _note(self, size: int, spelled: float) -> None:
        self.sizes.append(size)
        self.spelled.append(spelled)

    def _causal(self, number: int, ids: IntArray) -> Iterator[Row]:
        sequence = np.concatenate([self._head, ids])
        for start, end, first, last in strides(len(ids), self._room, both_sides=False):
            labels = sequence[start + 1 : end + 1].copy()
            labels[: first - start] = IGNORED
            labels[last - start :] = IGNORED
            if len(labels):
                yield Row(number, sequence[start:end], labels)

    def _hidden(
        self, number: int, text: str, ids: IntArray, offsets: Sequence[tuple[int, int]], spelled: Spelled
    ) -> Iterator[Row]:
        """Rows of each round over each window."""
        units, rounds = text_units(text)
        owners, lasts = _owners(text, units, offsets)
        asked = rounds < self._rounds
        whole = self._rounds == ROUNDS
        size = sum(byte_count(text[start:end]) for (start, end), take in zip(units, asked, strict=True) if take)
        counted = spelled.bits[asked[owners]].sum() if len(ids) else 0.0
        self._note(size, float(counted) + (spelled.tail if whole or not len(ids) else 0.0))
        for start, end, first, last in strides(len(ids), self._room, both_sides=True):
            inside, place = owners[start:end], np.arange(start, end)
            counts_here = (place >= first) & (place < last)
            for turn in range(self._rounds):
                asks = (rounds[inside] == turn) & counts_here
                if not asks.any():
                    continue
                hidden = (rounds[inside] == turn) | (rounds[lasts[start:end]] == turn)
                if self._objective == "mlm":
                    yield self._masked(number, ids[start:end], hidden, asks)
                else:
                    yield from self._corrupted(number, ids[start:end], hidden, asks)

    def _masked(self, number: int, ids: IntArray, hidden: NDArray[np.bool_], asks: NDArray[np.bool_]) -> Row:
        shown = np.where(hidden, self._facts.need("mask", "masked-language modelling"), ids)
        labels = np.where(asks, ids, IGNORED)
        none = [np.full(len(part), IGNORED, dtype=np.int64) for part in (self._head, self._tail)]
        return Row(number, np.concatenate([self._head, shown, self._tail]), np.concatenate([none[0], labels, none[1]]))

    def _corrupted(
        self, number: int, ids: IntArray, hidden: NDArray[np.bool_], asks: NDArray[np.bool_]
    ) -> Iterator[Row]:
        """One row; several where there are more spans than sentinels."""
        sentinels, end = self._facts.sentinels, self._facts.need("eos", "denoising")
        begins = np.flatnonzero(hidden & ~np.concatenate([[False], hidden[:-1]]))
        span = np.searchsorted(begins, np.arange(len(ids)), "right") - 1
        if not sentinels:
            raise SlonikError("the tokenizer has no sentinels (<extra_id_0>, ...), and denoising needs them")
        for low in range(0, len(begins), len(sentinels)):
            mask = hidden & (span >= low) & (span < low + len(sentinels))
            if not (asks & mask).any():
                continue
            inputs, target = corrupt_text(ids, mask, sentinels, end)
            # The same corruption of the flags says which places of the target are asked.
            flags = corrupt_text(np.where(asks, 1, 2), mask, [0] * len(sentinels), 0)[1]
            yield Row(number, np.concatenate([self._head, inputs]), target, flags == 1)


def _owners(
    text: str, units: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]
) -> tuple[IntArray, IntArray]:
    """The unit that each token counts with, which is that of its first letter, and that of its last letter."""
    ends = np.asarray([end for _, end in units], dtype=np.int64)
    letters, lasts = np.zeros(len(offsets), np.int64), np.zeros(len(offsets), np.int64)
    for number, (start, end) in enumerate(offsets):
        letters[number] = letter = next((place for place in range(start, end) if not text[place].isspace()), start)
        lasts[number] = max(letter, end - 1)
    most = max(0, len(units) - 1)
    owners, until = (np.minimum(np.searchsorted(ends, places, "right"), most) for places in (letters, lasts))
    return owners, until
