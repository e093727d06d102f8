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

Choosing among checkpoints may look at some rounds only: the same words each time. How texts become what a model is
asked is in `rounds`. N texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.evaluation.statistics import Interval, Ratio, interval, replicates, value_of
from slonik.models.padding import pad
from slonik.pretraining.denoising import Denoiser, denoising_batch
from slonik.pretraining.packed import model_inputs
from slonik.pretraining.rounds import ROUNDS, Asking, Row, RowReader
from slonik.pretraining.spelling import byte_count
from slonik.text.batching import token_budget_batches
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.vocabulary_head import encoder_of, vocabulary_head

MEASURE = "whole documents"
"""In the detail of records, to tell them from those of before, which looked at the first tokens of each text alone."""
ENOUGH_BYTES = 150_000
"""So much text settles which of two checkpoints is better."""
_BATCH_TOKENS = 4096
_ROWS = 512
_HEAD_ROWS = 1024  # logits of a large vocabulary for no more places at once
_COLUMNS = ("bits", "bytes", "spelled", "tokens")


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
        self._texts, self._asking = list(texts), Asking(objective, max_length, tuple(denoisers), rounds)

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
        reader = RowReader(self._asking, tokenizer, facts)
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

    def _cost(self, model: Any, rows: Sequence[Row], padding: int) -> NDArray[np.float64]:
        if self._asking.objective == "denoising":
            return _target_bits(model, rows, padding)
        return _row_bits(model, rows, padding, causal=self._asking.objective == "clm")


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


@torch.no_grad()
def _row_bits(model: Any, rows: Sequence[Row], padding: int, *, causal: bool) -> NDArray[np.float64]:
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
def _target_bits(model: Any, rows: Sequence[Row], padding: int) -> NDArray[np.float64]:
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
