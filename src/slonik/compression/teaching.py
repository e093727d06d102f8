"""Teach a student what its original computes: vectors and states of an encoder, answers of a model with a head.

What `slonik compress` and `slonik distill` share: checks before any work, what decides the step, the training itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.compression.config import CorpusConfig, DistillConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.headed import HeadedEncoder
from slonik.compression.targets import Teaching
from slonik.compression.task_texts import examples_input, own_inputs, task_texts, texts_of
from slonik.compression.task_training import train_task_student
from slonik.compression.training import distilling_inputs, train_student
from slonik.core.errors import SlonikError
from slonik.core.protocols import Encoder
from slonik.core.run import Announce, Run
from slonik.models.vocabulary import matching_ids
from slonik.train.run_state import RunSummary


def check_teaching(teacher: HeadedEncoder, corpus: CorpusConfig, config: DistillConfig | None) -> None:
    """Refuse what this teacher cannot be asked for, before any work.

    Raises:
        SlonikError: fields for heads without a head, further teachers beside a head, or rows that do not fit.
    """
    if config is not None:
        _check_fields(teacher, corpus, config)
    if teacher.task is None:
        given: dict[str, Any] = {"corpus.examples": corpus.examples}
        if config is not None:
            given["distill.texts_of_input"] = config.texts_of_input
            plain = type(config.terms)()
            for name in ("outputs", "outputs_temperature"):
                given[f"distill.terms.{name}"] = getattr(config.terms, name) != getattr(plain, name)
        for name, value in given.items():
            if value:
                raise SlonikError(f"{name} is for models with a head for a task, and {teacher.name} is {teacher.kind}")
        return
    if config is None:
        if corpus.examples:
            raise SlonikError("corpus.examples are rows to distil on, and distillation is left out: leave them out too")
        return
    if config.teachers:
        raise SlonikError("a model with a head for a task has one teacher, its original: leave out further teachers")
    own_inputs(teacher.task.config, corpus.examples, texts_of(teacher.task.config, config.texts_of_input))


def _check_fields(teacher: HeadedEncoder, corpus: CorpusConfig, config: DistillConfig) -> None:
    """Refuse fields that would do nothing."""
    own = {"blend": config.blend is not None, "output_map": config.output_map, "fold_prefix": config.fold_prefix}
    if teacher.task is not None and any(own.values()):
        name = next(name for name, given in own.items() if given)
        raise SlonikError(f"distill.{name} is for sentence encoders, and {teacher.name} is {teacher.kind}")
    if config.output_map and not teacher.encoder.sentence.plain:
        raise SlonikError(
            f"{teacher.name} makes its vector by more than one pooling ({teacher.encoder.sentence.in_words()}), and an "
            "output map would replace that: leave out output_map"
        )
    if config.fold_prefix and not teacher.encoder.sentence.prefix(None):
        raise SlonikError(
            f"distill.fold_prefix: {teacher.name} puts no prefix before texts, so there is none to fold in"
        )
    given = {
        "contrastive": ("translations", bool(corpus.pairs and corpus.train_pairs)),
        "pairs": ("translations", bool(corpus.pairs and corpus.train_pairs)),
        "near": ("near pairs", bool(corpus.near_pairs)),
    }
    for name, (what, there) in given.items():
        asked = name in config.terms.model_fields_set and getattr(config.terms, name)
        if asked and teacher.task is not None:
            raise SlonikError(f"distill.terms.{name} is for sentence encoders, and {teacher.name} is {teacher.kind}")
        if asked and not there:
            raise SlonikError(f"distill.terms.{name} is of {what}, and the corpus has none: give some, or leave it out")
    if config.fold_prefix and "without_prefix" in corpus.model_fields_set and corpus.without_prefix:
        raise SlonikError(
            f"corpus.without_prefix is {corpus.without_prefix:g} and distill.fold_prefix leaves every prefix out: "
            "give one of them"
        )


def token_map(
    student: HeadedEncoder, teacher: HeadedEncoder, config: DistillConfig, *, narrower: bool = False
) -> NDArray[np.int64] | None:
    """(V,) the teacher's id of each of the student's tokens; None where the student has other tokens or another width
    and only vectors of whole texts are compared.

    Args:
        narrower: the student has fewer of the teacher's dimensions, and which they are is known.

    Raises:
        SlonikError: states of tokens or a head's answers are to be compared, and the tokens or widths do not fit.
    """
    own, theirs = student.encoder, teacher.encoder
    by_tokens = config.terms.hidden or config.terms.relations or teacher.task is not None
    try:
        return matching_ids(own, theirs, narrower=narrower)
    except SlonikError as error:
        if by_tokens:
            terms = "" if teacher.task is not None else "; or compare whole texts alone: distill.terms.hidden = 0"
            raise SlonikError(f"{error}{terms}") from None
        if config.output_map:
            raise SlonikError(
                f"an output map begins from the states that {theirs.name} and {own.name} share, and they have other "
                "tokens or widths: leave out output_map"
            ) from None
        return None


def teaching_inputs(
    teacher: HeadedEncoder, corpus: CorpusConfig, config: DistillConfig, others: Mapping[str, Encoder], frame: Run
) -> dict[str, Any]:
    """What decides a distillation beside sample, teacher and student."""
    found = distilling_inputs(corpus, config, others, frame)
    return found | examples_input(corpus, frame) if teacher.task is not None else found


def teach(
    teacher: HeadedEncoder,
    student: HeadedEncoder,
    token_ids: NDArray[np.int64] | None,
    sample: CorpusSample,
    corpus: CorpusConfig,
    config: DistillConfig,
    folder: Path,
    *,
    kept: Sequence[int] | None = None,
    seed: int = 0,
    further_teachers: Mapping[str, Encoder] | None = None,
    announce: Announce,
) -> RunSummary:
    """Train `student` in place; see `train_student` and `train_task_student`.

    Args:
        kept: hidden dimensions of the teacher that the student has, in order; None = all.
        announce: is told what a head is taught on.
    """
    if teacher.task is None or student.task is None:
        teaching = Teaching(
            teacher.encoder, student.encoder, token_ids, sample, corpus, config, seed, kept, further_teachers or {}
        )
        return train_student(teaching, folder)
    assert token_ids is not None  # a head is taught only where `token_map` found whose tokens are whose
    texts = task_texts(teacher.task.config, sample, corpus, seed, texts=config.texts_of_input)
    announce(f"{teacher.name} is {teacher.kind}: its head is taught on {texts.about}")
    return train_task_student(
        teacher.task, student.task, token_ids, texts, config, folder, kept=kept, seed=seed
    )  # fmt: skip
