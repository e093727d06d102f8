"""What a body is trained for: masked words, with a teacher where there is one; the next word; or corrupted spans.

An encoder-decoder is trained on with the noise that it was pretrained with: T5's spans, or a published mixture where
the tokenizer knows all of its prefixes.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from slonik.core.errors import SlonikError
from slonik.models.language_model import LanguageModel, load_language_model
from slonik.models.lora import LowRank, LowRankSize, check_rank, linear_layers, need_peft
from slonik.models.vocabulary import matching_ids
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.distilbert import DistilBert, student_of
from slonik.pretraining.denoising import PRESETS, Denoiser, DenoiserMixture, sentinels_needed
from slonik.pretraining.objectives import CausalLanguageModel, MaskedLanguageModel
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.protocols import TextObjective


def objective_of(
    config: AdaptConfig, facts: TokenFacts, pack_to: int | None, student: LanguageModel, teacher: LanguageModel | None
) -> TextObjective:
    """What `student` is trained for.

    Args:
        facts: of its vocabulary. pack_to: tokens of a packed row; None pads. teacher: of masked words.

    Raises:
        SlonikError: a tokenizer without the special tokens that it needs.
    """
    if config.objective == "clm":
        return CausalLanguageModel(facts, pack_to=pack_to)
    if config.objective == "denoising":
        return denoising_of(config, facts)
    words = MaskedLanguageModel(facts, config.masking, pack_to=pack_to)
    return words if teacher is None else distilled(words, student, teacher, config)


def denoisers_of(config: AdaptConfig, facts: TokenFacts) -> tuple[Denoiser, ...]:
    """The mixture that the recipe names, or that the tokenizer has the prefixes of.

    FRED-T5's tokenizers have <LM> and <SC1> to <SC6>, UL2's [R], [S] and [X]; every other one gets T5's single
    denoiser.
    """
    if config.denoisers is not None:
        return PRESETS[config.denoisers]
    for name in ("fred-t5", "ul2"):
        if all(each.prefix in facts.named for each in PRESETS[name]):
            return PRESETS[name]
    return PRESETS["t5"]


def denoising_of(config: AdaptConfig, facts: TokenFacts) -> DenoiserMixture:
    """The objective.

    Raises:
        SlonikError: a tokenizer without end token, prefixes or sentinels that this takes.
    """
    denoisers = denoisers_of(config, facts)
    needed, there = sentinels_needed(denoisers, config.max_length), len(facts.sentinels)
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
    return DenoiserMixture(facts, denoisers, input_length=config.max_length)


def teacher_of(config: AdaptConfig, student: LanguageModel) -> LanguageModel | None:
    """The recipe's teacher with its head.

    Raises:
        SlonikError: no such model, one without a language-model head, of another width, or that lacks tokens of the
            student's.
    """
    if config.teacher is None:
        return None
    teacher = load_language_model(config.teacher, "mlm", seed=config.seed)
    matching_ids(student.encoder(), teacher.encoder())
    if not teacher.has_head:
        raise SlonikError(
            f"the teacher {config.teacher} has no language-model head, so it guesses no words: give it one with "
            f"slonik adapt {config.teacher} --corpus FILE --out FOLDER"
        )
    return teacher


def shortened(config: AdaptConfig, language: LanguageModel) -> LanguageModel:
    """The model with the layers that the recipe keeps; itself where all stay."""
    if config.every is None:
        return language
    student = copy.copy(language)
    student.model = student_of(language.model, every=config.every)
    return student


def check_low_rank(config: AdaptConfig, language: LanguageModel) -> None:
    """Refuse before any work what `low_rank_of` would refuse, and matrices to keep that would not be enough.

    Raises:
        SlonikError: no linear layer of such a name, one that is narrower than the rank; a head that is made for the
            model and stands in no adapter.
        MissingExtra: peft is not installed.
    """
    if config.lora is None:
        return
    need_peft()
    layers = linear_layers(language.model, config.lora.layers, name=config.model)
    check_rank(language.model, config.lora.rank, layers, name=config.model)
    if config.lora.keep and not language.has_head:
        raise SlonikError(
            f"{config.model} has no language-model head, and one that is made for it stands in no adapter: lora.keep "
            "needs a model with its head"
        )


def low_rank_of(config: AdaptConfig, language: LanguageModel) -> LowRank | None:
    """The matrices that are trained beside the body's weights, put into the model; None where the weights are."""
    if config.lora is None:
        return None
    wanted = config.lora
    layers = linear_layers(language.model, wanted.layers, name=config.model)
    size = LowRankSize(wanted.rank, wanted.alpha, wanted.dropout)
    return LowRank(language.model, size, layers, name=language.name, seed=config.seed)


def distilled(
    words: MaskedLanguageModel, student: LanguageModel, teacher: LanguageModel, config: AdaptConfig
) -> DistilBert:
    """The objective of a student with this teacher, which `teacher_of` has looked at."""
    ids = matching_ids(student.encoder(), teacher.encoder())
    same = len(ids) == teacher.tokenizer.get_vocab_size() and bool((ids == np.arange(len(ids))).all())
    return DistilBert(words, teacher.model, config.distilbert, teacher_ids=None if same else torch.from_numpy(ids))
