"""Train a tokenizer on a corpus, write it as a folder, and measure it beside others on kinds of text."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import Field
from tokenizers import Tokenizer

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.hashing import sha256_file
from slonik.core.passport import Passport, Step
from slonik.core.records import Record
from slonik.data.readers import corpus_files, read_texts
from slonik.data.sampling import Sample, sample, set_aside
from slonik.models.kinds import resolve
from slonik.text.tokenizers.fertility import Fit, fit_records, measure_fit
from slonik.text.tokenizers.training import TrainConfig, Trained, train
from slonik.text.tokenizing import load_tokenizer, write_tokenizer

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

    Everything that can be wrong with the wishes is found before training starts.
    Raises SlonikError for that, for an empty corpus, and for what `training.train` raises.
    """
    out = Path(recipe.out)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not recipe.overwrite):
        raise SlonikError(f"the folder {out} is there already and is not empty: choose another --out or remove it")
    started = time.perf_counter()
    files = corpus_files(recipe.corpus)
    kinds = {kind: read_texts(path) for kind, path in recipe.measure.items()}
    others = {name: _open(name) for name in recipe.against}
    held_out = Sample[str](MEASURED_TEXTS)
    trained = train(recipe.training, set_aside(read_texts(files, column=recipe.column), held_out), log=log)
    samples = {HELD_OUT: held_out.items()} | {kind: sample(texts, MEASURED_TEXTS) for kind, texts in kinds.items()}
    tokenizers = {recipe.out: trained.tokenizer} | others
    fits = {
        name: {kind: measure_fit(tokenizer, texts) for kind, texts in samples.items() if texts}
        for name, tokenizer in tokenizers.items()
    }
    step = Step(
        command="tokenizer train",
        config=recipe.training.model_dump(mode="json") | {"min_frequency": trained.min_frequency},
        inputs={path.name: sha256_file(path) for path in files},
        seconds=round(time.perf_counter() - started, 1),
        summary={"pieces": trained.tokenizer.get_vocab_size(), "words": trained.words},
    )
    records = fit_records(fits)
    own = [record for record in records if record.model == recipe.out]
    with new_folder(out, overwrite=recipe.overwrite) as folder:
        specials = trained.specials
        write_tokenizer(
            trained.tokenizer, folder, names=specials.roles, types=specials.type_ids, max_length=recipe.max_length
        )
        Passport(name=out.name).with_step(step).with_records(own).write(folder)
    return trained, fits, records


def _open(name: str) -> Tokenizer:
    """A tokenizer by the path of its file, or as part of a model."""
    path = Path(name)
    return load_tokenizer(path if path.is_file() else resolve(name))
