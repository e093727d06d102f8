"""How well an encoder-decoder knows a set of texts: bits per UTF-8 byte of what a fixed corruption took away.

Each text is corrupted once and for all (span length 3, 15 %, T5's own; under the first prefix of the mixture that has
this noise), and the loss of the ordinary target tokens, sentinels and end token left out, is divided by their UTF-8
bytes. The holes are counted in tokens, so different vocabularies compare only roughly. N texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from slonik.core.hashing import derive_seed
from slonik.pretraining.bits_per_byte import TextBits
from slonik.pretraining.denoisers import Denoiser
from slonik.pretraining.span_corruption import SpanNoise, corrupt_text, denoising_batch
from slonik.text.batching import token_budget_batches
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.text.tokenizing import content_ids
from slonik.train.objectives.masking import IGNORED

_NOISE = SpanNoise(0.15, 3.0)
_BATCH_TOKENS = 4096


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
