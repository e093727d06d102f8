"""The end of a pretraining run: a checkpoint folder with everything that belongs to it, and whether it is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import read_tensors
from slonik.models.loading import quiet_transformers
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.data import Vocabulary
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import write_tokenizer

COMMAND = "pretrain"
_RECIPE = "recipe"
_WRITERS = ("gpt2", "t5", "fred-t5")


def recipe_hash(config: PretrainConfig) -> str:
    """Hash of all that decides the weights, names of files and folders left out."""
    return sha256_json(what_decides(config))


def what_decides(config: PretrainConfig) -> dict[str, Any]:
    """The fields that decide the weights, the contents of the corpus apart."""
    content = config.model_dump(mode="json", exclude={"out", "version", "held_out", "train"})
    content["corpus"].pop("files")
    content["corpus"].pop("shard_tokens")
    return content | {"train": config.train.identity(), "documents": config.held_out.documents}


def finished_before(out: Path, config: PretrainConfig) -> Passport | None:
    """The passport in `out` where this very recipe made it; None where there is nothing yet.

    Raises:
        SlonikError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    passport = Passport.read(out) if out.is_dir() else Passport(name="")
    last = passport.lineage[-1] if passport.lineage else None
    if last is not None and last.command == COMMAND and last.inputs.get(_RECIPE) == recipe_hash(config):
        return passport
    raise SlonikError(f"{out} is there already and was not made by this recipe: choose another --out or remove it")


def write_checkpoint(
    model: PreTrainedModel, vocabulary: Vocabulary, config: PretrainConfig, passport: Passport, metrics: Path, out: Path
) -> None:
    """Write weights, tokenizer, passport and metrics log, atomically; encoders with their sentence settings.

    Raises:
        SlonikError: full disk.
    """
    encoder = config.model.family not in _WRITERS
    with new_folder(out) as folder, quiet_transformers():
        model.save_pretrained(folder)
        write_tokenizer(
            vocabulary.tokenizer,
            folder,
            names=vocabulary.names,
            max_length=config.model.max_length,
            types=int(getattr(model.config, "type_vocab_size", 0) or 0) > 1,
        )
        if encoder:
            SentenceConfig(max_length=config.model.max_length).write(folder, config.model.hidden)
        passport.write(folder)
        shutil.copy(metrics, folder / "metrics.jsonl")
        read_tensors(folder)
