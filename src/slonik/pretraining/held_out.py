"""Bits per byte of a model in pretraining, on held-out texts with fixed masks.

Masked and causal models: `bits_per_byte.BitsPerByte`. Encoder-decoders: `denoising_bits.DenoisingBits`. N texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from slonik.core.passport import Passport
from slonik.models.language_model import LanguageModel
from slonik.pretraining.batches import Vocabulary, denoisers_of
from slonik.pretraining.bits_per_byte import BitsPerByte, DenoisingBits, TextBits
from slonik.pretraining.config import PretrainConfig
from slonik.text.sentence_config import SentenceConfig


class HeldOut:
    """The evaluation function of a pretraining run.

    Args:
        config: of the run. vocabulary: its tokenizer. texts: N held-out texts.
    """

    def __init__(self, config: PretrainConfig, vocabulary: Vocabulary, texts: Sequence[str]) -> None:
        self._config, self._vocabulary = config, vocabulary
        self._denoising: DenoisingBits | None = None
        if config.objective == "denoising":
            self._denoising = DenoisingBits(
                texts, vocabulary.tokenizer, vocabulary.pieces, denoisers_of(config), max_length=config.length
            )
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
