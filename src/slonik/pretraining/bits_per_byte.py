"""How well a language model knows a set of texts: bits per UTF-8 byte, so that vocabularies compare.

Masked models: about 15 % of the words of each text (the same ones for every model and vocabulary: they depend on the
text alone) are masked whole, all tokens of each, and the loss in bits is divided by the bytes of these words. Causal
models: the loss of the whole text over its bytes. Encoder-decoders: each text is corrupted once and for all (span
length 3, 15 %, T5's own; under the first prefix of the mixture that has this noise), and the loss of the ordinary
target tokens, sentinels and end token left out, is divided by their bytes; these holes are counted in tokens, so
different vocabularies compare only roughly. N texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.hashing import derive_seed
from slonik.models.padding import pad
from slonik.pretraining.denoising import Denoiser, SpanNoise, corrupt_text, denoising_batch
from slonik.pretraining.packed import model_inputs
from slonik.text.batching import token_budget_batches
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.text.tokenizing import content_ids, encode, template_of
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.vocabulary_head import encoder_of, vocabulary_head

MASK_RATE = 0.15
_BATCH_TOKENS = 4096
_WORD = re.compile(r"\w+")
_NOISE = SpanNoise(0.15, 3.0)


@dataclass(frozen=True)
class TextBits:
    """Loss and size of each text.

    Attributes:
        bits: (N,) loss in bits.
        bytes: (N,) UTF-8 bytes that it is the loss of.
    """

    bits: NDArray[np.float64]
    bytes: NDArray[np.float64]

    @property
    def per_byte(self) -> float:
        """Bits per byte over all texts."""
        return float(self.bits.sum() / max(self.bytes.sum(), 1.0))

    def at(self, where: NDArray[np.bool_]) -> TextBits:
        """Those of some texts."""
        return TextBits(self.bits[where], self.bytes[where])

    def as_lists(self) -> dict[str, list[float]]:
        """JSON values."""
        return {"bits": [round(float(value), 4) for value in self.bits], "bytes": [float(v) for v in self.bytes]}

    @classmethod
    def from_lists(cls, lists: Mapping[str, Sequence[float]]) -> TextBits:
        """What `as_lists` gave."""
        return cls(np.asarray(lists["bits"]), np.asarray(lists["bytes"]))


def masked_words(text: str, rate: float = MASK_RATE) -> list[tuple[int, int]]:
    """Character spans of the words to mask: at least one where there are words; a function of the text alone."""
    words = [(found.start(), found.end()) for found in _WORD.finditer(text)]
    if not words:
        return []
    rng = np.random.default_rng(derive_seed(0, "masked words", text))
    chosen = rng.random(len(words)) < rate
    if not chosen.any():
        chosen[rng.integers(len(words))] = True
    return [word for word, take in zip(words, chosen, strict=True) if take]


class HeldOutBits:
    """Measures models on one set of texts by the objective that they are trained for.

    Args:
        texts: N texts; what lies behind `max_length` tokens is not looked at.
        objective: mlm, clm or denoising; models trained with nsp are measured by mlm.
        max_length: tokens of a text, specials included (denoising: prefix and end token too).
        denoisers: the mixture that an encoder-decoder is trained with.
    """

    def __init__(
        self, texts: Sequence[str], objective: str, *, max_length: int = 128, denoisers: Sequence[Denoiser] = ()
    ) -> None:
        self._texts, self._objective, self._max_length = list(texts), objective, max_length
        self._denoisers = tuple(denoisers)

    def measure(self, model: Any, tokenizer: Tokenizer, facts: TokenFacts) -> TextBits:
        """Bits and bytes of each text; the model keeps its mode.

        Args:
            tokenizer: the raw one of `model`. facts: of its ids.

        Raises:
            SlonikError: a tokenizer without the special tokens that the objective needs, more spans than sentinels.
        """
        training = model.training
        model.eval()
        try:
            if self._objective == "denoising":
                return self._denoised(model, tokenizer, facts)
            return self._words(model, tokenizer, facts)
        finally:
            model.train(training)

    def _words(self, model: Any, tokenizer: Tokenizer, facts: TokenFacts) -> TextBits:
        causal = self._objective == "clm"
        row_of = _causal_row if causal else _masked_row
        rows = [row_of(text, tokenizer, facts, self._max_length) for text in self._texts]
        bits = np.zeros(len(rows))
        for part in token_budget_batches([len(row[0]) for row in rows], _BATCH_TOKENS):
            batch = pad([rows[index][0] for index in part], facts.pad)
            batch["labels"] = pad([rows[index][1] for index in part], IGNORED)["input_ids"]
            bits[part] = _bits(model, {name: tensor.to(model.device) for name, tensor in batch.items()}, causal=causal)
        return TextBits(bits, np.asarray([row[2] for row in rows], dtype=np.float64))

    @torch.no_grad()
    def _denoised(self, model: Any, tokenizer: Tokenizer, facts: TokenFacts) -> TextBits:
        examples = self._corrupted(tokenizer, facts)
        counts = torch.from_numpy(facts.bytes)
        bits, sizes = np.zeros(len(examples)), np.zeros(len(examples))
        for part in token_budget_batches([len(inputs) for inputs, _ in examples], _BATCH_TOKENS):
            batch = denoising_batch([examples[index] for index in part], facts.pad)
            labels = batch["labels"].to(model.device)
            logits = model(
                input_ids=batch["input_ids"].to(model.device),
                attention_mask=batch["attention_mask"].to(model.device),
                labels=labels,
            ).logits
            loss = F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
            counted = counts[batch["labels"].clamp(min=0)] * (batch["labels"] != IGNORED)
            bits[part] = (loss.cpu() * (counted > 0)).sum(1).numpy() / math.log(2)
            sizes[part] = counted.sum(1).numpy()
        return TextBits(bits, sizes)

    def _corrupted(self, tokenizer: Tokenizer, facts: TokenFacts) -> list[tuple[Any, Any]]:
        """(input, target) of each text; one of fewer than two tokens asks for nothing."""
        end = facts.need("eos", "denoising")
        prefixes = [each.prefix for each in self._denoisers if each.noise == _NOISE and each.prefix]
        front = np.asarray([facts.need_named(prefixes[0])] if prefixes else [], dtype=np.int64)
        nothing = np.asarray([end], dtype=np.int64)
        examples = []
        for row in content_ids(tokenizer, self._texts, threads=torch.get_num_threads()):
            text = np.asarray(row[: self._max_length - 2], dtype=np.int64)
            if len(text) < 2:
                examples.append((nothing, nothing))
                continue
            rng = np.random.default_rng(derive_seed(0, "denoised", text.tolist()))
            inputs, target = corrupt_text(text, _NOISE.mask(len(text), rng), facts.sentinels, end)
            examples.append((np.concatenate([front, inputs]), target))
        return examples


def _masked_row(text: str, tokenizer: Tokenizer, facts: TokenFacts, max_length: int) -> tuple[Any, Any, int]:
    """(ids, labels, bytes of the masked words)."""
    template = template_of(tokenizer)
    encoding = encode(tokenizer, text)
    room = max_length - template.size
    ids, offsets = np.asarray(encoding.ids[:room], dtype=np.int64), encoding.offsets[:room]
    cut = len(encoding.ids) > room
    end = offsets[-1][1] if offsets else 0
    labels = np.full(len(ids), IGNORED, dtype=np.int64)
    total = 0
    for start, stop in masked_words(text):
        if stop > end or (cut and stop == end):  # the word may go on behind the cut
            continue
        inside = [i for i, (first, last) in enumerate(offsets) if first < stop and last > start]
        labels[inside] = ids[inside]
        total += len(text[start:stop].encode())
    ids[labels != IGNORED] = facts.need("mask", "measuring a masked-language model")
    head, tail = np.asarray(template.head, np.int64), np.asarray(template.tail, np.int64)
    none = [np.full(len(part), IGNORED, dtype=np.int64) for part in (head, tail)]
    return np.concatenate([head, ids, tail]), np.concatenate([none[0], labels, none[1]]), total


def _causal_row(text: str, tokenizer: Tokenizer, facts: TokenFacts, max_length: int) -> tuple[Any, Any, int]:
    """(ids, next ids, bytes); the text begins after the begin (or end) token."""
    encoding = encode(tokenizer, text)
    ids = encoding.ids[: max_length - 1]
    start = facts.bos if facts.bos is not None else facts.need("eos", "measuring a causal language model")
    end = encoding.offsets[len(ids) - 1][1] if ids else 0
    row = np.asarray([start, *ids], dtype=np.int64)
    return row, np.append(row[1:], IGNORED), len(text[:end].encode())


@torch.no_grad()
def _bits(model: Any, batch: dict[str, torch.Tensor], *, causal: bool) -> NDArray[np.float64]:
    """(B,) loss of each row in bits."""
    where = batch["labels"] != IGNORED
    body = model.base_model if causal else encoder_of(model)
    hidden = body(**model_inputs(model, batch, causal=causal))[0]
    head = model.get_output_embeddings() if causal else vocabulary_head(model)
    loss = F.cross_entropy(head(hidden[where]).float(), batch["labels"][where], reduction="none")
    rows = torch.arange(len(where), device=where.device)[:, None].expand_as(where)[where]
    total = torch.zeros(len(where), device=where.device).index_add_(0, rows, loss)
    return total.double().cpu().numpy() / math.log(2)
