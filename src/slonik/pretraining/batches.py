"""The data side of pretraining: the tokenizer, what is asked of the model, and batches of the tokenised corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.data.cleaning import normalise_text
from slonik.data.documents import read_documents
from slonik.data.hub import PREFIX
from slonik.data.language import guard_language
from slonik.data.readers import check_files, corpus_files
from slonik.data.sampling import is_held_out
from slonik.data.sequence_formats import Specials, TokenSequences
from slonik.data.token_corpus import TokenCorpus
from slonik.models.fresh import TokenIds
from slonik.models.kinds import resolve
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.corpus import CorpusSettings
from slonik.pretraining.denoising import PRESETS, Denoiser, DenoiserMixture, SpanNoise, sentinels_needed
from slonik.pretraining.objectives import CausalLanguageModel, MaskedLanguageModel, NextSentencePrediction
from slonik.pretraining.packed import can_pack
from slonik.pretraining.sequence_loader import sequence_loader
from slonik.text.tokenizers.families import DEFAULT_SENTINELS
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.text.tokenizers.training import Log
from slonik.text.tokenizers.training import TrainConfig as TokenizerTraining
from slonik.text.tokenizers.training import train as train_tokenizer
from slonik.text.tokenizing import load_tokenizer, special_names, template_of, write_tokenizer
from slonik.train.loaders import BatchLoader
from slonik.train.protocols import TextObjective


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and what others must know of it.

    Attributes:
        tokenizer: the raw one. names: special tokens by role. pieces: facts of its ids.
    """

    tokenizer: Tokenizer
    names: dict[str, str]
    pieces: TokenFacts

    @classmethod
    def open(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a folder.

        Raises:
            SlonikError: no tokenizer there.
        """
        tokenizer, names = load_tokenizer(folder), special_names(folder)
        return cls(tokenizer, names, token_facts(tokenizer, names))

    @property
    def ids(self) -> TokenIds:
        """What a model's config says of it."""
        known = self.pieces
        return TokenIds(known.size, known.pad, known.bos, known.eos, known.cls, known.sep, known.mask)


def check_corpus(settings: CorpusSettings) -> dict[str, str]:
    """Look at the corpus before any work is done.

    Returns:
        File name -> SHA-256.

    Raises:
        SlonikError: no files, an empty or unreadable one, or another language.
    """
    if not settings.files:
        raise SlonikError("no corpus given: name its files by --corpus FILE, or as corpus.files in the recipe")
    documents = read_documents(settings.files, column=settings.column, border=settings.border)
    if settings.language != "any":
        next(iter(guard_language(documents, settings.language)))
    local = [name for name in settings.files if not name.startswith(PREFIX)]
    if local:
        check_files(local)
    hashes = {str(path): sha256_file(path) for path in (corpus_files(local) if local else [])}
    return hashes | {name: name for name in settings.files if name.startswith(PREFIX)}


def given_tokenizer(config: PretrainConfig) -> Path | None:
    """The folder of the tokenizer that the recipe names; None = one is to be trained."""
    return resolve(config.tokenizer.given) if config.tokenizer.given else None


def make_tokenizer(config: PretrainConfig, folder: Path, log: Log = lambda line: None) -> Mapping[str, Any]:
    """Train the recipe's tokenizer on its corpus, held-out documents left out, and write it into `folder`.

    Args:
        log: is told what `tokenizers.training.train` decided.

    Raises:
        SlonikError: what `tokenizers.training.train` raises.
    """
    wanted = config.tokenizer
    training = TokenizerTraining(
        kind=wanted.kind, vocab_size=wanted.vocab_size, min_frequency=wanted.min_frequency,
        lowercase=wanted.lowercase, family=config.model.family, sentinels=wanted_sentinels(config),
        extra_specials=_special_tokens(config),
    )  # fmt: skip
    trained = train_tokenizer(training, _training_texts(config.corpus), log=log)
    specials = trained.specials
    write_tokenizer(
        trained.tokenizer, folder, names=specials.roles, types=specials.type_ids, max_length=config.model.max_length
    )
    return {"pieces": trained.tokenizer.get_vocab_size(), "min_frequency": trained.min_frequency}


def wanted_sentinels(config: PretrainConfig) -> int | None:
    """Sentinels of the tokenizer to train: the recipe's; else T5's 100, or more where the denoisers need more.

    Raises:
        SlonikError: the recipe's are fewer than a text has spans.
    """
    given = config.tokenizer.sentinels
    if config.objective != "denoising":
        return given
    needed = sentinels_needed(denoisers_of(config), config.length)
    if given is not None and given < needed:
        raise SlonikError(
            f"{needed} spans per text need as many sentinels, and tokenizer.sentinels is {given}: raise it or leave "
            "it out, or give shorter inputs or longer spans"
        )
    return given or max(DEFAULT_SENTINELS, needed)


def _special_tokens(config: PretrainConfig) -> tuple[str, ...]:
    """The recipe's own, and prefixes that the family does not bring."""
    prefixes = [each.prefix for each in denoisers_of(config) if each.prefix] if config.objective == "denoising" else []
    known = TokenizerTraining(kind=config.tokenizer.kind, family=config.model.family).specials().first
    wanted = dict.fromkeys((*prefixes, *config.tokenizer.special_tokens))
    return tuple(token for token in wanted if token not in known)


def _training_texts(settings: CorpusSettings) -> Iterator[str]:
    documents = read_documents(settings.files, column=settings.column, border=settings.border)
    for document in documents:
        text = normalise_text(document.text)
        if text and not is_held_out(text, settings.held_out_share):
            yield text


def denoisers_of(config: PretrainConfig) -> tuple[Denoiser, ...]:
    """The mixture that the recipe names or spells out."""
    if isinstance(config.denoisers, str):
        return PRESETS[config.denoisers]
    return tuple(Denoiser(each.prefix, SpanNoise(each.rate, each.mean_span), each.weight) for each in config.denoisers)


def pack_length(config: PretrainConfig, model: PreTrainedModel) -> int | None:
    """Tokens of a packed row; None where rows are padded."""
    packs = config.pack and config.objective in ("mlm", "clm") and can_pack(model)
    return config.length if packs else None


def objective_of(config: PretrainConfig, pieces: TokenFacts, pack_to: int | None) -> TextObjective:
    """What the model is trained for.

    Raises:
        SlonikError: a tokenizer without the special tokens that it needs, more spans than sentinels.
    """
    if config.objective == "mlm":
        return MaskedLanguageModel(pieces, config.masking, pack_to=pack_to)
    if config.objective == "nsp":
        return NextSentencePrediction(pieces, config.masking)
    if config.objective == "clm":
        pieces.need("eos", "a causal language model")
        return CausalLanguageModel(pieces, pack_to=pack_to)
    return DenoiserMixture(pieces, denoisers_of(config), input_length=config.length)


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
    pieces, joined = vocabulary.pieces, config.format in ("full_sentences", "blocks")
    if config.objective == "denoising":
        return Specials()
    if config.objective == "clm":
        end = pieces.need("eos", "a causal language model")
        start = pieces.bos if pieces.bos is not None else end
        return Specials(separator=(end,)) if joined else Specials((start,), (end,))
    template, separator = template_of(vocabulary.tokenizer), (pieces.need("sep", "separating texts"),)
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
