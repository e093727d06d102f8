"""Make and train one tagger of any kind: a run of the loop, the checkpoint chosen by held-out documents.

The test documents of a fold never come here: the documents that choose are a share of the training ones. A CRF over
features is fitted by its own package; everything else by the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slonik import models
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.data.annotations.document import Document
from slonik.finetuning.train import prepared, train_config
from slonik.models.kinds import kind_of
from slonik.models.task_config import TaskConfig
from slonik.models.task_model import TaskModel, new_task_model, save_task_model
from slonik.tagging.config import Lesson, System
from slonik.tagging.data import Example, exact_f1, labelled_examples, unlabelled_examples
from slonik.tagging.models.bio import BioLabels
from slonik.tagging.models.folder import encoder_tagger, new_bilstm, save_bilstm
from slonik.tagging.models.gazetteer import NAMES_FILE
from slonik.tagging.models.name_list import NameList
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.word_features import WordFeatures, frequent_characters, frequent_words
from slonik.tagging.models.word_table import navec_table
from slonik.tagging.objective import NO_LABEL, TaggingObjective
from slonik.tagging.teacher import soft_labels
from slonik.tagging.training_texts import write_training_texts
from slonik.train.loaders import PadFields, example_loader
from slonik.train.loop import run
from slonik.train.protocols import Batch
from slonik.train.run_state import RunSummary

_SEEN_TWICE = 2
_TIE = 1e-6  # weight of the share of words with the right label beside F1


@dataclass(frozen=True)
class Material:
    """What one tagger is made of.

    Attributes:
        fit: documents with gold labels. stop: those that choose the checkpoint.
        unlabelled: texts for the teacher.
        teacher: an open tagger, with the lesson of the system.
        cache: folder of what teachers said.
    """

    fit: list[Document]
    stop: list[Document]
    unlabelled: list[str]
    teacher: NeuralTagger | None
    cache: Path


def new_tagger(
    system: System,
    labels: BioLabels,
    documents: Sequence[Document],
    *,
    unlabelled: Sequence[str] = (),
    overlap: int,
    seed: int,
) -> NeuralTagger:
    """An untrained tagger of the system's kind.

    Args:
        documents: that it will be trained on; the list of names is made of their spans.
        unlabelled: further texts to train on; frequent words of all texts get vectors of their own.
        overlap: tokens that neighbouring windows share when tagging.

    Raises:
        SlonikError: the encoder cannot be loaded, or is no encoder.
        MissingExtra: the package with the word vectors is missing.
    """
    names = NameList.of(labels, documents) if system.names else None
    if system.kind == "bilstm":
        texts = [document.text for document in documents] + list(unlabelled)
        words = frequent_words(texts, _SEEN_TWICE)
        sizes = system.sizes.model_copy(update={"crf": system.crf, "names": system.names})
        features = WordFeatures(
            navec_table(), words, frequent_characters(texts), window=sizes.window, overlap=sizes.overlap, names=names
        )
        return new_bilstm(labels, sizes, features, seed=seed, name=system.name)
    assert system.model is not None
    tuning = system.full_tuning()
    if kind_of(system.model).stack == "encoder-decoder":
        raise SlonikError(f"{system.model} is an encoder with a decoder (T5): a tagger needs an encoder alone")
    encoder = models.load(system.model)
    states = int(encoder.model.config.num_hidden_layers) + 1 if system.all_layers else 0
    head = {"crf": system.crf, "layers": states, **tuning.head, "names": system.names}
    config = TaskConfig(
        kind="tokens", task="ner", target="tags", labels=labels.names, head=head,
        max_length=min(tuning.max_length or 256, encoder.max_length), details={"overlap": overlap},
    )  # fmt: skip
    return encoder_tagger(new_task_model(encoder, config, seed=seed), system.name, names=names)


def train_tagger(
    tagger: NeuralTagger, system: System, material: Material, folder: Path, *, seed: int, identity: Mapping[str, Any]
) -> RunSummary:
    """Train `tagger` in place; the same call after a crash goes on from the last checkpoint in `folder`.

    Args:
        identity: hashes of the data and of what the tagger starts from; they must be equal to resume.

    Raises:
        SlonikError: as the loop does; the teacher tags other classes.
    """
    tuning = system.full_tuning()
    examples = training_examples(tagger, system.lesson, material)
    if isinstance(tagger.features, WordFeatures):
        tagger.features.pin()
    loader = example_loader(
        examples, _collate(tagger), max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens, seed=seed
    )
    lesson = system.lesson
    objective = TaggingObjective(
        teacher_weight=lesson.weight if lesson else 0.0,
        temperature=lesson.temperature if lesson else 1.0,
        smoothing=tuning.label_smoothing,
    )
    plan = train_config(tuning, len(loader.plan(0)), seed)
    model = tagger.model
    tagger.autocast = torch.bfloat16 if tuning.precision == "bf16" else None
    try:
        with prepared(model, tuning) if isinstance(model, TaskModel) else nullcontext():
            return run(
                model, objective, loader, plan, folder, evaluate=_held_out(tagger, material.stop),
                identity={"system": system.model_dump(mode="json"), **identity},
            )  # fmt: skip
    finally:
        tagger.autocast = None


def training_examples(tagger: NeuralTagger, lesson: Lesson | None, material: Material) -> list[Example]:
    """Windows of the labelled texts and, with a teacher, of the unlabelled ones."""
    labels, features, fit = tagger.bio, tagger.features, material.fit
    if lesson is None or material.teacher is None:
        return labelled_examples(fit, features, labels)
    texts = [document.text for document in fit]
    if lesson.weight > 0:
        told: Sequence[NDArray[Any]] = soft_labels(material.teacher, texts, features, labels, material.cache)
    else:  # gold alone counts there: the teacher is not asked, and the field is filled
        told = [np.eye(1, len(labels), dtype=np.float16).repeat(len(features.split(text)), 0) for text in texts]
    examples = labelled_examples(fit, features, labels, told)
    if material.unlabelled:
        more = soft_labels(material.teacher, material.unlabelled, features, labels, material.cache)
        examples += unlabelled_examples(material.unlabelled, features, more)
    return examples


def save_tagger(
    tagger: NeuralTagger,
    folder: Path,
    step: Step,
    documents: Sequence[Document],
    *,
    taught_by: Sequence[str | Path] = (),
) -> None:
    """Write a trained tagger whole, its passport grown by `step`.

    Args:
        documents: the annotated ones that it has seen: their hashes lie beside it, so that none is its test.
        taught_by: taggers that it started from or learnt from; the texts that they have seen count as its own.

    Raises:
        SlonikError: the folder is not empty, or the disk is full.
    """
    model = tagger.model
    if isinstance(model, TaskModel):
        names = tagger.features.names
        beside = {} if names is None else {NAMES_FILE: names.dump()}
        save_task_model(model, folder, model.encoder.passport.with_step(step, name=tagger.name), beside=beside)
    else:
        save_bilstm(tagger, folder, Passport(name=tagger.name).with_step(step, name=tagger.name))
    write_training_texts(folder, (document.text for document in documents), also_of=taught_by)


def start_hash(tagger: NeuralTagger) -> str:
    """Hash of what an untrained tagger starts from, apart from its seed: the encoder, or the word vectors."""
    if isinstance(tagger.model, TaskModel):
        return tagger.model.encoder.weights_hash()
    assert isinstance(tagger.features, WordFeatures)
    return tagger.features.table.content_hash()


def open_neural(folder: str | Path) -> NeuralTagger:
    """A saved tagger that can teach: one with a network. Encoders compute in bfloat16: half the time.

    Raises:
        SlonikError: it is no tagger, or a CRF over features, which gives hard labels only.
    """
    from slonik.tagging.models import load_tagger

    found = load_tagger(folder)
    if not isinstance(found, NeuralTagger):
        raise SlonikError(f"{folder} cannot teach: give a BiLSTM or an encoder tagger, which have probabilities")
    found.autocast = torch.bfloat16 if isinstance(found.model, TaskModel) else None
    return found


def _collate(tagger: NeuralTagger) -> Callable[[Sequence[Example]], Batch]:
    pad = tagger.model.encoder.pad_id if isinstance(tagger.model, TaskModel) else 0
    padded = PadFields({"input_ids": pad, "tags": NO_LABEL})

    def collate(examples: Sequence[Example]) -> Batch:
        return tagger.features.add_forms(padded(examples))

    return collate


def _held_out(tagger: NeuralTagger, documents: Sequence[Document]) -> Callable[[nn.Module], dict[str, float]]:
    """The loop's evaluation: exact-span micro F1 of the documents that choose; rightly labelled words decide a tie.

    With few documents F1 is 0 for a while, and the untrained tagger would win.
    """
    texts = [document.text for document in documents]
    words = [tagger.features.split(text) for text in texts]
    gold = np.concatenate([tagger.bio.encode(one.spans, own) for one, own in zip(documents, words, strict=True)])

    def evaluate(model: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            found = tagger.tag(texts)
        score = exact_f1(documents, found)
        said = np.concatenate([tagger.bio.encode(spans, own) for spans, own in zip(found, words, strict=True)])
        accuracy = float((said == gold).mean()) if len(gold) else 0.0
        return {"f1": score, "accuracy": accuracy, "choice": score + _TIE * accuracy}

    return evaluate
