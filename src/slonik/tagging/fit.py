"""Train one tagger of any kind on documents: from everything that decides it to a folder with its passport.

The test documents of a fold never come here: the development set, which chooses the checkpoint, is a share of the
training documents. A CRF over features is fitted by its own package; everything else by the loop.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.identity import checkpoint_identity, corpus_identity
from slonik.core.passport import Passport, Step
from slonik.data.annotations.document import Document
from slonik.data.readers import FORMATS
from slonik.finetuning.train import prepared, train_config
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import resolve
from slonik.models.precision import precision_on
from slonik.models.task_model import TaskModel
from slonik.runtime.tagging.labels import BioLabels
from slonik.tagging.calibrate import calibrate, calibrate_by, uncalibrated
from slonik.tagging.config import System
from slonik.tagging.data import (
    documents_identity,
    hold_out,
    line_keys,
    read_training_texts,
    text_key,
    write_training_texts,
)
from slonik.tagging.distillation import Teacher, draw_unlabelled, texts_with_most_names
from slonik.tagging.making import fixed_vectors, new_span_tagger, new_tagger, save_tagger
from slonik.tagging.matching import exact_f1
from slonik.tagging.material import Material, open_teacher, training_examples
from slonik.tagging.models import load_tagger
from slonik.tagging.models.ensemble_tagger import EnsembleTagger, check_members, save_ensemble
from slonik.tagging.models.feature_crf import FeatureCrf, train_crf
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.span_tagger import SpanTagger
from slonik.tagging.models.word_features import (
    WordFeatures,
)
from slonik.tagging.objective import (
    NO_LABEL,
    Example,
    TaggingObjective,
)
from slonik.tagging.outside import outside_identities, read_outside
from slonik.tagging.spans import SpanObjective, span_collate, span_evaluation, span_examples
from slonik.train.loaders import PadFields, example_loader
from slonik.train.loop import run
from slonik.train.protocols import Batch
from slonik.train.run_state import RunSummary

METRICS = "metrics.jsonl"
_ENOUGH_DOCUMENTS, _MOST_APART = 40, 1 / 3  # to calibrate a tagger that chooses nothing on them
_TIE = 1e-6  # weight of the share of words with the right label beside F1


@dataclass(frozen=True, kw_only=True)
class Job:
    """One tagger to train.

    Attributes:
        system: which. labels: of the whole collection.
        documents: with gold spans, those to fit and the development set together.
        stopping: share of the development set. overlap: tokens that neighbouring windows share.
        seed: of the split, the weights, the order.
        model: an encoder that is loaded, instead of the one that `system` names; it is not changed.
        teacher: folder of the teacher or the loaded one, where there is one.
        members: folders of the taggers of an ensemble.
        member_systems: how each of them was trained on these documents; None for one from elsewhere.
        unseen: the members of an ensemble have seen none of the documents, which calibrate it.
        parts: copies of the teacher, each with the keys of texts that it has not seen and teaches.
        held_back: keys of lines of test texts, which no unlabelled text may hold.
        entity_share: expected share of words in entities, for texts that are annotated in part.
        asked: what the passport says was asked for; decides nothing.
    """

    system: System
    labels: BioLabels
    documents: Sequence[Document]
    stopping: float
    overlap: int
    seed: int
    model: TorchEncoder | None = None
    teacher: Path | Teacher | None = None
    members: Sequence[Path] = ()
    member_systems: Sequence[System | None] = ()
    unseen: bool = False
    parts: Sequence[tuple[Path, frozenset[str]]] = ()
    held_back: frozenset[str] = frozenset()
    entity_share: float = 0.1
    asked: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the weights: settings, and what documents, models and texts hold.

        Raises:
            SlonikError: a model or a text file is missing.
            MissingExtra: the packages of that kind of tagger are not installed.
        """
        return {**self._settings(), "system": self.system.settings(), **self.identities}

    @cached_property
    def identities(self) -> dict[str, str]:
        """What is read -> its identity: `documents`, `start`, and with a teacher `teacher` and `unlabelled`."""
        found: dict[str, str] = {"documents": documents_identity(self.documents)}
        if self.system.kind != "ensemble":
            found["start"] = self._start()
        if isinstance(self.teacher, NeuralTagger | EnsembleTagger):
            found["teacher"] = self.teacher.identity()
        elif self.teacher is not None:
            found["teacher"] = checkpoint_identity(resolve(self.teacher))
        if self.system.lesson is not None and self.system.lesson.unlabelled:
            found["unlabelled"] = corpus_identity(self.system.lesson.unlabelled, suffixes=FORMATS)
        for number, member in enumerate(self.members, start=1):
            found[f"member {number}"] = checkpoint_identity(resolve(member))
        for number, (copy, texts) in enumerate(self.parts, start=1):
            found[f"copy {number} of the teacher"] = sha256_json([checkpoint_identity(resolve(copy)), sorted(texts)])
        if self.held_back and "unlabelled" in found:
            found["held back"] = sha256_json(sorted(self.held_back))
        return found | outside_identities(self.system)

    def passport_step(self, seconds: float, summary: dict[str, Any]) -> Step:
        """The entry of this training for the tagger's passport."""
        inputs = {name: str(identity) for name, identity in self.identities.items()}
        config = {**self._settings(), **self.asked}
        return Step(command="finetune", config=config, inputs=inputs, seed=self.seed, seconds=seconds, summary=summary)

    def _settings(self) -> dict[str, Any]:
        facts = {"stopping": self.stopping, "overlap": self.overlap, "seed": self.seed}
        if any(document.unknown for document in self.documents):
            facts["entity_share"] = self.entity_share
        return {"labels": list(self.labels.classes), **facts}

    def _start(self) -> str:
        """Identity of what the untrained tagger is made of: an encoder, or word vectors and dictionaries."""
        if self.system.kind == "crf":
            from slonik.tagging.models.feature_crf import resources_identity

            return resources_identity()
        if self.system.kind == "bilstm":
            return fixed_vectors(self.system).content_hash()
        if self.model is not None:
            return self.model.identity()
        assert self.system.model is not None
        return checkpoint_identity(resolve(self.system.model))


def train_one(job: Job, folder: Path, scratch: Path, cache: Path) -> dict[str, Any]:
    """Train the tagger of a job and write it to `folder`.

    Args:
        scratch: keeps checkpoints; the same call after a crash goes on from there.
        cache: folder of soft labels.

    Returns:
        What the training did: documents, steps, seconds, F1 of the development set.

    Raises:
        SlonikError: as reading, training and saving do.
    """
    if job.system.kind == "ensemble":
        return _join(job, folder) | _calibrated(job, folder, scratch)
    if job.system.kind == "crf" or job.system.nested:
        job = _whole_alone(job)
    if job.system.kind == "crf":  # fitted to all documents: it has no checkpoint to choose
        made, counts = _fit_crf(job, job.documents, folder)
        step = made.passport.lineage[-1]
        found = {"fit": len(job.documents), "stop": 0, "seconds": step.seconds, **step.summary, **counts}
        return found | _calibrated(job, folder, scratch)
    fit, development = hold_out(job.documents, job.stopping, job.seed)
    outside = read_outside(job.system, job.labels.classes, fit, job.seed)
    lesson = job.system.lesson
    teacher = open_teacher(job.teacher) if job.teacher is not None else None
    unlabelled = draw_unlabelled(lesson, job.seed) if lesson else []
    drawn = len(unlabelled)
    unlabelled = [text for text in unlabelled if not line_keys([text]) & job.held_back]
    of_tests = drawn - len(unlabelled)
    candidates: list[str] = []
    if lesson and teacher is not None:
        candidates = unlabelled if len(unlabelled) > lesson.max_texts else []
        unlabelled = texts_with_most_names(teacher, unlabelled, lesson.max_texts, cache)
    tagger: NeuralTagger | SpanTagger
    if job.system.nested:
        tagger = new_span_tagger(job.system, job.labels, fit, overlap=job.overlap, seed=job.seed, model=job.model)
    else:
        tagger = new_tagger(
            job.system, job.labels, fit, unlabelled=unlabelled, overlap=job.overlap, seed=job.seed, model=job.model,
            lists=outside.lists,
        )  # fmt: skip
    if outside.first:
        _train_first(tagger, job, outside.first, scratch / "first", cache)
        scratch = scratch / "then"
    copies = [(open_teacher(copy), texts) for copy, texts in job.parts]
    material = Material(
        fit, development, unlabelled, teacher, cache, candidates=candidates, copies=outside.copies, parts=copies,
        entity_share=job.entity_share,
    )  # fmt: skip
    if of_tests:
        material.left_out["unlabelled texts with lines of test texts left out"] = of_tests
    trained = fit_tagger(tagger, job.system, material, scratch, seed=job.seed)
    best = trained.best
    summary = {
        "fit": len(fit), "stop": len(development), "unlabelled": len(unlabelled), "steps": trained.step,
        "tokens": trained.tokens, "seconds": trained.seconds, "f1_stop": best.metrics["f1"] if best else None,
        "best_step": best.step if best else None, "precision": trained.precision, **material.left_out,
        **outside.counts,
    }  # fmt: skip
    sources = [job.system.model, teacher.folder if teacher is not None else None]
    texts = [document.text for document in (*job.documents, *outside.first)]
    save_tagger(tagger, folder, job.passport_step(trained.seconds, summary), texts, [one for one in sources if one])
    if trained.metrics.is_file():
        shutil.copy(trained.metrics, folder / METRICS)
    return summary | calibrate(folder, tagger, development)


def _whole_alone(job: Job) -> Job:
    """The job without documents that are annotated in part, which this kind of tagger cannot be trained on."""
    whole = [document for document in job.documents if not document.unknown]
    if not any(document.spans for document in whole):
        what = "a span head" if job.system.nested else "a CRF over hand features"
        raise SlonikError(f"{what} takes whole annotations only, and every text is annotated in part: give bilstm")
    return job if len(whole) == len(job.documents) else replace(job, documents=whole)


def _fit_crf(job: Job, documents: Sequence[Document], folder: Path) -> tuple[FeatureCrf, dict[str, int]]:
    """Fit a CRF over hand features to documents and write it; and what came from outside of them."""
    outside = read_outside(job.system, job.labels.classes, documents, job.seed)
    inputs = {name: str(identity) for name, identity in job.identities.items()}
    made = train_crf(
        documents, folder, job.system.hand, seed=job.seed, inputs=inputs, name=job.system.name,
        lists=outside.lists, substituted=outside.copies, balanced=job.system.balanced,
    )  # fmt: skip
    return made, dict(outside.counts)


def _calibrated(job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Calibrate a tagger that has seen the development documents by one like it that has not; facts of it."""
    if job.unseen:
        return calibrate(folder, load_tagger(folder), job.documents)
    if len(job.documents) < 2:
        what = "no documents were given to calibrate it on" if not job.documents else "one document is not enough"
        return uncalibrated(what)
    if job.system.kind == "ensemble":
        return _calibrated_ensemble(job, folder, scratch)
    fit, _ = hold_out(job.documents, job.stopping, job.seed)
    if not job.system.hand.calibrate:
        return {}
    if not any(document.spans for document in fit):
        return uncalibrated("without the documents that calibrate it none has a span")
    share = max(job.stopping, min(_MOST_APART, _ENOUGH_DOCUMENTS / len(job.documents)))
    fit, development = hold_out(job.documents, share, job.seed)
    with _away(scratch) as aside:
        said = _fit_crf(job, fit, aside / "crf")[0].tag([document.text for document in development])
    return {"f1_stop": exact_f1(development, said), **calibrate_by(folder, development, said)}


def _calibrated_ensemble(job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Calibrate an ensemble: networks have not seen the development documents, CRFs are fitted again without."""
    fit, development = hold_out(job.documents, job.stopping, job.seed)
    keys = {text_key(document.text) for document in development}
    members: list[Any] = []
    with _away(scratch) as aside:
        systems = job.member_systems or [None] * len(job.members)
        for number, (member, system) in enumerate(zip(map(resolve, job.members), systems, strict=True)):
            if system is None and keys & read_training_texts(member):
                return uncalibrated(f"{member} was trained on documents that would calibrate it")
            if system is not None and system.kind == "ensemble":
                return uncalibrated(f"its member {system.name} is an ensemble itself")
            if system is None or system.kind != "crf":
                members.append(load_tagger(member))
            elif system.hand.calibrate:
                members.append(_fit_crf(replace(job, system=system), fit, aside / str(number))[0])
            else:
                return uncalibrated(f"hand.calibrate of its member {system.name} is off")
        return calibrate(folder, EnsembleTagger(job.system.name, members, balance=job.system.balanced), development)


@contextmanager
def _away(scratch: Path) -> Iterator[Path]:
    """A folder for taggers that calibrate another one, gone when that is done."""
    aside = scratch / "without-development"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _train_first(
    tagger: NeuralTagger | SpanTagger, job: Job, documents: Sequence[Document], scratch: Path, cache: Path
) -> None:
    """Train on texts of another kind before; a share of them chooses the checkpoint that training goes on from."""
    assert job.system.first is not None
    fit, development = hold_out(documents, job.stopping, job.seed)
    tuning = {**job.system.tuning, "epochs": job.system.first.epochs}
    before = job.system.model_copy(update={"tuning": tuning, "lesson": None, "substitution": None})
    fit_tagger(tagger, before, Material(fit, development, [], None, cache), scratch, seed=job.seed)


def _join(job: Job, folder: Path) -> dict[str, Any]:
    """Write the ensemble of a job's members."""
    members = [load_tagger(member) for member in job.members]
    labels = check_members(members)[0].labels
    step = job.passport_step(0.0, {"members": len(members)})
    save_ensemble(
        [resolve(member) for member in job.members], labels, folder, Passport(name=job.system.name).with_step(step)
    )
    write_training_texts(folder, [document.text for document in job.documents], also_of=list(job.members))
    return {"fit": 0, "stop": 0, "seconds": 0.0, "members": len(members)}


def fit_tagger(
    tagger: NeuralTagger | SpanTagger, system: System, material: Material, folder: Path, *, seed: int
) -> RunSummary:
    """Train `tagger` in place; the same call after a crash goes on from the last checkpoint in `folder`.

    Args:
        folder: of this very training: one of other inputs needs another.

    Raises:
        SlonikError: as the loop does; the teacher tags other classes.
    """
    tuning, lesson = system.full_tuning(), system.lesson
    if isinstance(tagger, SpanTagger):
        examples: Sequence[Example] = span_examples(material.fit, tagger, material.left_out)
        collate = span_collate(tagger)
        objective: SpanObjective | TaggingObjective = SpanObjective()
        evaluate = span_evaluation(tagger, material.development)
    else:
        examples = training_examples(tagger, lesson, material, around=system.context > 0)
        if isinstance(tagger.features, WordFeatures):
            tagger.features.pin()
        collate, evaluate = _collate(tagger), _evaluation(tagger, material.development)
        objective = TaggingObjective(
            teacher_weight=lesson.weight if lesson else 0.0,
            temperature=lesson.temperature if lesson else 1.0,
            smoothing=tuning.label_smoothing,
            entity_share=material.entity_share if any(one.unknown for one in material.fit) else None,
        )
    loader = example_loader(examples, collate, max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens, seed=seed)
    plan = train_config(tuning, len(loader.plan(0)), seed)
    model = tagger.model
    precision = precision_on(tagger.device, tuning.precision)
    tagger.autocast = torch.bfloat16 if precision == "bf16" else None
    try:
        with prepared(model, tuning) if isinstance(model, TaskModel) else nullcontext():
            return run(
                model, objective, loader, plan, folder, evaluate=evaluate, identity={"system": system.settings()},
            )  # fmt: skip
    finally:
        tagger.autocast = None
        if isinstance(tagger, SpanTagger):
            tagger.refresh()


def _collate(tagger: NeuralTagger) -> Callable[[Sequence[Example]], Batch]:
    pad = tagger.model.encoder.pad_id if isinstance(tagger.model, TaskModel) else 0
    padded = PadFields({"input_ids": pad, "tags": NO_LABEL})

    def collate(examples: Sequence[Example]) -> Batch:
        return tagger.features.add_forms(padded(examples))

    return collate


def _evaluation(tagger: NeuralTagger, documents: Sequence[Document]) -> Callable[[nn.Module], dict[str, float]]:
    """The loop's evaluation: exact-span micro F1 of the development set; rightly labelled words decide a tie.

    With few documents F1 is 0 for a while, and the untrained tagger would win.
    """
    texts = [document.text for document in documents]
    words = [tagger.features.split(text) for text in texts]
    gold = np.concatenate([tagger.bio.encode(one.spans, own) for one, own in zip(documents, words, strict=True)])

    def evaluate(model: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            found = tagger.tag(texts)
        score = exact_f1(documents, found)
        predicted = np.concatenate([tagger.bio.encode(spans, own) for spans, own in zip(found, words, strict=True)])
        accuracy = float((predicted == gold).mean()) if len(gold) else 0.0
        return {"f1": score, "accuracy": accuracy, "choice": score + _TIE * accuracy}

    return evaluate
