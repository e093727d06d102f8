"""The data of an adaptation: the vocabulary, training tokens of domain and general corpora, held-out texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.hashing import derive_seed
from slonik.data.documents import CorpusDocument, read_documents
from slonik.data.filters import normalise_text
from slonik.data.sampling import is_held_out
from slonik.models.language_model import LanguageModel
from slonik.models.loading import checkpoint_tokenizer
from slonik.models.vocabulary import change_vocabulary
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.objective import denoising_of
from slonik.pretraining.corpus import CorpusSettings, corpus_key, prepare_corpus
from slonik.pretraining.sequences import Specials, TokenSequences
from slonik.pretraining.shards import TokenCorpus
from slonik.text.tokenizers.extension import ChangedVocabulary, add_words, frequent_words, replace_tokenizer
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.text.tokenizing import special_names, template_of

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


def adapt_texts(config: AdaptConfig, tokenizer: Tokenizer, folder: Path) -> AdaptTexts:
    """Tokenise both corpora (or open what was tokenised before) and draw the held-out texts.

    Raises:
        SlonikError: what `prepare_corpus` raises, too few held-out documents, or none of a source to report apart.
    """
    domain = prepare_corpus(config.corpus, tokenizer, _place(folder, "domain", config.corpus, tokenizer))
    held = _drawn(domain.held_out, config.measured_documents)
    if len(held) < 4:
        raise SlonikError(
            f"the corpus leaves {len(held)} held-out documents, at least 4 are needed to measure on: give more "
            "documents, or raise corpus.held_out_share"
        )
    choosing, measured = [document.text for document in held[::2]], held[1::2]
    sources = {document.source for document in measured}
    for name in config.apart:
        if name not in sources:
            raise SlonikError(unknown_name(name, sources, "source of held-out documents (--apart)"))
    if config.general is None:
        return AdaptTexts(domain.train, domain.train, choosing, measured, [], domain.train.key)
    limited = config.general
    if limited.max_documents is None:
        limited = limited.model_copy(update={"max_documents": config.general_documents})
    general = prepare_corpus(limited, tokenizer, _place(folder, "general", limited, tokenizer))
    return AdaptTexts(
        domain.train, general.train, choosing, measured, _drawn(general.held_out, len(measured)),
        domain.train.key + general.train.key,
    )  # fmt: skip


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
        end = facts.need("eos", "a causal language model")
        specials = Specials((facts.bos if facts.bos is not None else end,), (end,))
    return TokenSequences(corpus, "documents", config.max_length, specials, seed=config.seed)


def _place(folder: Path, name: str, settings: CorpusSettings, tokenizer: Tokenizer) -> Path:
    return folder / f"{name}-{corpus_key(settings, tokenizer)[:12]}"


def _drawn(documents: Sequence[CorpusDocument], size: int) -> list[CorpusDocument]:
    """At most `size` of them in an order that depends on their content alone."""
    ordered = sorted(documents, key=lambda document: derive_seed(0, "measured", document.text))
    return ordered[:size]


def changed_vocabulary(config: AdaptConfig, language: LanguageModel) -> LanguageModel:
    """`language` with the vocabulary that `config.vocabulary` asks for; itself where it asks for none.

    Raises:
        SlonikError: no word of the domain is worth a token, or the new tokenizer lacks what the objective needs.
    """
    wanted = config.vocabulary
    names = language.names
    if wanted.new_words:
        changed = _with_words(config, language)
    elif wanted.tokenizer is not None:
        folder = Path(wanted.tokenizer)
        names = special_names(folder)
        new = checkpoint_tokenizer(folder)
        token_facts(new, names).need("mask", "masked-language modelling")
        roles = {f"{role}_token": (language.names.get(f"{role}_token"), names.get(f"{role}_token")) for role in _ROLES}
        changed = replace_tokenizer(language.tokenizer, new, roles)
    else:
        return language
    facts = token_facts(changed.tokenizer, names)
    special = {f"{role}_token_id": getattr(facts, role) for role in ("pad", "bos", "eos", "cls", "sep")}
    present = {name: value for name, value in special.items() if getattr(language.model.config, name, None) is not None}
    change_vocabulary(language.model, changed.sources, present)
    language.tokenizer, language.names = changed.tokenizer, names
    return language


def _with_words(config: AdaptConfig, language: LanguageModel) -> ChangedVocabulary:
    documents = read_documents(config.corpus.files, column=config.corpus.column, border=config.corpus.border)
    share = config.corpus.held_out_share
    texts = (text for document in documents if not is_held_out(text := normalise_text(document.text), share))
    count, least = config.vocabulary.new_words, config.vocabulary.min_frequency
    words = frequent_words(language.tokenizer, texts, count, min_frequency=least)
    if not words:
        raise SlonikError(
            f"no word that occurs {least} times or more is cut into several tokens: lower vocabulary.min_frequency or "
            "leave the vocabulary as it is"
        )
    return add_words(language.tokenizer, words)
