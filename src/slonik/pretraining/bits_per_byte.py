"""How well a language model knows a set of texts: bits per UTF-8 byte of whole documents, so that vocabularies compare.

Every byte of a document counts exactly once, and a document has the same bytes for every model and vocabulary: texts
longer than the context are read in overlapping windows and never cut, line breaks are text, and what tokens cannot give
back is charged (see `spelling`). The end of a document is not guessed.

- Causal models: each token from those before it, the first from the begin token. Windows of `max_length` tokens, each
  half a window further on; a token counts in the first that holds it, with at least half a window before it.
- Masked models: a pseudo-log-likelihood (Salazar et al., "Masked Language Model Scoring", 2020), by words and in
  `ROUNDS` rounds: each word or run of punctuation, with the white space before it, is hidden whole in exactly one
  round, with every seventh of the others, and guessed from the rest. Which in which round depends on the text alone.
  Windows overlap by half, and a token counts in the one where it is further from an edge. Both sides are read, so these
  bits are fewer than a causal model's and compare with those of masked models alone.
- Encoder-decoders: the same rounds; hidden words leave sentinels (under the first prefix of the mixture that has T5's
  own noise), and the tokens of the target are counted, sentinels and the end token left out. Compare among themselves.

Choosing among checkpoints may look at some rounds only (`rounds`): the same words each time. N texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.evaluation.statistics import Interval, Ratio, interval, replicates, value_of
from slonik.models.padding import pad
from slonik.pretraining.denoising import Denoiser, SpanNoise, corrupt_text, denoising_batch
from slonik.pretraining.packed import model_inputs
from slonik.pretraining.spelling import Spelled, Spelling, byte_count
from slonik.text.batching import token_budget_batches
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.text.tokenizing import encode, template_of
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.vocabulary_head import encoder_of, vocabulary_head

MEASURE = "whole documents"
"""In the detail of records, to tell them from those of before, which looked at the first tokens of each text alone."""
ROUNDS = 7  # so a seventh is hidden at a time: near the 15 % that most models are trained with
ENOUGH_BYTES = 150_000
"""So much text settles which of two checkpoints is better."""
_BATCH_TOKENS = 4096
_ROWS = 512
_HEAD_ROWS = 1024  # logits of a large vocabulary for no more places at once
_UNIT = re.compile(r"\s*\w{1,32}|\s*[^\w\s]{1,32}|\s+")
_NOISE = SpanNoise(0.15, 3.0)

_COLUMNS = ("bits", "bytes", "spelled", "tokens")

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class TextBits:
    """Cost and size of each text.

    Attributes:
        bits: (N,) bits, `spelled` among them.
        bytes: (N,) UTF-8 bytes that they are the cost of.
        spelled: (N,) bits for what tokens cannot give back.
        tokens: (N,) guesses that the other bits are the cost of.
    """

    bits: NDArray[np.float64]
    bytes: NDArray[np.float64]
    spelled: NDArray[np.float64]
    tokens: NDArray[np.float64]

    @property
    def per_byte(self) -> float:
        """Bits per byte over all texts."""
        return float(self.bits.sum() / max(self.bytes.sum(), 1.0))

    @property
    def spelled_per_byte(self) -> float:
        """The part of `per_byte` that is charged for what tokens cannot give back."""
        return float(self.spelled.sum() / max(self.bytes.sum(), 1.0))

    @property
    def perplexity(self) -> float:
        """Of a token, what is spelled left out: it compares models with one vocabulary alone."""
        return float(2 ** ((self.bits.sum() - self.spelled.sum()) / max(self.tokens.sum(), 1.0)))

    @property
    def told(self) -> dict[str, Any]:
        """For the detail of a result record."""
        sizes = {"bytes": int(self.bytes.sum()), "tokens": int(self.tokens.sum())}
        costs = {"spelled": round(self.spelled_per_byte, 6), "perplexity": round(self.perplexity, 4)}
        return {"measure": MEASURE, **sizes, **costs}

    def at(self, where: NDArray[np.bool_]) -> TextBits:
        """Those of some texts."""
        return TextBits(*(getattr(self, name)[where] for name in _COLUMNS))

    def as_lists(self) -> dict[str, list[float]]:
        """JSON values."""
        return {name: [round(float(value), 4) for value in getattr(self, name)] for name in _COLUMNS}

    @classmethod
    def from_lists(cls, lists: Mapping[str, Sequence[float]]) -> TextBits:
        """What `as_lists` gave."""
        return cls(*(np.asarray(lists[name], dtype=np.float64) for name in _COLUMNS))


def whole_documents(texts: Iterable[str], most: int, kilobytes: float) -> list[str]:
    """The first texts: at most `most` of them, and none after `kilobytes` are reached; empty ones left out."""
    chosen: list[str] = []
    size = 0
    for text in texts:
        if len(chosen) == most or size >= kilobytes * 1000:
            break
        if text:
            chosen.append(text)
            size += byte_count(text)
    return chosen


def said_of(texts: Sequence[str]) -> str:
    """`12 held-out documents (34 kB)`."""
    return f"{len(texts):,} held-out documents ({sum(map(byte_count, texts)) / 1000:,.0f} kB)"


def bits_interval(bits: TextBits, *, seed: int = 0, sample: str = "held_out") -> Interval:
    """Bits per byte with the 95 % interval over documents."""
    statistic = Ratio(bits.bits, bits.bytes)
    return interval(value_of(statistic), replicates(statistic, seed=seed, sample=sample))


def bits_with_interval(bits: TextBits) -> dict[str, float]:
    """For the log of a training: `bits_per_byte` and the ends of its interval over documents."""
    found = bits_interval(bits)
    return {"bits_per_byte": found.value, "bits_per_byte_low": found.low, "bits_per_byte_high": found.high}


def rounds_for(texts: Sequence[str], enough: int = ENOUGH_BYTES) -> int:
    """How many rounds ask for `enough` bytes of the texts; all of them where they have no more."""
    size = sum(map(byte_count, texts))
    return max(1, min(ROUNDS, math.ceil(ROUNDS * enough / max(size, 1))))


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
class _Row:
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


class HeldOutBits:
    """Measures models on one set of whole texts by the objective that they are trained for.

    Args:
        texts: N texts.
        objective: mlm, clm or denoising; models trained with nsp are measured by mlm.
        max_length: tokens of a window, specials included (denoising: prefix and end token too).
        denoisers: the mixture that an encoder-decoder is trained with.
        rounds: of masked models and encoder-decoders; with fewer than `ROUNDS` the bytes are those of the words that
            are asked for. Causal models always read everything.

    Raises:
        SlonikError: a number of rounds that there is not.
    """

    def __init__(
        self,
        texts: Sequence[str],
        objective: str,
        *,
        max_length: int = 128,
        denoisers: Sequence[Denoiser] = (),
        rounds: int = ROUNDS,
    ) -> None:
        if not 1 <= rounds <= ROUNDS:
            raise SlonikError(f"{rounds} rounds: there are 1 to {ROUNDS}")
        self._texts, self._objective, self._max_length = list(texts), objective, max_length
        self._denoisers, self._rounds = tuple(denoisers), rounds

    @classmethod
    def choosing(
        cls, texts: Sequence[str], objective: str, *, max_length: int = 128, denoisers: Sequence[Denoiser] = ()
    ) -> HeldOutBits:
        """What checkpoints are chosen by: as much of the texts as settles which of two is better (`ENOUGH_BYTES`).

        Causal models read the first texts up to there, the others all texts in as many rounds as it takes.
        """
        if objective == "clm":
            return cls(whole_documents(texts, len(texts), ENOUGH_BYTES / 1000), objective, max_length=max_length)
        rounds = rounds_for(texts)
        return cls(texts, objective, max_length=max_length, denoisers=denoisers, rounds=rounds)

    def measure(self, model: Any, tokenizer: Tokenizer, facts: TokenFacts) -> TextBits:
        """Bits and bytes of each text; the model keeps its mode.

        Args:
            tokenizer: the raw one of `model`. facts: of its ids.

        Raises:
            SlonikError: a tokenizer without the special tokens that the objective needs, or a window without room.
        """
        reader = _Reader(self, tokenizer, facts)
        training = model.training
        model.eval()
        bits, tokens = np.zeros(len(self._texts)), np.zeros(len(self._texts))
        try:
            for rows in _chunks(reader.rows(self._texts), _ROWS):
                for part in token_budget_batches([len(row.inputs) for row in rows], _BATCH_TOKENS):
                    some = [rows[index] for index in part]
                    owners = [row.text for row in some]
                    np.add.at(bits, owners, self._cost(model, some, facts.pad))
                    np.add.at(tokens, owners, [row.asked for row in some])
        finally:
            model.train(training)
        spelled, sizes = np.asarray(reader.spelled), np.asarray(reader.sizes, dtype=np.float64)
        return TextBits(bits + spelled, sizes, spelled, tokens)

    def _cost(self, model: Any, rows: Sequence[_Row], padding: int) -> NDArray[np.float64]:
        if self._objective == "denoising":
            return _target_bits(model, rows, padding)
        return _row_bits(model, rows, padding, causal=self._objective == "clm")

    @property
    def settings(self) -> tuple[str, int, tuple[Denoiser, ...], int]:
        """Objective, window, mixture, rounds."""
        return self._objective, self._max_length, self._denoisers, self._rounds


class _Reader:
    """Texts to rows for one vocabulary; notes the bytes of each text, and what its tokens cannot give back."""

    def __init__(self, measure: HeldOutBits, tokenizer: Tokenizer, facts: TokenFacts) -> None:
        self._objective, self._length, denoisers, self._rounds = measure.settings
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

    def rows(self, texts: Sequence[str]) -> Iterator[_Row]:
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

    def _causal(self, number: int, ids: IntArray) -> Iterator[_Row]:
        sequence = np.concatenate([self._head, ids])
        for start, end, first, last in strides(len(ids), self._room, both_sides=False):
            labels = sequence[start + 1 : end + 1].copy()
            labels[: first - start] = IGNORED
            labels[last - start :] = IGNORED
            if len(labels):
                yield _Row(number, sequence[start:end], labels)

    def _hidden(
        self, number: int, text: str, ids: IntArray, offsets: Sequence[tuple[int, int]], spelled: Spelled
    ) -> Iterator[_Row]:
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

    def _masked(self, number: int, ids: IntArray, hidden: NDArray[np.bool_], asks: NDArray[np.bool_]) -> _Row:
        shown = np.where(hidden, self._facts.need("mask", "masked-language modelling"), ids)
        labels = np.where(asks, ids, IGNORED)
        none = [np.full(len(part), IGNORED, dtype=np.int64) for part in (self._head, self._tail)]
        return _Row(number, np.concatenate([self._head, shown, self._tail]), np.concatenate([none[0], labels, none[1]]))

    def _corrupted(
        self, number: int, ids: IntArray, hidden: NDArray[np.bool_], asks: NDArray[np.bool_]
    ) -> Iterator[_Row]:
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
            yield _Row(number, np.concatenate([self._head, inputs]), target, flags == 1)


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


def _chunks(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
    some: list[_Row] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


@torch.no_grad()
def _row_bits(model: Any, rows: Sequence[_Row], padding: int, *, causal: bool) -> NDArray[np.float64]:
    """(B,) cost of each row in bits."""
    batch = pad([row.inputs for row in rows], padding)
    batch["labels"] = pad([row.labels for row in rows], IGNORED)["input_ids"]
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    where = batch["labels"] != IGNORED
    body = model.base_model if causal else encoder_of(model)
    hidden = body(**model_inputs(model, batch, causal=causal))[0]
    head = model.get_output_embeddings() if causal else vocabulary_head(model)
    wanted = zip(hidden[where].split(_HEAD_ROWS), batch["labels"][where].split(_HEAD_ROWS), strict=True)
    losses = [F.cross_entropy(head(states).float(), ids, reduction="none") for states, ids in wanted]
    owners = torch.arange(len(where), device=where.device)[:, None].expand_as(where)[where]
    total = torch.zeros(len(where), dtype=torch.float64, device="cpu").index_add_(
        0, owners.cpu(), torch.cat(losses).double().cpu()
    )
    return total.numpy() / math.log(2)


@torch.no_grad()
def _target_bits(model: Any, rows: Sequence[_Row], padding: int) -> NDArray[np.float64]:
    """(B,) cost in bits of the places of each target that count."""
    batch = denoising_batch([(row.inputs, row.labels) for row in rows], padding)
    labels = batch["labels"].to(model.device)
    logits = model(
        input_ids=batch["input_ids"].to(model.device),
        attention_mask=batch["attention_mask"].to(model.device),
        labels=labels,
    ).logits
    loss = F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
    counts = np.zeros(tuple(labels.shape), dtype=bool)
    for place, row in enumerate(rows):
        assert row.counts is not None
        counts[place, : len(row.counts)] = row.counts
    return np.asarray((loss.double().cpu().numpy() * counts).sum(1) / math.log(2))
