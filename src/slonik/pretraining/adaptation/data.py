"""The data of an adaptation: the vocabulary, training tokens of domain and general corpora, held-out texts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.data.documents import CorpusDocument
from slonik.data.filters import normalise_text
from slonik.data.sampling import is_held_out
from slonik.models.language_model import LanguageModel
from slonik.models.loading import checkpoint_tokenizer
from slonik.models.vocabulary import change_vocabulary
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.objective import denoising_of
from slonik.pretraining.bits_per_byte import whole_documents
from slonik.pretraining.corpus import (
    CorpusSettings,
    PreparedCorpus,
    check_sources,
    corpus_key,
    documents_of,
    open_prepared,
    prepare_corpus,
    shards_given,
    too_few_held_out,
)
from slonik.pretraining.sequences import Specials, TokenSequences, causal_specials
from slonik.pretraining.shards import TokenCorpus
from slonik.text.tokenizers.extension import ChangedVocabulary, add_words, frequent_words, replace_tokenizer
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.text.tokenizing import special_names, template_of
from slonik.train.processes import Processes

LEAST_HELD_OUT = 4
"""Of the domain: half of them choose the checkpoint, the others are measured."""
LEAST_OF_GENERAL = 1
_ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")


@dataclass(frozen=True)
class AdaptTexts:
    """What is trained on and measured on.

    Attributes:
        domain, general: training tokens; `general` is the domain's where no other corpus was given.
        choosing: held-out domain texts that choose the checkpoint.
        domain_held, general_held: held-out documents that are only measured.
        key: hash of both corpora.
    """

    domain: TokenCorpus
    general: TokenCorpus
    choosing: list[str]
    domain_held: list[CorpusDocument]
    general_held: list[CorpusDocument]
    key: str


def adapt_texts(
    config: AdaptConfig, tokenizer: Tokenizer, folder: Path, processes: Processes | None = None
) -> AdaptTexts:
    """Tokenise both corpora (or open what was tokenised before) and draw the held-out texts.

    Args:
        processes: of which the first tokenises, and the others open what it made.

    Raises:
        SlonikError: what `prepare_corpus` raises, too few held-out documents, or none of a source to report apart.
    """
    domain = _prepared(config.corpus, tokenizer, folder, "domain", processes)
    held = [document for document in _drawn(domain.held_out, config.measured_documents) if document.text]
    if len(held) < LEAST_HELD_OUT:
        raise SlonikError(too_few_held_out(len(held), LEAST_HELD_OUT))
    choosing = whole_documents([document.text for document in held[::2]], len(held), config.measured_kilobytes)
    measured = _up_to(held[1::2], config.measured_kilobytes)
    check_sources(config.apart, {document.source for document in measured})
    if config.general is None:
        return AdaptTexts(domain.train, domain.train, choosing, measured, [], domain.train.key)
    general = _prepared(general_settings(config), tokenizer, folder, "general", processes)
    if not general.held_out:
        raise SlonikError(too_few_held_out(0, LEAST_OF_GENERAL, "general"))
    return AdaptTexts(
        domain.train, general.train, choosing, measured,
        _up_to(_drawn(general.held_out, len(held[1::2])), config.measured_kilobytes),
        domain.train.key + general.train.key,
    )  # fmt: skip


def general_settings(config: AdaptConfig) -> CorpusSettings:
    """Those of the general corpus, of which a sample is drawn where it is not tokenised already."""
    limited = config.general
    assert limited is not None
    if limited.max_documents is None and shards_given(limited) is None:
        limited = limited.model_copy(update={"max_documents": config.general_documents})
    return limited


def head_texts(
    config: AdaptConfig, tokenizer: Tokenizer, folder: Path, processes: Processes | None = None
) -> TokenCorpus:
    """What a missing head is trained on, in the vocabulary of the original: general texts, or the domain's.

    Raises:
        SlonikError: what `prepare_corpus` raises.
    """
    if config.general is None:
        return _prepared(config.corpus, tokenizer, folder, "domain", processes).train
    return _prepared(general_settings(config), tokenizer, folder, "general", processes).train


def _prepared(
    settings: CorpusSettings, tokenizer: Tokenizer, folder: Path, name: str, processes: Processes | None
) -> PreparedCorpus:
    """The corpus as tokens: made by the first process, opened by the others."""
    if processes is None:
        return prepare_corpus(settings, tokenizer, folder / f"{name}-{corpus_key(settings, tokenizer)[:12]}")
    key = processes.from_first(lambda: corpus_key(settings, tokenizer))
    place = shards_given(settings) or folder / f"{name}-{key[:12]}"
    made: list[PreparedCorpus] = []
    processes.from_first(lambda: made.append(prepare_corpus(settings, tokenizer, place)))
    return made[0] if made else open_prepared(place)


def training_sequences(
    config: AdaptConfig, corpus: TokenCorpus, tokenizer: Tokenizer, facts: TokenFacts
) -> TokenSequences:
    """The corpus cut at document borders into sequences of at most `config.max_length` tokens.

    For denoising: without specials, of at most as many tokens as a full input of `max_length` is made of.
    """
    if config.objective == "denoising":
        length = denoising_of(config, facts).text_length
        return TokenSequences(corpus, "documents", length, Specials(), seed=config.seed)
    if config.objective == "mlm":
        template = template_of(tokenizer)
        specials = Specials(template.head, template.tail)
    else:
        specials = causal_specials(facts, "documents")
    return TokenSequences(corpus, "documents", config.max_length, specials, seed=config.seed)


def _drawn(documents: Sequence[CorpusDocument], size: int) -> list[CorpusDocument]:
    """At most `size` of them in an order that depends on their content alone."""
    ordered = sorted(documents, key=lambda document: derive_seed(0, "measured", document.text))
    return ordered[:size]


def _up_to(documents: Sequence[CorpusDocument], kilobytes: float) -> list[CorpusDocument]:
    """The first of them, none after so many kilobytes."""
    return list(documents[: len(whole_documents([each.text for each in documents], len(documents), kilobytes))])


@dataclass(frozen=True)
class NewVocabulary:
    """A vocabulary that takes the place of a model's own.

    Attributes:
        changed: its tokenizer, and which old tokens each new one starts as the mean of.
        names: its special tokens by role.
    """

    changed: ChangedVocabulary
    names: dict[str, str]

    def given_to(self, language: LanguageModel) -> LanguageModel:
        """A copy of `language` with this vocabulary; the body is the same.

        Raises:
            SlonikError: a RoBERTa-like model whose padding id would move.
        """
        made = copy.copy(language)
        made.model = copy.deepcopy(language.model)
        facts = token_facts(self.changed.tokenizer, self.names)
        special = {f"{role}_token_id": getattr(facts, role) for role in ("pad", "bos", "eos", "cls", "sep")}
        there = {name: value for name, value in special.items() if getattr(made.model.config, name, None) is not None}
        change_vocabulary(made.model, self.changed.sources, there)
        made.tokenizer, made.names = self.changed.tokenizer, self.names
        return made


def new_vocabulary(
    config: AdaptConfig, language: LanguageModel, processes: Processes | None = None
) -> NewVocabulary | None:
    """What `config.vocabulary` asks for; None where it asks for nothing.

    Raises:
        SlonikError: no word of the domain is worth a token, or the new tokenizer lacks what the objective needs.
    """
    wanted = config.vocabulary
    if wanted.new_words:
        words = (
            _new_words(config, language)
            if processes is None
            else processes.from_first(lambda: _new_words(config, language))
        )
        return NewVocabulary(add_words(language.tokenizer, words), language.names)
    if wanted.tokenizer is None:
        return None
    folder = Path(wanted.tokenizer)
    names = special_names(folder)
    new = checkpoint_tokenizer(folder)
    token_facts(new, names).need("mask", "masked-language modelling")
    roles = {f"{role}_token": (language.names.get(f"{role}_token"), names.get(f"{role}_token")) for role in _ROLES}
    return NewVocabulary(replace_tokenizer(language.tokenizer, new, roles), names)


def _new_words(config: AdaptConfig, language: LanguageModel) -> list[str]:
    if (shards := shards_given(config.corpus)) is not None:
        raise SlonikError(f"{shards} is tokenised already, so its words cannot be counted: give the texts themselves")
    share, keep = config.corpus.held_out_share, config.corpus.cleaning.keep_whitespace
    cleaned = (normalise_text(document.text, keep_whitespace=keep) for document in documents_of(config.corpus))
    texts = (text for text in cleaned if not is_held_out(text, share))
    count, least = config.vocabulary.new_words, config.vocabulary.min_frequency
    words = frequent_words(language.tokenizer, texts, count, min_frequency=least)
    if not words:
        raise SlonikError(
            f"no word that occurs {least} times or more is cut into several tokens: lower vocabulary.min_frequency or "
            "leave the vocabulary as it is"
        )
    return list(words)
