"""The ladder of taggers on the user's own annotations: CRF, BiLSTMs, encoders, BiLSTMs distilled from an encoder.

Documents are dealt to folds; every (system, fold, seed) is one step that trains on the other folds, tags the test
documents one by one with the clock running, and keeps the predictions. One fold may be kept: nothing sees its documents
until it is asked for. Every look at a test fold is written down (`looks`). What comes of the predictions is made in
`study`; nothing is chosen on a test fold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import derive_seed
from slonik.core.progress import track
from slonik.core.run import StepResult, Steps
from slonik.data.annotations.document import Document, Tagger
from slonik.data.annotations.formats import read_spans_jsonl, write_spans_jsonl
from slonik.data.readers import read_texts
from slonik.runtime.tagging.labels import BioLabels
from slonik.tagging.breakdowns import names_in
from slonik.tagging.config import LadderRecipe, System
from slonik.tagging.data import (
    Collection,
    document_folds,
    documents_identity,
    line_keys,
    missing_labels,
    read_training_texts,
    text_key,
)
from slonik.tagging.fit import Job, train_one
from slonik.tagging.gazetteers import read_gazetteers
from slonik.tagging.matching import exact_f1
from slonik.tagging.models import load_tagger
from slonik.tagging.outside import check_substituted

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
        seed: of the training.
        share: of the training texts; below 1 for the learning curve.
        names: what the documents that it was trained on mark (`breakdowns.name_key`).
        fresh: it was trained and tested now, not in an earlier call.
    """

    system: str
    fold: int
    gold: list[Document]
    predicted: list[Document]
    summary: dict[str, Any]
    model: Path
    name: str
    seed: int = 0
    share: float = 1.0
    names: frozenset[str] = frozenset()
    fresh: bool = False


@dataclass(frozen=True)
class Ladder:
    """Every rung that was run, systems in the order of the recipe, and what was left out."""

    rungs: list[Rung]
    notes: list[str]

    def of(self, system: str, share: float = 1.0) -> list[Rung]:
        """Those of a system by fold, then by seed."""
        found = (rung for rung in self.rungs if rung.system == system and rung.share == share)
        return sorted(found, key=lambda rung: (rung.fold, rung.seed))

    @property
    def shares(self) -> list[float]:
        """Of the training texts, all of them last."""
        return sorted({rung.share for rung in self.rungs})

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(rung.system for rung in self.rungs))


def run_ladder(config: LadderRecipe, collection: Collection, steps: Steps, *, kept: bool = False) -> Ladder:
    """Train and test every system on its folds; what was done before with the same inputs is read.

    Args:
        kept: test on the fold that is kept, instead of the others.

    Raises:
        SlonikError: an unknown teacher, one that has seen the test texts, a model that cannot be loaded.
    """
    folds = document_folds(collection.documents, config.folds, config.fold_seed)
    notes = missing_labels(collection.documents, folds, collection.counts)
    config = _with_kept(config, kept)
    systems = _present(config, notes)
    if not systems:
        raise SlonikError(f"no system is left to run: {'; '.join(notes)}")
    _check_teachers(systems)
    _check_outside(systems, collection.labels)
    _check_unseen(config, systems, collection.documents, folds)
    _check_unlabelled(config, systems, collection.documents, folds, notes)
    for note in notes:
        steps.announce(note)
    work = _Work(config, collection, folds, steps, systems)
    numbers = sorted({fold for system in systems for fold in _folds_of(system, config)})
    rungs = [
        work.rung(system, Cell(fold, config.seed + number, share))
        for share in (1.0, *config.learning)
        for fold in numbers
        for number in range(config.seeds)
        for system in systems
        if fold in _folds_of(system, config)
    ]
    place = {system.name: number for number, system in enumerate(systems)}
    order = sorted(rungs, key=lambda rung: (place[rung.system], -rung.share, rung.fold, rung.seed))
    return Ladder(order, notes)


def _with_kept(config: LadderRecipe, kept: bool) -> LadderRecipe:
    """The recipe for the kept fold alone, or without it.

    Raises:
        SlonikError: no fold is kept, or it is among those to run.
    """
    if kept:
        if config.kept_fold is None:
            raise SlonikError("--kept-fold tests on the fold that the recipe keeps (kept_fold), and it keeps none")
        systems = tuple(system.model_copy(update={"folds": None}) for system in config.systems)
        return config.model_copy(update={"run_folds": (config.kept_fold,), "systems": systems})
    used = {*config.run_folds, *(fold for system in config.systems for fold in system.folds or ())}
    if config.kept_fold in used:
        raise SlonikError(
            f"fold {config.kept_fold} is kept until the end and cannot be run beside the others: leave it out of the "
            "folds, and ask for it at last with --kept-fold"
        )
    return config


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


@dataclass(frozen=True)
class Cell:
    """Where in the ladder a training stands.

    Attributes:
        fold: the test fold. seed: of the training. share: of the training texts.
        part, parts: of a copy of a teacher: the part of the texts that it does not see, and how many there are.
    """

    fold: int
    seed: int
    share: float = 1.0
    part: int = 0
    parts: int = 0


class _Work:
    """What the steps of one ladder share."""

    def __init__(
        self, config: LadderRecipe, collection: Collection, folds: Folds, steps: Steps, systems: Sequence[System]
    ) -> None:
        self.config, self.collection, self.folds, self.steps = config, collection, folds, steps
        self.labels = BioLabels.of(collection.labels)
        self.systems = {system.name: system for system in systems}
        self.done: dict[tuple[str, Cell], StepResult] = {}

    def rung(self, system: System, cell: Cell) -> Rung:
        """Run one step, or read what it made before."""
        test = [self.collection.documents[index] for index in self.folds[cell.fold]]
        result = self._step(system, cell, test)
        documents = self._documents(cell)
        predicted = list(read_spans_jsonl(result.folder / PREDICTIONS))
        return Rung(
            system.name, cell.fold, test, predicted, result.summary, result.folder / MODEL, self._name(system, cell),
            cell.seed, cell.share, names_in(documents), result.fresh,
        )  # fmt: skip

    def _step(self, system: System, cell: Cell, test: list[Document]) -> StepResult:
        if (system.name, cell) in self.done:
            return self.done[(system.name, cell)]
        documents = self._documents(cell)
        lesson = system.lesson
        job = Job(
            system=system, labels=self.labels, documents=documents, stopping=self.config.stopping,
            overlap=self.config.overlap, seed=cell.seed,
            teacher=self._made(lesson.teacher, cell) if lesson is not None else None,
            members=[self._made(name, cell) for name in system.members],
            member_systems=[self.systems.get(name) for name in system.members],
            parts=self._copies(lesson.teacher, cell, lesson.crossfit) if lesson is not None and lesson.crossfit else (),
            held_back=line_keys(one.text for one in test) if lesson is not None and lesson.leave_out else frozenset(),
        )  # fmt: skip
        name = self._name(system, cell)
        title = f"{system.name}, fold {cell.fold}" + self._title(cell)
        inputs = {**job.inputs, "test": documents_identity(test)}
        result = self.steps.step(name, inputs, title, _train_and_tag(job, test, self.steps))
        if result.fresh:
            self.steps.announce(f"{title}: F1 {result.summary['f1']:.4f} in {result.seconds / 60:.1f} min")
            if why := result.summary.get("uncalibrated"):
                self.steps.announce(f"{title}: {why}")
        self.done[(system.name, cell)] = result
        return result

    def _documents(self, cell: Cell) -> list[Document]:
        """Those to train on: of the other folds but the kept one, the share, without the part of a teacher's copy."""
        held = set(self.folds[cell.fold])
        if self.config.kept_fold is not None:
            held |= set(self.folds[self.config.kept_fold])
        others = [document for index, document in enumerate(self.collection.documents) if index not in held]
        if cell.share < 1:
            others = some_documents(others, cell.share, self.config.fold_seed)
        if cell.parts:
            away = set(_part(others, cell))
            others = [document for index, document in enumerate(others) if index not in away]
        return others

    def _copies(self, teacher: str, cell: Cell, parts: int) -> list[tuple[Path, frozenset[str]]]:
        """Copies of a teacher, and the keys of the texts that each has not seen.

        Raises:
            SlonikError: the teacher is from elsewhere: it cannot be trained again; one part is all the texts.
        """
        if teacher not in self.systems:
            raise SlonikError(
                f"the teacher {teacher} is no system of the recipe, so crossfit cannot train it again: set 0"
            )
        if parts < 2:
            raise SlonikError("crossfit is 1, and a teacher without all the texts learns nothing: give 2 or more, or 0")
        found = []
        whole = self._documents(cell)
        for part in range(parts):
            copy = replace(cell, part=part, parts=parts)
            apart = [whole[index] for index in _part(whole, copy)]
            made = self._step(self.systems[teacher], copy, apart)
            found.append((made.folder / MODEL, frozenset(text_key(one.text) for one in apart)))
        return found

    def _made(self, name: str, cell: Cell) -> Path:
        """The tagger that another system of the ladder becomes there; a folder from elsewhere."""
        if name not in self.systems:
            return Path(name)
        test = [self.collection.documents[index] for index in self.folds[cell.fold]]
        if cell.parts:
            whole = self._documents(replace(cell, part=0, parts=0))
            test = [whole[index] for index in _part(whole, cell)]
        return self._step(self.systems[name], cell, test).folder / MODEL

    def _name(self, system: System, cell: Cell) -> str:
        """As files and folders bear it."""
        name = f"{system.file_name}-fold{cell.fold}"
        name += f"-seed{cell.seed}" if cell.seed != self.config.seed else ""
        name += f"-share{100 * cell.share:g}" if cell.share < 1 else ""
        return name + (f"-without{cell.part}of{cell.parts}" if cell.parts else "")

    def _title(self, cell: Cell) -> str:
        title = f", seed {cell.seed}" if cell.seed != self.config.seed else ""
        title += f", {100 * cell.share:g} % of the texts" if cell.share < 1 else ""
        return title + (f", copy {cell.part + 1} of {cell.parts}" if cell.parts else "")


def some_documents(documents: Sequence[Document], share: float, seed: int) -> list[Document]:
    """A share of the documents, drawn by seed, at least two; a smaller share is part of a larger one."""
    order = np.random.default_rng(derive_seed(seed, "share")).permutation(len(documents))
    return [documents[index] for index in sorted(order[: max(2, round(share * len(documents)))].tolist())]


def _part(documents: Sequence[Document], cell: Cell) -> list[int]:
    """Indices of the documents that a copy of a teacher does not see."""
    order = np.random.default_rng(derive_seed(cell.seed, "copies")).permutation(len(documents))
    return sorted(order[cell.part :: cell.parts].tolist())


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


def _check_outside(systems: Sequence[System], labels: Sequence[str]) -> None:
    """Read the lists of names, and look at the labels to substitute, before the first training."""
    for system in systems:
        read_gazetteers(system.gazetteers, labels)
        made = system.substitution
        check_substituted((made.labels or ()) if made is not None else (), labels)


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
            if name in before and before[name].kind == "crf" and name not in system.members:
                raise SlonikError(
                    f"{system.name!r} learns from {name!r}, a CRF over hand features, which gives no probabilities to "
                    "learn: name a BiLSTM, an encoder or an ensemble as its teacher"
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


def _check_unlabelled(
    config: LadderRecipe, systems: Sequence[System], documents: Sequence[Document], folds: Folds, notes: list[str]
) -> None:
    """Refuse unlabelled texts that hold lines of test texts, or say that they are left out."""
    read: dict[tuple[str, ...], list[frozenset[str]]] = {}
    for system in systems:
        lesson = system.lesson
        if lesson is None or not lesson.unlabelled:
            continue
        if lesson.unlabelled not in read:
            read[lesson.unlabelled] = [line_keys([text]) for text in read_texts(lesson.unlabelled)]
        for fold in _folds_of(system, config):
            test = line_keys(documents[index].text for index in folds[fold])
            met = sum(bool(keys & test) for keys in read[lesson.unlabelled])
            if met and not lesson.leave_out:
                raise SlonikError(
                    f"{met:,} unlabelled texts of {system.name!r} ({', '.join(lesson.unlabelled)}) hold a line "
                    f"of a test text of fold {fold}: take them out, or set lesson.leave_out, which does so by fold"
                )
            if met:
                notes.append(f"{system.name}, fold {fold}: {met:,} unlabelled texts with lines of test texts left out")


def _folds_of(system: System, config: LadderRecipe) -> tuple[int, ...]:
    return config.run_folds if system.folds is None else system.folds
