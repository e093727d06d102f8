"""The ladder of taggers on the user's own annotations: CRF, BiLSTMs, encoders, BiLSTMs distilled from an encoder.

Documents are dealt to folds; every (system, fold) is one step that trains on the other folds, tags the test documents
one by one with the clock running, and keeps the predictions. What comes of the predictions is made in `study`; nothing
is chosen on a test fold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from slonik.core.errors import SlonikError, lookup
from slonik.core.progress import track
from slonik.core.run import StepResult, Steps
from slonik.data.annotations.document import Document, Tagger
from slonik.data.annotations.formats import read_spans_jsonl, write_spans_jsonl
from slonik.runtime.tagging.labels import BioLabels
from slonik.tagging.config import LadderRecipe, System
from slonik.tagging.data import (
    Collection,
    document_folds,
    documents_identity,
    missing_labels,
    read_training_texts,
    text_key,
)
from slonik.tagging.fit import Job, train_one
from slonik.tagging.matching import exact_f1
from slonik.tagging.models import load_tagger

PREDICTIONS = "predictions.jsonl"
MODEL = "model"
Folds: TypeAlias = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Rung:
    """One system on one fold.

    Attributes:
        system: its name. fold: the test fold.
        gold, predicted: the test documents with gold and with predicted spans, in the same order.
        summary: of the step: what the training did, seconds per text, bytes, parameters.
        model: folder of the trained tagger.
        name: as files and folders bear it.
    """

    system: str
    fold: int
    gold: list[Document]
    predicted: list[Document]
    summary: dict[str, Any]
    model: Path
    name: str


@dataclass(frozen=True)
class Ladder:
    """Every rung that was run, systems in the order of the recipe, and what was left out."""

    rungs: list[Rung]
    notes: list[str]

    def of(self, system: str) -> list[Rung]:
        return sorted((rung for rung in self.rungs if rung.system == system), key=lambda rung: rung.fold)

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(rung.system for rung in self.rungs))


def run_ladder(config: LadderRecipe, collection: Collection, steps: Steps) -> Ladder:
    """Train and test every system on its folds; what was done before with the same inputs is read.

    Raises:
        SlonikError: an unknown teacher, one that has seen the test texts, a model that cannot be loaded.
    """
    folds = document_folds(collection.documents, config.folds, config.fold_seed)
    notes = missing_labels(collection.documents, folds, collection.counts)
    systems = _present(config, notes)
    _check_teachers(systems)
    _check_unseen(config, systems, collection.documents, folds)
    for note in notes:
        steps.announce(note)
    work = _Work(config, collection, folds, steps)
    numbers = sorted({fold for system in systems for fold in _folds_of(system, config)})
    rungs = [work.rung(system, fold) for fold in numbers for system in systems if fold in _folds_of(system, config)]
    place = {system.name: number for number, system in enumerate(systems)}
    return Ladder(sorted(rungs, key=lambda rung: (place[rung.system], rung.fold)), notes)


def chosen_systems(config: LadderRecipe, names: Sequence[str], unlabelled: Sequence[str]) -> LadderRecipe:
    """The recipe with only the systems of `names` (none = all) and those they learn from, distilled on other texts.

    Args:
        unlabelled: text files instead of those of the lessons; none = as they are.

    Raises:
        SlonikError: a name that the recipe does not have.
    """
    known = {system.name: system for system in config.systems}
    wanted: set[str] = set()
    waiting = list(names or known)
    while waiting:
        system = lookup(waiting.pop(), known, "system of the recipe")
        wanted.add(system.name)
        waiting += [name for name in _learns_from(system) if name in known and name not in wanted]
    kept = []
    for system in config.systems:
        if system.name not in wanted:
            continue
        lesson = system.lesson
        if lesson is not None and unlabelled:
            lesson = lesson.model_copy(update={"unlabelled": tuple(unlabelled)})
        kept.append(system.model_copy(update={"lesson": lesson}))
    if unlabelled and not any(system.lesson is not None for system in kept):
        raise SlonikError(
            "--unlabelled texts are for systems with a teacher, and none that is run has one: leave it out"
        )
    return config.model_copy(update={"systems": tuple(kept)})


class _Work:
    """What the steps of one ladder share."""

    def __init__(
        self, config: LadderRecipe, collection: Collection, folds: Sequence[Sequence[int]], steps: Steps
    ) -> None:
        self.config, self.collection, self.folds, self.steps = config, collection, folds, steps
        self.labels = BioLabels.of(collection.labels)
        self.done: dict[tuple[str, int], StepResult] = {}

    def rung(self, system: System, fold: int) -> Rung:
        """Run one step, or read what it made before."""
        test = [self.collection.documents[index] for index in self.folds[fold]]
        held = set(self.folds[fold])
        others = [document for index, document in enumerate(self.collection.documents) if index not in held]
        job = Job(
            system=system, labels=self.labels, documents=others, stopping=self.config.stopping,
            overlap=self.config.overlap, seed=self.config.seed,
            teacher=self._teacher(system, fold), members=[self._made(name, fold) for name in system.members],
        )  # fmt: skip
        name, title = f"{system.file_name}-fold{fold}", f"{system.name}, fold {fold}"
        inputs = {**job.inputs, "test": documents_identity(test)}
        result = self.steps.step(name, inputs, title, _train_and_tag(job, test, self.steps))
        self.done[(system.name, fold)] = result
        predicted = list(read_spans_jsonl(result.folder / PREDICTIONS))
        if result.fresh:
            self.steps.announce(f"{title}: F1 {result.summary['f1']:.4f} in {result.seconds / 60:.1f} min")
        return Rung(system.name, fold, test, predicted, result.summary, result.folder / MODEL, name)

    def _teacher(self, system: System, fold: int) -> Path | None:
        return None if system.lesson is None else self._made(system.lesson.teacher, fold)

    def _made(self, name: str, fold: int) -> Path:
        """The tagger that another system of the ladder became on this fold; a folder from elsewhere."""
        made = self.done.get((name, fold))
        return made.folder / MODEL if made else Path(name)


def _train_and_tag(job: Job, test: list[Document], steps: Steps) -> Callable[[Path], Mapping[str, Any]]:
    def work(folder: Path) -> dict[str, Any]:
        summary = train_one(job, folder / MODEL, steps.scratch(), steps.folder / "teacher")
        tagger = load_tagger(folder / MODEL)
        predicted, seconds = tag_one_by_one(tagger, test)
        write_spans_jsonl(predicted, folder / PREDICTIONS)
        facts = tagger.describe()
        kept = {name: facts[name] for name in ("kind", "parameters", "bytes", "weights_hash")}
        times = {"milliseconds_per_text": 1000 * float(np.median(seconds)), "texts": len(test)}
        score = exact_f1(test, [document.spans for document in predicted])
        return {**summary, **kept, **times, "f1": score}

    return work


def tag_one_by_one(tagger: Tagger, documents: Sequence[Document]) -> tuple[list[Document], list[float]]:
    """The documents with the tagger's spans, and the processor seconds of each, one text a call."""
    tagger.tag([documents[0].text[:200]])  # what is made at the first call is no time per text
    predicted, seconds = [], []
    for document in track(documents, f"tagging with {tagger.name}"):
        started = time.process_time()
        spans = tagger.tag([document.text])[0]
        seconds.append(time.process_time() - started)
        predicted.append(replace(document, spans=tuple(spans), annotations=(), tokens=()))
    return predicted, seconds


def _present(config: LadderRecipe, notes: list[str]) -> list[System]:
    """The systems without optional ones whose model folder is absent, or whose teacher is left out."""
    kept: list[System] = []
    left_out: set[str] = set()
    for system in config.systems:
        model = system.model or ""
        absent = system.optional and bool(model) and not model.startswith("embedded:") and not Path(model).is_dir()
        missing = next((name for name in _learns_from(system) if name in left_out), None) if system.optional else None
        if absent or missing is not None:
            left_out.add(system.name)
            notes.append(f"{system.name} is left out: there is no {model if absent else missing}")
        else:
            kept.append(system)
    return kept


def _learns_from(system: System) -> list[str]:
    """The names of the taggers that a system needs: its teacher, the members of an ensemble."""
    return [*([system.lesson.teacher] if system.lesson is not None else []), *system.members]


def _check_teachers(systems: Sequence[System]) -> None:
    before: dict[str, System] = {}
    names = {system.name for system in systems}
    for system in systems:
        for name in _learns_from(system):
            what = "is made of" if name in system.members else "learns from"
            if name in names and name not in before:
                raise SlonikError(f"{system.name!r} {what} {name!r}, which must come before it in the recipe")
            if name not in names and not Path(name).is_dir():
                part = "member" if name in system.members else "teacher"
                raise SlonikError(
                    f"the {part} {name!r} of {system.name!r} is neither a system of the recipe nor a folder"
                )
            if name in before and before[name].nested:
                raise SlonikError(f"{system.name!r} {what} {name!r}, whose entities lie within one another: it cannot")
        before[system.name] = system


def _check_unseen(config: LadderRecipe, systems: Sequence[System], documents: Sequence[Document], folds: Folds) -> None:
    """Refuse taggers from elsewhere, as a start or as a teacher, that were trained on the test documents."""
    for system in systems:
        outside = [*_learns_from(system), *system.hand.advisers]
        for source in (name for name in (system.model, *outside) if name is not None):
            known = read_training_texts(source)
            for fold in _folds_of(system, config):
                met = sum(text_key(documents[index].text) in known for index in folds[fold])
                if met:
                    raise SlonikError(
                        f"{system.name!r} would learn from {source}, which was trained on {met} of the "
                        f"{len(folds[fold])} test texts of fold {fold}: make that one a system of the recipe"
                    )


def _folds_of(system: System, config: LadderRecipe) -> tuple[int, ...]:
    return config.run_folds if system.folds is None else system.folds
