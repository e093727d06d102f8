"""Tokenizers trained on a corpus: `slonik tokenizer train`, and the vocabulary of a pretraining run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from tokenizers import Tokenizer

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.identity import file_identity
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.core.run import Run
from slonik.data.filters import normalise_text
from slonik.data.readers import corpus_files, read_texts
from slonik.data.sampling import Sample, is_held_out, sample, set_aside
from slonik.models.fresh import TokenIds
from slonik.models.kinds import resolve
from slonik.models.loading import checkpoint_tokenizer
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.corpus import CorpusSettings, documents_of
from slonik.pretraining.denoising import sentinels_needed
from slonik.text.tokenizers.families import DEFAULT_SENTINELS
from slonik.text.tokenizers.fit import Fit, fit_records, measure_fit
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.text.tokenizers.training import Log, TrainConfig, Trained, train
from slonik.text.tokenizing import special_names, write_tokenizer

#: Texts of each kind that tokenizers are measured on, at most.
MEASURED_TEXTS = 5_000
HELD_OUT = "held-out"


class TokenizerRecipe(Config):
    """What to train on, and what to measure.

    Attributes:
        corpus: text files or folders; 2 % of their texts are set aside and measured on.
        column: field or column that holds the texts, for files with several.
        out: folder for the tokenizer.
        training: the tokenizer.
        max_length: tokens of the longest text, written down for clients.
        measure: kind of text -> file with such texts, besides the held-out ones.
        against: tokenizers to measure beside: folders, tokenizer.json files, hub ids, embedded:NAME.
        overwrite: replace `out` if it is there.
    """

    corpus: tuple[str, ...] = Field(min_length=1)
    column: str | None = None
    out: str
    training: TrainConfig
    max_length: int = Field(512, ge=1)
    measure: dict[str, str] = Field(default_factory=dict)
    against: tuple[str, ...] = ()
    overwrite: bool = False


def train_tokenizer(
    recipe: TokenizerRecipe, *, log: Callable[[str], None] = lambda line: None
) -> tuple[Trained, dict[str, dict[str, Fit]], list[Record]]:
    """Train, measure, write; returns the tokenizer, its and the others' fit to each kind of text, and records.

    Everything that can be wrong with the recipe is found before training starts.
    Raises SlonikError for that, for an empty corpus, and for what `training.train` raises.
    """
    reads = [*recipe.corpus, *recipe.measure.values()]
    with Run(recipe.out, command="tokenizer train", overwrite=recipe.overwrite, reads=reads, announce=log) as run:
        files = corpus_files(recipe.corpus)
        kinds = {kind: read_texts(path) for kind, path in recipe.measure.items()}
        others = {name: _open(name) for name in recipe.against}
        held_out = Sample[str](MEASURED_TEXTS)
        trained = train(recipe.training, set_aside(read_texts(files, column=recipe.column), held_out), log=log)
        samples = {HELD_OUT: held_out.items()} | {kind: sample(texts, MEASURED_TEXTS) for kind, texts in kinds.items()}
        fits = {
            name: {kind: measure_fit(tokenizer, texts) for kind, texts in samples.items() if texts}
            for name, tokenizer in ({recipe.out: trained.tokenizer} | others).items()
        }
        for path in files:
            run.input(path.name, file_identity(path))
        step = run.passport_step(
            {"pieces": trained.tokenizer.get_vocab_size(), "words": trained.words},
            config=recipe.training.model_dump(mode="json") | {"min_frequency": trained.min_frequency},
        )
        records = fit_records(fits)
        own = [record for record in records if record.model == recipe.out]
        specials = trained.specials
        with run.result() as folder:
            write_tokenizer(
                trained.tokenizer, folder, names=specials.roles, types=specials.type_ids, max_length=recipe.max_length
            )
            Passport(name=run.out.name).with_step(step).with_records(own).write(folder)
    return trained, fits, records


def _open(name: str) -> Tokenizer:
    """A tokenizer by the path of its file, or as part of a model."""
    path = Path(name)
    return checkpoint_tokenizer(path if path.is_file() else resolve(name))


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and what others must know of it.

    Attributes:
        tokenizer: the raw one. names: special tokens by role. facts: of its ids.
    """

    tokenizer: Tokenizer
    names: dict[str, str]
    facts: TokenFacts

    @classmethod
    def open(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a folder.

        Raises:
            SlonikError: no tokenizer there.
        """
        tokenizer, names = checkpoint_tokenizer(folder), special_names(folder)
        return cls(tokenizer, names, token_facts(tokenizer, names))

    @property
    def identity(self) -> str:
        """Hash of the tokenizer and the roles of its special tokens."""
        return sha256_json([self.tokenizer.to_str(), self.names])

    @property
    def ids(self) -> TokenIds:
        """What a model's config says of it."""
        known = self.facts
        return TokenIds(known.size, known.pad, known.bos, known.eos, known.cls, known.sep, known.mask)


def given_tokenizer(config: PretrainConfig) -> Path | None:
    """The folder of the tokenizer that the recipe names, or of the model that it goes on with; None = to be trained."""
    named = config.start or config.tokenizer.given
    return resolve(named) if named else None


def make_tokenizer(config: PretrainConfig, folder: Path, log: Log = lambda line: None) -> Mapping[str, Any]:
    """Train the recipe's tokenizer on its corpus, held-out documents left out, and write it into `folder`.

    Args:
        log: is told what `tokenizers.training.train` decided.

    Raises:
        SlonikError: what `tokenizers.training.train` raises.
    """
    wanted = config.tokenizer
    training = TrainConfig(
        kind=wanted.kind, vocab_size=wanted.vocab_size, min_frequency=wanted.min_frequency,
        lowercase=wanted.lowercase, family=config.model.family, sentinels=wanted_sentinels(config),
        extra_specials=_special_tokens(config),
    )  # fmt: skip
    trained = train(training, training_texts(config.corpus), log=log)
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
    needed = sentinels_needed(config.mixture, config.length)
    if given is not None and given < needed:
        raise SlonikError(
            f"{needed} spans per text need as many sentinels, and tokenizer.sentinels is {given}: raise it or leave "
            "it out, or give shorter inputs or longer spans"
        )
    return given or max(DEFAULT_SENTINELS, needed)


def _special_tokens(config: PretrainConfig) -> tuple[str, ...]:
    """The recipe's own, and prefixes that the family does not bring."""
    prefixes = [each.prefix for each in config.mixture if each.prefix] if config.objective == "denoising" else []
    known = TrainConfig(kind=config.tokenizer.kind, family=config.model.family).specials().first
    wanted = dict.fromkeys((*prefixes, *config.tokenizer.special_tokens))
    return tuple(token for token in wanted if token not in known)


def training_texts(settings: CorpusSettings) -> Iterator[str]:
    """The cleaned documents of a corpus that are not held out: those that a tokenizer may be trained on.

    Raises:
        SlonikError: what `documents_of` raises.
    """
    for document in documents_of(settings):
        # As the corpus is cleaned: which documents are held out depends on what is left of them.
        text = normalise_text(document.text, keep_whitespace=settings.cleaning.keep_whitespace)
        if text and not is_held_out(text, settings.held_out_share):
            yield text
