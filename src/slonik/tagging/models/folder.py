"""Taggers as folders: write one, and open any by folder or name.

A BiLSTM tagger is `tagger.json`, `model.safetensors`, the word vectors and `passport.json`; an encoder tagger is a task
model (an ordinary checkpoint with `task.json`). safetensors and text only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from slonik.core import files
from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import WEIGHTS, hash_weights, read_json, read_tensors
from slonik.models.task_model import TaskModel
from slonik.tagging.models.bilstm import BiLstm, BiLstmConfig
from slonik.tagging.models.bio import BioLabels
from slonik.tagging.models.gazetteer import NAMES_FILE
from slonik.tagging.models.name_list import NameList
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.piece_features import PieceFeatures
from slonik.tagging.models.word_features import WordFeatures
from slonik.tagging.models.word_table import WordTable

TAGGER_FILE = "tagger.json"
BILSTM = "bilstm"


class BiLstmFile(Config):
    """The content of a BiLSTM tagger's `tagger.json`."""

    format: int = 1
    kind: str = BILSTM
    labels: tuple[str, ...]
    sizes: BiLstmConfig
    words: tuple[str, ...]
    """Words with a learnt vector, in lower case."""
    characters: str


def new_bilstm(
    labels: BioLabels, sizes: BiLstmConfig, features: WordFeatures, *, seed: int, name: str = "bilstm"
) -> NeuralTagger:
    """A tagger with random weights, equal for equal seeds; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        alphabet, learnt = features.alphabet, features.learnt
        model = BiLstm(sizes, len(labels), features.table, learnt=learnt, alphabet=alphabet)
    return NeuralTagger(name, labels, model, features, {"kind": _kind(BILSTM, sizes.crf)})


def save_bilstm(tagger: NeuralTagger, folder: str | Path, passport: Passport, *, overwrite: bool = False) -> Path:
    """Write a BiLSTM tagger, atomically.

    Raises:
        SlonikError: the folder is not empty (and not `overwrite`), or the disk is full.
    """
    model, features = tagger.model, tagger.features
    assert isinstance(model, BiLstm) and isinstance(features, WordFeatures)
    content = BiLstmFile(
        labels=tagger.bio.names,
        sizes=model.config,
        words=features.words,
        characters=features.characters,
    )
    target = Path(folder)
    with files.new_folder(target, overwrite=overwrite) as unfinished:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, unfinished / WEIGHTS)
        features.table.save(unfinished)
        if features.names is not None:
            files.write_bytes(unfinished / NAMES_FILE, features.names.dump())
        files.write_json(unfinished / TAGGER_FILE, content.model_dump(mode="json"))
        passport.write(unfinished)
    return target


def load_bilstm(folder: Path) -> NeuralTagger:
    """The tagger that `save_bilstm` wrote.

    Raises:
        SlonikError: files are missing or damaged, or do not belong together.
    """
    content = build_config(BiLstmFile, read_json(folder / TAGGER_FILE), source=str(folder / TAGGER_FILE))
    labels = BioLabels.of_tags(content.labels)
    table = WordTable.open(folder)
    sizes = content.sizes
    names = NameList.open(folder, labels) if sizes.names else None
    features = WordFeatures(
        table, content.words, content.characters, window=sizes.window, overlap=sizes.overlap, names=names
    )
    model = BiLstm(content.sizes, len(labels), table, learnt=features.learnt, alphabet=features.alphabet)
    tensors = read_tensors(folder)  # names a missing or truncated file
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SlonikError(f"{folder / WEIGHTS} does not fit {TAGGER_FILE} ({reason}): copy the folder whole") from None
    facts: dict[str, Any] = {"kind": _kind(BILSTM, content.sizes.crf)}
    parts = [hash_weights(tensors), table.content_hash(), *_hash_of(names)]
    facts["weights_hash"] = sha256_json(parts)
    return NeuralTagger(folder.name, labels, model, features, facts, folder)


def encoder_tagger(
    model: TaskModel, name: str, folder: Path | None = None, *, names: NameList | None = None
) -> NeuralTagger:
    """An encoder with a token head as a tagger.

    Args:
        folder: where it was loaded from; the list of names, if the head reads one, is loaded from there.
        names: that list, for a tagger that has no folder yet.

    Raises:
        SlonikError: the task model tags no words, or its list of names is missing or damaged.
    """
    config = model.config
    if config.kind != "tokens":
        raise SlonikError(f"{name} is a model for {config.task!r}, not a tagger: give one that was trained on spans")
    labels = BioLabels.of_tags(config.labels)
    overlap = int(config.details.get("overlap", 64))
    if names is None and folder is not None and config.head.get("names"):
        names = NameList.open(folder, labels)
    features = PieceFeatures(model.encoder.tokenizer, window=model.max_length, overlap=overlap, names=names)
    weights = sha256_json([model.weights_hash(), *_hash_of(names)]) if names is not None else model.weights_hash()
    facts = {"kind": _kind("encoder", bool(config.head.get("crf"))), "weights_hash": weights}
    return NeuralTagger(name, labels, model, features, facts, folder)


def _hash_of(names: NameList | None) -> list[str]:
    return [] if names is None else [names.content_hash()]


def _kind(name: str, crf: bool) -> str:
    return f"{name}-crf" if crf else name
