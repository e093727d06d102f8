"""How well a language model knows a set of texts: bits per UTF-8 byte, so that vocabularies compare.

Masked models: about 15 % of the words of each text (the same ones for every model and vocabulary: they depend on the
text alone) are masked whole, all pieces of each, and the loss in bits is divided by the bytes of these words. Causal
models: the loss of the whole text over its bytes. N texts, V pieces.
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
from slonik.models.language_model import Kind, LanguageModel
from slonik.models.padding import pad
from slonik.pretraining.denoising import Denoiser, SpanNoise, corrupt_text, denoising_batch
from slonik.pretraining.packed import model_inputs
from slonik.text.batching import token_budget_batches
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.text.tokenizing import content_ids, template_of
from slonik.train.objectives.masking import IGNORED
from slonik.train.objectives.vocabulary_head import encoder_of, vocabulary_head

MASK_RATE = 0.15
_BATCH_TOKENS = 4096
_WORD = re.compile(r"\w+")


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


class BitsPerByte:
    """Measures models on one set of texts.

    Args:
        texts: N texts; what lies behind `max_length` tokens is not looked at.
        max_length: tokens of a text, specials included.
    """

    def __init__(self, texts: Sequence[str], *, max_length: int = 128) -> None:
        self._texts, self._max_length = list(texts), max_length

    def measure(self, language: LanguageModel, kind: Kind) -> TextBits:
        """Bits and bytes of each text; the model is left in eval mode."""
        pieces = token_facts(language.tokenizer, language.names)
        rows = [self._masked(text, language, pieces) if kind == "mlm" else self._causal(text, language, pieces)
                for text in self._texts]  # fmt: skip
        model = language.model.eval()
        bits = np.zeros(len(rows))
        for part in token_budget_batches([len(row[0]) for row in rows], _BATCH_TOKENS):
            batch = pad([rows[index][0] for index in part], pieces.pad)
            batch["labels"] = pad([rows[index][1] for index in part], IGNORED)["input_ids"]
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            bits[part] = _bits(model, batch, causal=kind == "clm")
        return TextBits(bits, np.asarray([row[2] for row in rows], dtype=np.float64))

    def _masked(self, text: str, language: LanguageModel, pieces: TokenFacts) -> tuple[Any, Any, int]:
        """(ids, labels, bytes of the masked words)."""
        template = template_of(language.tokenizer)
        encoding = language.tokenizer.encode(text, add_special_tokens=False)
        room = self._max_length - template.size
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
        ids[labels != IGNORED] = pieces.need("mask", "measuring a masked-language model")
        head, tail = np.asarray(template.head, np.int64), np.asarray(template.tail, np.int64)
        none = [np.full(len(part), IGNORED, dtype=np.int64) for part in (head, tail)]
        return np.concatenate([head, ids, tail]), np.concatenate([none[0], labels, none[1]]), total

    def _causal(self, text: str, language: LanguageModel, pieces: TokenFacts) -> tuple[Any, Any, int]:
        """(ids, next ids, bytes); the text begins after the begin (or end) token."""
        encoding = language.tokenizer.encode(text, add_special_tokens=False)
        ids = encoding.ids[: self._max_length - 1]
        start = pieces.bos if pieces.bos is not None else pieces.need("eos", "measuring a causal language model")
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


_NOISE = SpanNoise(0.15, 3.0)
_DENOISED_BATCH = 4096


class DenoisingBits:
    """Measures encoder-decoders on texts that are corrupted once.

    Args:
        texts: N texts; what lies behind `max_length` tokens is not looked at, one of fewer than two counts nothing.
        tokenizer: raw. pieces: the facts of its ids.
        denoisers: the mixture that the model is trained with.
        max_length: tokens of an input, prefix and end token included.

    Raises:
        SlonikError: a tokenizer without end token or prefix, more spans than sentinels.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: Tokenizer,
        pieces: TokenFacts,
        denoisers: Sequence[Denoiser],
        *,
        max_length: int = 128,
    ) -> None:
        self._pieces = pieces
        end = pieces.need("eos", "denoising")
        prefixes = [each.prefix for each in denoisers if each.noise == _NOISE and each.prefix]
        front = np.asarray([pieces.need_named(prefixes[0])] if prefixes else [], dtype=np.int64)
        nothing = np.asarray([end], dtype=np.int64)
        self._examples = []
        for row in content_ids(tokenizer, texts, threads=torch.get_num_threads()):
            text = np.asarray(row[: max_length - 2], dtype=np.int64)
            if len(text) < 2:
                self._examples.append((nothing, nothing))
                continue
            rng = np.random.default_rng(derive_seed(0, "denoised", text.tolist()))
            inputs, target = corrupt_text(text, _NOISE.mask(len(text), rng), pieces.sentinels, end)
            self._examples.append((np.concatenate([front, inputs]), target))

    @torch.no_grad()
    def measure(self, model: Any) -> TextBits:
        """Bits and bytes of each text."""
        training = model.training
        model.eval()
        counts = torch.from_numpy(self._pieces.bytes)
        bits, sizes = np.zeros(len(self._examples)), np.zeros(len(self._examples))
        for part in token_budget_batches([len(inputs) for inputs, _ in self._examples], _DENOISED_BATCH):
            batch = denoising_batch([self._examples[index] for index in part], self._pieces.pad)
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
        model.train(training)
        return TextBits(bits, sizes)
