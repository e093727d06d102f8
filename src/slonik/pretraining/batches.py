"""What the model of a recipe is trained for, and the batches of the tokenised corpus that it is trained on."""

from __future__ import annotations

from transformers import PreTrainedModel

from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.denoising import DenoiserMixture
from slonik.pretraining.objectives import CausalLanguageModel, MaskedLanguageModel, NextSentencePrediction
from slonik.pretraining.packed import can_pack
from slonik.pretraining.sequence_loader import sequence_loader
from slonik.pretraining.sequences import Specials, TokenSequences
from slonik.pretraining.shards import TokenCorpus
from slonik.pretraining.tokenizer import Vocabulary
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.text.tokenizing import template_of
from slonik.train.loaders import BatchLoader
from slonik.train.protocols import TextObjective


def pack_length(config: PretrainConfig, model: PreTrainedModel) -> int | None:
    """Tokens of a packed row; None where rows are padded."""
    packs = config.pack and config.objective in ("mlm", "clm") and can_pack(model)
    return config.length if packs else None


def objective_of(config: PretrainConfig, facts: TokenFacts, pack_to: int | None) -> TextObjective:
    """What the model is trained for.

    Raises:
        SlonikError: a tokenizer without the special tokens that it needs, more spans than sentinels.
    """
    if config.objective == "mlm":
        return MaskedLanguageModel(facts, config.masking, pack_to=pack_to)
    if config.objective == "nsp":
        return NextSentencePrediction(facts, config.masking)
    if config.objective == "clm":
        facts.need("eos", "a causal language model")
        return CausalLanguageModel(facts, pack_to=pack_to)
    return DenoiserMixture(facts, config.mixture, input_length=config.length)


def sequences_of(
    config: PretrainConfig, corpus: TokenCorpus, vocabulary: Vocabulary, objective: TextObjective
) -> TokenSequences:
    """The corpus as sequences of the recipe's format, with the special tokens of the family around them.

    Raises:
        SlonikError: the corpus is too short for a single one.
    """
    length: int = getattr(objective, "text_length", config.length)
    specials = _specials_around(config, vocabulary)
    return TokenSequences(corpus, config.format, length, specials, seed=config.seed)


def _specials_around(config: PretrainConfig, vocabulary: Vocabulary) -> Specials:
    facts, joined = vocabulary.facts, config.format in ("full_sentences", "blocks")
    if config.objective == "denoising":
        return Specials()
    if config.objective == "clm":
        end = facts.need("eos", "a causal language model")
        start = facts.bos if facts.bos is not None else end
        return Specials(separator=(end,)) if joined else Specials((start,), (end,))
    template, separator = template_of(vocabulary.tokenizer), (facts.need("sep", "separating texts"),)
    # RoBERTa's pairs have two separators between them, BERT's one.
    between = separator * 2 if config.model.family == "roberta" else separator
    return Specials(template.head, template.tail, between, separator)


def loader_of(
    config: PretrainConfig, sequences: TokenSequences, objective: TextObjective, pack_to: int | None
) -> BatchLoader:
    """Batches for the loop.

    Raises:
        SlonikError: a batch has no room for one sequence.
    """
    return sequence_loader(
        sequences, objective, batch_tokens=config.batch_tokens, pack_to=pack_to, seed=config.seed
    )  # fmt: skip
