"""Bits per byte on one set of held-out texts, by the objective of the adaptation."""

from __future__ import annotations

from collections.abc import Sequence

from slonik.models.language_model import LanguageModel
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.denoising import denoisers_of
from slonik.pretraining.bits_per_byte import BitsPerByte, DenoisingBits, TextBits
from slonik.text.tokenizers.token_facts import token_facts


class HeldOutBits:
    """Measures models on N texts.

    Args:
        config: of the adaptation, its objective known. texts: the N texts.
    """

    def __init__(self, config: AdaptConfig, texts: Sequence[str]) -> None:
        self._config, self._texts = config, list(texts)

    def measure(self, language: LanguageModel) -> TextBits:
        """Bits and bytes of each text."""
        config = self._config
        assert config.objective is not None
        if config.objective != "denoising":
            return BitsPerByte(self._texts, max_length=config.max_length).measure(language, config.objective)
        pieces = token_facts(language.tokenizer, language.names)
        denoisers, length = denoisers_of(config, pieces), config.max_length
        measure = DenoisingBits(self._texts, language.tokenizer, pieces, denoisers, max_length=length)
        return measure.measure(language.model)
