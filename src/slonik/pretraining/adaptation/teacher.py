"""DistilBERT's story: a student with every second layer of a masked-language model, taught by it word by word.

Source: Sanh et al., "DistilBERT" (2019), sections 2 and 3. The loss is `objectives.distilbert`; the teacher has the
student's vocabulary or a larger one of which the student's is a part (after `slonik tokenizer trim`).
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from slonik.core.errors import SlonikError
from slonik.models.language_model import LanguageModel, load_language_model
from slonik.models.shared_vocabulary import matching_ids
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.distilbert_student import student_of
from slonik.train.objectives.distilbert import DistilBert
from slonik.train.objectives.mlm import MaskedLanguageModel


def teacher_of(config: AdaptConfig, student: LanguageModel) -> LanguageModel | None:
    """The recipe's teacher with its head.

    Raises:
        SlonikError: no such model, one without a language-model head, of another width, or that lacks pieces of the
            student's.
    """
    if config.teacher is None:
        return None
    teacher = load_language_model(config.teacher, "mlm", seed=config.seed)
    matching_ids(student.encoder(), teacher.encoder())
    if not teacher.has_head:
        raise SlonikError(
            f"the teacher {config.teacher} has no language-model head, so it guesses no words: give it one with "
            f"slonik adapt {config.teacher} --corpus FILE --out FOLDER"
        )
    return teacher


def shortened(config: AdaptConfig, language: LanguageModel) -> LanguageModel:
    """The model with the layers that the recipe keeps; itself where all stay."""
    if config.every is None:
        return language
    student = copy.copy(language)
    student.model = student_of(language.model, every=config.every)
    return student


def taught(
    words: MaskedLanguageModel, student: LanguageModel, teacher: LanguageModel, config: AdaptConfig
) -> DistilBert:
    """The objective of a student with this teacher, which `teacher_of` has looked at."""
    ids = matching_ids(student.encoder(), teacher.encoder())
    same = len(ids) == teacher.tokenizer.get_vocab_size() and bool((ids == np.arange(len(ids))).all())
    return DistilBert(words, teacher.model, config.distilbert, teacher_ids=None if same else torch.from_numpy(ids))
