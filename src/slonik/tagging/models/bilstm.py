"""BiLSTM and BiLSTM-CRF over word vectors and characters: a small tagger that needs torch, but no transformer.

A word is its fixed vector (navec), a trainable vector where it was frequent in training, what its characters look like,
and, if asked for, what training texts called it (`NameList`). Either direction is an LSTM of its own over rows with
their padding at the end, so a word's labels do not depend on what else is in the batch. Its folder is `tagger.json`,
`model.safetensors`, the word vectors, the list of names and `passport.json`: safetensors and text only.

Sources: Huang, Xu, Yu 2015; Lample et al. 2016 (characters by an LSTM); Ma & Hovy 2016 (by a convolution).

Shapes: B inputs, T words, U distinct word forms, C characters of the longest, F character features, L labels. Number 0
of words and characters is padding, at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slonik.core import files
from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import WEIGHTS, hash_weights, read_tensors
from slonik.models.heads.tokens import TokenHead
from slonik.models.state import state_hash
from slonik.runtime.tagging.labels import BioLabels
from slonik.runtime.tagging.names import NAMES_FILE, NameList
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.word_features import WordFeatures, WordTable
from slonik.text import TAGGER_FILE
from slonik.text.lines import read_json

CharacterKind = Literal["cnn", "lstm"]
BILSTM = "bilstm"
_UNKNOWN_WORD = 1
_CHARACTER = 32  # numbers of its embedding


class CharacterCnn(nn.Module):
    """Embedding, one convolution per width, the largest value of each filter.

    Args:
        alphabet: how many character numbers there are, padding included.
        features: F, divided among filters of 3 and of 5 characters.
    """

    def __init__(self, alphabet: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet, _CHARACTER, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(_CHARACTER, size, width, padding=width // 2)
            for width, size in ((3, features - features // 2), (5, features // 2))
        )

    def forward(self, characters: Tensor) -> Tensor:
        """(U, C) -> (U, F)."""
        letters = self.embedding(characters).transpose(1, 2)  # (U, E, C)
        blank = (characters == 0)[:, None, :]
        found = [layer(letters).masked_fill(blank, float("-inf")).amax(-1) for layer in self.convolutions]
        return torch.cat(found, -1).clamp(min=-1e4).relu()


class CharacterLstm(nn.Module):
    """Embedding, an LSTM from either end, its last states.

    Args:
        alphabet: how many character numbers there are, padding included.
        features: F, half from each direction; even.
    """

    def __init__(self, alphabet: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet, _CHARACTER, padding_idx=0)
        self.onward = nn.LSTM(_CHARACTER, features // 2, batch_first=True)
        self.backward = nn.LSTM(_CHARACTER, features // 2, batch_first=True)

    def forward(self, characters: Tensor) -> Tensor:
        """(U, C) -> (U, F)."""
        lengths = (characters != 0).sum(-1).clamp(min=1)
        last = (lengths - 1)[:, None, None]
        ends = []
        for layer, ids in ((self.onward, characters), (self.backward, reverse_rows(characters, lengths))):
            states, _ = layer(self.embedding(ids))
            ends.append(states.gather(1, last.expand(-1, 1, states.shape[-1]))[:, 0])
        return torch.cat(ends, -1)


def reverse_rows(values: Tensor, lengths: Tensor) -> Tensor:
    """(N, T, ...) with the first `lengths[n]` entries of each row in reverse order; the rest stays in place.

    Both directions of a bidirectional layer then have their padding at the end, where it changes nothing.
    """
    places = torch.arange(values.shape[1], device=values.device).expand(values.shape[:2])
    mirrored = lengths[:, None] - 1 - places
    index = torch.where(mirrored >= 0, mirrored, places)
    return values[torch.arange(len(values), device=values.device)[:, None], index]


CHARACTER_LAYERS = {"cnn": CharacterCnn, "lstm": CharacterLstm}


class BiLstmConfig(Config):
    """Sizes of a BiLSTM tagger."""

    crf: bool = False
    """Learn scores of label transitions."""
    hidden: int = Field(160, ge=1)
    """Units of each direction."""
    layers: int = Field(1, ge=1)
    characters: CharacterKind = "cnn"
    character_features: int = Field(64, ge=2)
    learnt_words: int = Field(64, ge=1)
    """Dimension of the trainable vector of frequent words."""
    dropout: float = Field(0.4, ge=0, lt=1)
    """On word vectors and on the LSTM's output."""
    word_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of distinct words whose trainable vector is taken away in a training step: the rest must do too."""
    window: int = Field(64, ge=2)
    """Words of one input: shorter ones train faster, since a batch then has more rows and fewer steps in time."""
    overlap: int = Field(16, ge=0)
    """Words that neighbouring inputs share when tagging."""
    names: bool = False
    """Read what training texts called the names of a text."""
    balanced: bool = False
    """Names have both of their quotation marks and brackets, or neither."""


class BiLstm(nn.Module):
    """Word forms to scores of labels.

    Args:
        config: sizes.
        labels: L.
        table: fixed word vectors; not among the parameters.
        words, alphabet: how many numbers of trainable words and of characters there are.
    """

    def __init__(self, config: BiLstmConfig, labels: int, table: WordTable, *, words: int, alphabet: int) -> None:
        super().__init__()
        self.config = config
        self.table = table
        self.word_dropout = config.word_dropout
        self.words = nn.Embedding(words, config.learnt_words, padding_idx=0)
        self.characters = CHARACTER_LAYERS[config.characters](alphabet, config.character_features)
        nn.init.normal_(self.words.weight, std=0.1)
        width = table.dimension + config.learnt_words + config.character_features + labels * config.names
        self.dropout = nn.Dropout(config.dropout)
        sizes = [width] + [2 * config.hidden] * (config.layers - 1)
        self.onward = nn.ModuleList(nn.LSTM(size, config.hidden, batch_first=True) for size in sizes)
        self.backward = nn.ModuleList(nn.LSTM(size, config.hidden, batch_first=True) for size in sizes)
        self.head = TokenHead(2 * config.hidden, labels, crf=config.crf, dropout=config.dropout)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Emissions (B, W, L) of the words that the inputs own (see `windows.Window`)."""
        forms = self._forms(batch)
        states = self.dropout(forms[batch["input_ids"]])  # (B, T, ...)
        if self.config.names:
            states = torch.cat([states, batch["names"].to(states.dtype)], -1)
        lengths = batch["attention_mask"].sum(-1)
        for onward, backward in zip(self.onward, self.backward, strict=True):
            ahead, _ = onward(states)
            behind, _ = backward(reverse_rows(states, lengths))
            states = torch.cat([ahead, reverse_rows(behind, lengths)], -1)
        emissions: Tensor = self.head(states, batch)
        return emissions

    def identity(self) -> str:
        """sha256 of sizes and weights; the word vectors are in the features' identity."""
        return sha256_json([self.config.model_dump(mode="json"), state_hash(self)])

    def _forms(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(U, ...) vector of every distinct form of the batch."""
        words = batch["form_word"]
        if self.training and self.word_dropout:
            taken = torch.rand(words.shape, device=words.device) < self.word_dropout
            words = torch.where(taken, _UNKNOWN_WORD, words)
        fixed = self.table.vectors(batch["form_table"].cpu()).to(words.device)
        return torch.cat([fixed, self.words(words), self.characters(batch["form_characters"])], -1)


class BiLstmFile(Config):
    """The content of a BiLSTM tagger's `tagger.json`."""

    format: int = 1
    kind: str = BILSTM
    labels: tuple[str, ...]
    sizes: BiLstmConfig
    words: tuple[str, ...]
    """Words with a trainable vector, in lower case."""
    characters: str


def new_bilstm(
    labels: BioLabels, sizes: BiLstmConfig, features: WordFeatures, *, seed: int, name: str = "bilstm"
) -> NeuralTagger:
    """A tagger with random weights, equal for equal seeds; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _network(sizes, labels, features)
    return _tagger(NeuralTagger(name, labels, model, features, {"kind": _kind(sizes)}), sizes)


def save_bilstm(tagger: NeuralTagger, folder: str | Path, passport: Passport) -> Path:
    """Write a BiLSTM tagger, atomically.

    Raises:
        SlonikError: the folder is not empty, or the disk is full.
    """
    model, features = tagger.model, tagger.features
    assert isinstance(model, BiLstm) and isinstance(features, WordFeatures)
    content = BiLstmFile(
        labels=tagger.bio.names, sizes=model.config, words=features.words, characters=features.characters
    )
    target = Path(folder)
    with files.new_folder(target) as unfinished:
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
    model = _network(sizes, labels, features)
    tensors = read_tensors(folder)  # names a missing or truncated file
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SlonikError(f"{folder / WEIGHTS} does not fit {TAGGER_FILE} ({reason}): copy the folder whole") from None
    facts: dict[str, Any] = {"kind": _kind(sizes)}
    parts = [hash_weights(tensors), table.content_hash(), *([names.content_hash()] if names is not None else [])]
    facts["weights_hash"] = sha256_json(parts)
    return _tagger(NeuralTagger(folder.name, labels, model, features, facts, folder), sizes)


def _tagger(tagger: NeuralTagger, sizes: BiLstmConfig) -> NeuralTagger:
    tagger.balanced = sizes.balanced
    return tagger


def _network(sizes: BiLstmConfig, labels: BioLabels, features: WordFeatures) -> BiLstm:
    return BiLstm(sizes, len(labels), features.table, words=features.trainable, alphabet=features.alphabet)


def _kind(sizes: BiLstmConfig) -> str:
    return f"{BILSTM}-crf" if sizes.crf else BILSTM
