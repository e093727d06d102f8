"""Train one tagger on annotated texts: what `slonik finetune MODEL --task ner` does, and one step of the ladder.

Reads the annotations, holds out some documents to choose the checkpoint, trains, writes the folder. Measuring on test
documents is not done here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.core.records import Record
from slonik.core.run import Steps
from slonik.data.annotations.document import Document
from slonik.models.checkpoint_files import hash_weights, read_tensors
from slonik.models.kinds import resolve
from slonik.tagging.config import System, TaggerRecipe
from slonik.tagging.data import Collection, hold_out, read_collection
from slonik.tagging.evaluation.run import score
from slonik.tagging.models import load_tagger
from slonik.tagging.models.bio import BioLabels
from slonik.tagging.teacher import draw_unlabelled
from slonik.tagging.telling import telling_texts
from slonik.tagging.train import Material, new_tagger, open_neural, save_tagger, start_hash, train_tagger

MODEL_FOLDER = "model"
Announce = Callable[[str], None]


def work_folder(out: Path) -> Path:
    """Where the steps of a run for `out` are kept."""
    return out.parent / f"{out.name}.steps"


@dataclass(frozen=True)
class Job:
    """One tagger to train.

    Attributes:
        system: which. labels: of the whole collection. documents: fitting and choosing ones together.
        stopping: share of them that chooses. overlap: tokens that neighbouring windows share.
        seed: of the division, the weights, the order.
        data_key: hash of the documents. teacher: folder of the teacher, where there is a lesson.
        cache: folder of what teachers said.
    """

    system: System
    labels: BioLabels
    documents: list[Document]
    stopping: float
    overlap: int
    seed: int
    data_key: str
    teacher: Path | None
    cache: Path

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the weights: settings, data, and the weights of encoder and teacher."""
        settings = self.system.settings()
        facts = {"stopping": self.stopping, "overlap": self.overlap, "seed": self.seed, "data": self.data_key}
        weights = {"model": self.system.model, "teacher": self.teacher}
        hashes = {name: _weights_hash(model) for name, model in weights.items() if model is not None}
        return {"system": settings, "labels": list(self.labels.classes), "weights": hashes, **facts}


def _weights_hash(model: str | Path) -> str:
    """Hash of the weights in a folder or of an embedded model; empty for a tagger without safetensors."""
    folder = resolve(model)
    return hash_weights(read_tensors(folder)) if list(folder.glob("*.safetensors")) else ""


def train_one(job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Train the tagger of a job and write it to `folder`.

    Args:
        scratch: keeps checkpoints; the same call after a crash goes on from there.

    Returns:
        What the training did: documents, steps, seconds, F1 of the choosing documents.

    Raises:
        SlonikError: as reading, training and saving do.
    """
    if job.system.kind == "crf":  # fitted to all documents: it has no checkpoint to choose
        from slonik.tagging.models.feature_crf import train_crf

        made = train_crf(job.documents, folder, seed=job.seed, inputs={"documents": job.data_key})
        step = made.passport.lineage[-1]
        return {"fit": len(job.documents), "stop": 0, "seconds": step.seconds, **step.summary}
    fit, stop = hold_out(job.documents, job.stopping, job.seed)
    lesson = job.system.lesson
    teacher = open_neural(job.teacher) if job.teacher is not None else None
    unlabelled = draw_unlabelled(lesson, job.seed) if lesson else []
    if lesson and teacher is not None:
        unlabelled = telling_texts(teacher, unlabelled, lesson.max_texts, job.cache)
    tagger = new_tagger(job.system, job.labels, fit, unlabelled=unlabelled, overlap=job.overlap, seed=job.seed)
    start = start_hash(tagger)
    identity = {"documents": job.data_key, "start": start, "unlabelled": len(unlabelled)}
    material = Material(fit, stop, unlabelled, teacher, job.cache)
    found = train_tagger(tagger, job.system, material, scratch, seed=job.seed, identity=identity)
    best = found.best
    summary = {
        "fit": len(fit), "stop": len(stop), "unlabelled": len(unlabelled), "steps": found.step,
        "tokens": found.tokens, "seconds": found.seconds, "f1_stop": best.metrics["f1"] if best else None,
        "best_step": best.step if best else None,
    }  # fmt: skip
    inputs = {"documents": job.data_key, "start": start}
    if teacher is not None:
        inputs["teacher"] = str(teacher.describe()["weights_hash"])
    save_tagger(
        tagger,
        folder,
        Step(
            command="finetune", config=job.inputs, inputs=inputs, seed=job.seed, seconds=found.seconds,
            summary=summary,
        ),
        job.documents,
        taught_by=[source for source in (job.system.model, job.teacher) if source is not None],
    )  # fmt: skip
    if found.metrics.is_file():
        shutil.copy(found.metrics, folder / "metrics.jsonl")
    return summary


@dataclass(frozen=True)
class Trained:
    """What `run_tagging` did.

    Attributes:
        summary: documents, steps, seconds, F1 of the documents that chose the checkpoint.
        records: that F1 with its interval and its parts; none for a CRF over features, which chooses nothing.
    """

    summary: dict[str, Any]
    records: tuple[Record, ...]


def run_tagging(config: TaggerRecipe, announce: Announce = lambda line: None) -> Trained:
    """Train the tagger of a recipe into `config.out`; the same call after a crash goes on.

    Raises:
        SlonikError: bad annotations, a model that is none, `out` is there already.
    """
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SlonikError(f"{out} is there already: choose another --out or remove it")
    collection = read_collection(config.data, config.format, config.mapping)
    tell_counts(collection, announce)
    system, steps = config.system, Steps(work_folder(out), announce)
    job = Job(
        system=system,
        labels=BioLabels.of(collection.labels),
        documents=collection.documents,
        stopping=config.stopping,
        overlap=config.overlap,
        seed=config.seed,
        data_key=collection.key,
        teacher=Path(system.lesson.teacher) if system.lesson else None,
        cache=work_folder(out) / "teacher",
    )
    result = steps.step("train", job.inputs, f"training {system.name}", _work(job, steps.scratch("train", job.inputs)))
    shutil.copytree(result.folder / MODEL_FOLDER, out, dirs_exist_ok=True)
    return Trained(result.summary, _choosing_figures(job, out) if system.kind != "crf" else ())


def _choosing_figures(job: Job, folder: Path) -> tuple[Record, ...]:
    """Records of the documents that chose the checkpoint, in the passport too: optimistic, and said to be."""
    _, stop = hold_out(job.documents, job.stopping, job.seed)
    tagger = load_tagger(folder)
    note = "these documents chose the checkpoint: measure others for a fair figure"
    found = score(
        job.system.name, stop, tagger.tag([document.text for document in stop]), task="choosing documents",
        seed=job.seed, facts=tagger.describe(), known_labels=tagger.labels, notes=[note],
    )  # fmt: skip
    Passport.read(folder).with_records(found.records).write(folder)
    return found.records


def tell_counts(collection: Collection, announce: Announce) -> None:
    """Say what was read, mapped and left out."""
    spans = sum(len(document.spans) for document in collection.documents)
    announce(f"{len(collection.documents)} documents, {spans} spans of {', '.join(collection.labels)}")
    for sentence, count in sorted(collection.counts.items()):
        announce(f"  {count} {sentence}")


def _work(job: Job, scratch: Path) -> Callable[[Path], Mapping[str, Any]]:
    return lambda folder: train_one(job, folder / MODEL_FOLDER, scratch)
