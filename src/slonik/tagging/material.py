"""What a neural tagger is trained on: windows of its documents with labels, and what its teachers say of them.

A text that a teacher was itself trained on is taught by a copy that has not seen it, where there are such, and else by
the teacher without the names that the text gave to its list. Trains nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document
from slonik.models.precision import fast_bf16
from slonik.models.task_model import TaskModel
from slonik.runtime.tagging.labels import BioLabels, TagLabels
from slonik.runtime.tagging.windows import Features
from slonik.tagging.config import Distillation
from slonik.tagging.data import (
    read_training_texts,
    text_key,
)
from slonik.tagging.distillation import Teacher, soft_labels
from slonik.tagging.models import load_tagger
from slonik.tagging.models.ensemble_tagger import EnsembleTagger
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.objective import (
    Example,
    labelled_examples,
    unlabelled_examples,
    unlisted_examples,
)


@dataclass(frozen=True)
class Material:
    """What one tagger is made of.

    Attributes:
        fit: documents with gold labels. development: those that choose the checkpoint.
        unlabelled: texts for the teacher. candidates: more, of which they were chosen by what the teacher says of all.
        teacher: an open tagger, where the system is distilled from one.
        cache: folder of soft labels.
        copies: lines of the texts to fit, with other names in the places of theirs.
        parts: copies of the teacher and the keys of texts that each teaches, since it has not seen them.
        entity_share: expected share of words in entities, for documents that are annotated in part.
        left_out: what of the gold spans could not be trained on, as words -> how often.
    """

    fit: list[Document]
    development: list[Document]
    unlabelled: list[str]
    teacher: Teacher | None
    cache: Path
    candidates: Sequence[str] = ()
    copies: Sequence[Document] = ()
    parts: Sequence[tuple[Teacher, frozenset[str]]] = ()
    entity_share: float = 0.1
    left_out: Counts = field(default_factory=Counter)


def training_examples(
    tagger: NeuralTagger, lesson: Distillation | None, material: Material, *, around: bool = False
) -> list[Example]:
    """Windows of the labelled texts and, with a teacher, of the unlabelled ones.

    Args:
        around: windows see the text on either side of what they label, as when tagging.
    """
    labels, features, fit = tagger.bio, tagger.features, material.fit
    overlap = None if around else 0
    if lesson is None or material.teacher is None:
        examples = labelled_examples(fit, features, labels, overlap=overlap)
        return examples + unlisted_examples(material.copies, features, labels, overlap=overlap)
    texts = [document.text for document in fit]
    if lesson.weight > 0:
        soft: Sequence[NDArray[Any]] = _lessons(material, features, labels)
    else:  # gold alone counts there: the teacher is not asked, and the field is filled
        soft = [np.eye(1, len(labels), dtype=np.float16).repeat(len(features.split(text)), 0) for text in texts]
    examples = labelled_examples(fit, features, labels, soft, overlap=overlap)
    if material.copies:  # the teacher has not read them: what is in them is known
        known = [np.eye(len(labels), dtype=np.float16)[_tags(one, features, labels)] for one in material.copies]
        examples += unlisted_examples(material.copies, features, labels, known, overlap=overlap)
    if material.unlabelled:
        more = _of_unlabelled(material, features, labels)
        examples += unlabelled_examples(material.unlabelled, features, more, overlap=overlap)
    return examples


def _lessons(material: Material, features: Features, labels: TagLabels) -> list[NDArray[Any]]:
    """Soft labels of the documents to fit: each by the copy of the teacher that has not seen it, where there is one.

    The teacher itself has seen those of its own training: its list of names is asked without what they gave to it.
    """
    assert material.teacher is not None
    found: dict[int, NDArray[Any]] = {}
    keys = [text_key(document.text) for document in material.fit]
    for copy, texts in material.parts:
        rows = [row for row, key in enumerate(keys) if key in texts]
        some = [material.fit[row].text for row in rows]
        found |= dict(zip(rows, soft_labels(copy, some, features, labels, material.cache), strict=True))
    rest = [row for row in range(len(keys)) if row not in found]
    folder = material.teacher.folder
    seen = read_training_texts(folder) if folder is not None else frozenset()
    for known in (True, False):
        rows = [row for row in rest if (keys[row] in seen) == known]
        if rows:
            some = [material.fit[row].text for row in rows]
            own = [material.fit[row].spans for row in rows] if known else None
            soft = soft_labels(material.teacher, some, features, labels, material.cache, own)
            found |= dict(zip(rows, soft, strict=True))
    return [found[row] for row in range(len(keys))]


def _of_unlabelled(material: Material, features: Features, labels: TagLabels) -> Sequence[NDArray[Any]]:
    """Soft labels of the unlabelled texts: what the teacher said when they were chosen, where it fits the student."""
    teacher, texts = material.teacher, material.unlabelled
    assert teacher is not None
    same = labels == BioLabels.of(teacher.labels)
    if material.candidates and same and all(teacher.features.split(one) == features.split(one) for one in texts):
        said = soft_labels(teacher, material.candidates, teacher.features, labels, material.cache)
        places = {text: number for number, text in enumerate(material.candidates)}
        return [said[places[text]] for text in texts]
    return soft_labels(teacher, texts, features, labels, material.cache)


def _tags(document: Document, features: Features, labels: TagLabels) -> NDArray[np.int64]:
    return labels.encode(document.spans, features.split(document.text))


def open_teacher(teacher: Path | Teacher) -> Teacher:
    """A tagger that can teach: one with a network, or an ensemble.

    Encoders that are opened compute in bfloat16 where that is faster.

    Raises:
        SlonikError: it is no tagger, or a CRF over features, which gives hard labels only.
    """
    if isinstance(teacher, NeuralTagger | EnsembleTagger):
        return teacher
    found = load_tagger(teacher)
    if isinstance(found, EnsembleTagger):
        return found
    if not isinstance(found, NeuralTagger):
        raise SlonikError(
            f"{teacher} cannot teach: give a BiLSTM, an encoder tagger or an ensemble, which have probabilities"
        )
    fast = isinstance(found.model, TaskModel) and fast_bf16(found.device)
    found.autocast = torch.bfloat16 if fast else None
    return found
