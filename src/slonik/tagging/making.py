"""Taggers of a system's kind as they are before training, and trained ones written whole.

Trains nothing: `fit` does. A CRF over hand features is made by its own module, an ensemble by `models.ensemble_tagger`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik import models
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.data.annotations.document import Document
from slonik.finetuning.train import copy_of
from slonik.models.encoder import TorchEncoder
from slonik.models.heads.stock import has_stock_class
from slonik.models.kinds import kind_of
from slonik.models.task_model import TaskModel, new_task_model, save_task_model
from slonik.runtime.tagging.labels import BioLabels
from slonik.runtime.tagging.names import NAMES_FILE, Key, NameList
from slonik.tagging.config import System
from slonik.tagging.data import (
    write_training_texts,
)
from slonik.tagging.models.bilstm import new_bilstm, save_bilstm
from slonik.tagging.models.encoder_tagger import encoder_tagger
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.span_tagger import SPANS, SpanTagger, overlaps_of, words_of
from slonik.tagging.models.word_features import (
    WordFeatures,
    WordTable,
    frequent_characters,
    frequent_words,
    navec_table,
    word_table,
)
from slonik.text.task_config import TaskConfig

_SEEN_TWICE = 2


def new_tagger(
    system: System,
    labels: BioLabels,
    documents: Sequence[Document],
    *,
    unlabelled: Sequence[str] = (),
    overlap: int,
    seed: int,
    model: TorchEncoder | None = None,
    lists: Sequence[Mapping[Key, str]] = (),
) -> NeuralTagger:
    """An untrained tagger of the system's kind.

    Args:
        documents: that it will be trained on; the list of names is made of their spans.
        unlabelled: further texts to train on; frequent words of all texts get vectors of their own.
        overlap: tokens that neighbouring windows share when tagging.
        model: a copy of it is the encoder, instead of the one that the system names.
        lists: names from outside: each list counts as one more document that marks them.

    Raises:
        SlonikError: the encoder cannot be loaded, or is no encoder; lists of names for a tagger that reads none.
        MissingExtra: the package with the word vectors is missing.
    """
    names = NameList.of(labels, documents, lists) if system.names else None
    if system.kind == "bilstm":
        texts = [document.text for document in documents] + list(unlabelled)
        words = frequent_words(texts, _SEEN_TWICE)
        own: dict[str, Any] = {"crf": system.crf, "names": system.names, "balanced": system.balanced}
        _check_context(system.context, system.sizes.window, "words (system.sizes.window)")
        own |= {"overlap": 2 * system.context} if system.context else {}
        sizes = system.sizes.model_copy(update=own)
        features = WordFeatures(
            fixed_vectors(system, words), words, frequent_characters(texts), window=sizes.window, overlap=sizes.overlap,
            names=names,
        )  # fmt: skip
        return new_bilstm(labels, sizes, features, seed=seed, name=system.name)
    encoder = _encoder(system, model)
    tuning = system.full_tuning()
    _check_context(system.context, min(tuning.max_length or 256, encoder.max_length) - 2, "tokens (--max-length)")
    states = int(encoder.model.config.num_hidden_layers) + 1 if system.all_layers else 0
    head = {"crf": system.crf, "layers": states, **tuning.head, "names": system.names}
    plain = not system.crf and not states and not system.names and not set(tuning.head) - {"dropout"}
    stock = plain and has_stock_class(encoder.model.config, "tokens")  # then it is the class of the family
    config = TaskConfig(
        kind="tokens", task="ner", target="tags", labels=labels.names, shape="stock" if stock else "own",
        head={**tuning.head} if stock else head,
        max_length=min(tuning.max_length or 256, encoder.max_length),
        details={"overlap": 2 * system.context or overlap, "balanced": system.balanced},
    )  # fmt: skip
    return encoder_tagger(new_task_model(encoder, config, seed=seed), system.name, names=names)


def fixed_vectors(system: System, words: Sequence[str] = ()) -> WordTable:
    """The fixed word vectors of a BiLSTM.

    Raises:
        SlonikError: they know none of the frequent words of the texts.
    """
    if system.vectors is None:
        return navec_table()
    table = word_table(system.vectors)
    if words and all(table.number(word) == table.unknown for word in words):
        raise SlonikError(
            f"{system.vectors} has a vector of none of the {len(words)} frequent words of the texts ({words[0]!r}, ..; "
            f"it has {table.words[0]!r}): these vectors are of other words"
        )
    return table


def _check_context(context: int, window: int, what: str) -> None:
    if 4 * context > window:
        raise SlonikError(
            f"context is {context} on either side, more than half of a window of {window} {what}: at most {window // 4}"
        )


def _encoder(system: System, model: TorchEncoder | None) -> TorchEncoder:
    assert system.model is not None
    if model is None and kind_of(system.model).stack == "encoder-decoder":
        raise SlonikError(f"{system.model} is an encoder with a decoder (T5): a tagger needs an encoder alone")
    encoder = models.load(system.model) if model is None else copy_of(model)
    return encoder if system.layers is None else _lowest(encoder, system.layers)


def _lowest(encoder: TorchEncoder, count: int) -> TorchEncoder:
    """The encoder with its lowest `count` layers alone."""
    depth = int(encoder.model.config.num_hidden_layers)
    if count > depth:
        raise SlonikError(f"system.layers is {count}, and {encoder.name} has {depth} layers: give {depth} at most")
    cut = apply(encoder.model, keep_layers(whole(encoder.model, with_parent=False), range(count)), check_parent=False)
    return TorchEncoder(cut, encoder.tokenizer, encoder.sentence, encoder.passport, name=encoder.name)


def new_span_tagger(
    system: System,
    labels: BioLabels,
    documents: Sequence[Document],
    *,
    overlap: int,
    seed: int,
    model: TorchEncoder | None = None,
) -> SpanTagger:
    """An untrained tagger with a span head; arguments as `new_tagger`, `documents` say what may overlap.

    Raises:
        SlonikError: as `new_tagger`; a description of a label that no text has.
    """
    strange = sorted(set(system.descriptions) - set(labels.classes))
    if strange:
        raise SlonikError(
            f"there is a description of {strange[0]!r}, and no text has this label: {', '.join(labels.classes)}"
        )
    encoder, tuning = _encoder(system, model), system.full_tuning()
    states = int(encoder.model.config.num_hidden_layers) + 1 if system.all_layers else 0
    told = {label: system.descriptions.get(label, words_of(label)) for label in labels.classes}
    config = TaskConfig(
        kind=SPANS, task="ner", target="tags", labels=labels.classes,
        head={"width": system.width, "layers": states, **tuning.head},
        max_length=min(tuning.max_length or 256, encoder.max_length),
        details={
            "overlap": overlap, "overlaps": overlaps_of([document.spans for document in documents]),
            "descriptions": told,
        },
    )  # fmt: skip
    return SpanTagger(system.name, new_task_model(encoder, config, seed=seed))


def save_tagger(
    tagger: NeuralTagger | SpanTagger,
    folder: Path,
    step: Step,
    texts: Sequence[str],
    sources: Sequence[str | Path] = (),
) -> None:
    """Write a trained tagger whole, its passport grown by `step`.

    Args:
        texts: the annotated ones that it has seen: their hashes lie beside it, so that none is its test.
        sources: taggers that it started from or was distilled from; the texts that they have seen count as its own.

    Raises:
        SlonikError: the folder is not empty, or the disk is full.
    """
    model = tagger.model
    if isinstance(model, TaskModel):
        names = tagger.features.names
        beside = {} if names is None else {NAMES_FILE: names.dump()}
        save_task_model(model, folder, model.encoder.passport.with_step(step, name=tagger.name), beside=beside)
    else:
        assert isinstance(tagger, NeuralTagger)
        save_bilstm(tagger, folder, Passport(name=tagger.name).with_step(step, name=tagger.name))
    write_training_texts(folder, texts, also_of=sources)
