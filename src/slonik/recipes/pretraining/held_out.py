"""Bits per byte of a model in pretraining, on held-out texts with fixed masks, and samples of what decoders write.

Masked and causal models: `bits_per_byte.BitsPerByte`. Encoder-decoders: each text is corrupted once and for all
(span length 3, 15 %, T5's own; under the first prefix of the mixture that has this noise), and the loss of the
ordinary target tokens, sentinels and end token left out, is divided by their UTF-8 bytes. N texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slonik.core.batching import token_budget_batches
from slonik.core.passport import Passport
from slonik.core.seeds import derive_seed
from slonik.core.sentence_config import SentenceConfig
from slonik.models.language_model import LanguageModel
from slonik.models.tokenizing import content_ids
from slonik.objectives.masking import IGNORED
from slonik.objectives.pieces import Pieces
from slonik.objectives.span_corruption import SpanNoise, corrupt_text, denoising_batch
from slonik.recipes.bits_per_byte import BitsPerByte, TextBits
from slonik.recipes.pretraining.config import PretrainConfig
from slonik.recipes.pretraining.data import Vocabulary, denoisers_of

_NOISE = SpanNoise(0.15, 3.0)
_BATCH_TOKENS = 4096


class HeldOut:
    """The evaluation function of a pretraining run.

    Args:
        config: of the run. vocabulary: its tokenizer. texts: N held-out texts.
    """

    def __init__(self, config: PretrainConfig, vocabulary: Vocabulary, texts: Sequence[str]) -> None:
        self._config, self._vocabulary = config, vocabulary
        self._denoising: DenoisingBits | None = None
        if config.objective == "denoising":
            prefixes = [each.prefix for each in denoisers_of(config) if each.noise == _NOISE and each.prefix]
            prefix = vocabulary.pieces.need_named(prefixes[0]) if prefixes else None
            ids = [np.asarray(row[: config.length - 2]) for row in content_ids(vocabulary.tokenizer, texts)]
            self._denoising = DenoisingBits(ids, vocabulary.pieces, prefix)
        else:
            self._bits = BitsPerByte(texts, max_length=config.length)

    def measure(self, model: nn.Module) -> TextBits:
        """Bits and bytes of each text."""
        if self._denoising is not None:
            return self._denoising.measure(model)
        kind = "clm" if self._config.objective == "clm" else "mlm"
        vocabulary, length = self._vocabulary, SentenceConfig(max_length=self._config.length)
        whole = LanguageModel(
            model, vocabulary.tokenizer, vocabulary.names, length, Passport(name="run"), "run", True  # type: ignore[arg-type]
        )  # fmt: skip
        return self._bits.measure(whole, kind)  # type: ignore[arg-type]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """{"bits_per_byte": ...}."""
        return {"bits_per_byte": self.measure(model).per_byte}


class DenoisingBits:
    """Measures encoder-decoders on texts that are corrupted once.

    Args:
        ids: N texts without specials; those of fewer than two tokens are left out.
        pieces: the vocabulary. prefix: id in front of every input.
    """

    def __init__(self, ids: Sequence[np.ndarray], pieces: Pieces, prefix: int | None) -> None:
        self._pieces = pieces
        end = pieces.need("eos", "denoising")
        self._examples = []
        for text in ids:
            if len(text) < 2:
                continue
            rng = np.random.default_rng(derive_seed(0, "denoised", text.tolist()))
            inputs, target = corrupt_text(text, _NOISE.mask(len(text), rng), pieces.sentinels, end)
            front = [] if prefix is None else [prefix]
            self._examples.append((np.concatenate([np.asarray(front, np.int64), inputs]), target))

    @torch.no_grad()
    def measure(self, model: Any) -> TextBits:
        """Bits and bytes of each text."""
        training = model.training
        model.eval()
        counts = torch.from_numpy(self._pieces.bytes)
        bits, sizes = np.zeros(len(self._examples)), np.zeros(len(self._examples))
        for part in token_budget_batches([len(inputs) for inputs, _ in self._examples], _BATCH_TOKENS):
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
