"""Another vocabulary for the model that is adapted: new whole words of the domain, or a new tokenizer."""

from __future__ import annotations

from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.data.cleaning import normalise_text
from slonik.data.documents import read_documents
from slonik.data.sampling import is_held_out
from slonik.models.language_model import LanguageModel
from slonik.models.vocabulary_change import change_vocabulary
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.text.tokenizers.extension import ChangedVocabulary, add_words, frequent_words, replace_tokenizer
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizing import load_tokenizer, special_names

_ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")


def changed_vocabulary(config: AdaptConfig, language: LanguageModel) -> LanguageModel:
    """`language` with the vocabulary that `config.vocabulary` asks for; itself where it asks for none.

    Raises:
        SlonikError: no word of the domain is worth a piece, or the new tokenizer lacks what the objective needs.
    """
    wanted = config.vocabulary
    names = language.names
    if wanted.new_words:
        changed = _with_words(config, language)
    elif wanted.tokenizer is not None:
        folder = Path(wanted.tokenizer)
        names = special_names(folder)
        new = load_tokenizer(folder)
        token_facts(new, names).need("mask", "masked-language modelling")
        roles = {f"{role}_token": (language.names.get(f"{role}_token"), names.get(f"{role}_token")) for role in _ROLES}
        changed = replace_tokenizer(language.tokenizer, new, roles)
    else:
        return language
    pieces = token_facts(changed.tokenizer, names)
    special = {f"{role}_token_id": getattr(pieces, role) for role in ("pad", "bos", "eos", "cls", "sep")}
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
            f"no word that occurs {least} times or more is cut into several pieces: lower vocabulary.min_frequency or "
            "leave the vocabulary as it is"
        )
    return add_words(language.tokenizer, words)
