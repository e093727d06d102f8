"""An encoder-decoder is trained on with the noise that it was pretrained with: T5's spans, or a mixture with prefixes.

A published mixture with prefixes is taken where the tokenizer knows all of them: FRED-T5's tokenizers have <LM> and
<SC1> to <SC6>, UL2's [R], [S] and [X]. Every other one gets T5's single denoiser.
"""

from __future__ import annotations

from slonik.core.errors import SlonikError
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.denoising import PRESETS, Denoiser, DenoiserMixture, sentinels_needed
from slonik.text.tokenizers.token_facts import TokenFacts


def denoisers_of(config: AdaptConfig, pieces: TokenFacts) -> tuple[Denoiser, ...]:
    """The mixture that the recipe names, or that the tokenizer has the prefixes of."""
    if config.denoisers is not None:
        return PRESETS[config.denoisers]
    for name in ("fred-t5", "ul2"):
        if all(each.prefix in pieces.named for each in PRESETS[name]):
            return PRESETS[name]
    return PRESETS["t5"]


def denoising_of(config: AdaptConfig, pieces: TokenFacts) -> DenoiserMixture:
    """The objective.

    Raises:
        SlonikError: a tokenizer without end token, prefixes or sentinels that this takes.
    """
    denoisers = denoisers_of(config, pieces)
    needed, there = sentinels_needed(denoisers, config.max_length), len(pieces.sentinels)
    if not there:
        raise SlonikError(
            f"the tokenizer of {config.model} has no sentinels (<extra_id_0>, <extra_id_1>, ...), and denoising needs "
            "one for each span: an encoder-decoder that was pretrained otherwise cannot be adapted"
        )
    if needed > there:
        raise SlonikError(
            f"{needed} spans in an input of {config.max_length} tokens need as many sentinels, and the tokenizer of "
            f"{config.model} has {there}: lower max_length"
        )
    return DenoiserMixture(pieces, denoisers, input_length=config.max_length)
