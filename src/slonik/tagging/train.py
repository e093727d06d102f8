"""Train one tagger on annotated texts: what `slonik finetune MODEL --task ner` does.

Reads or takes the annotations, trains in the run frame, measures the development set. What training is, is in `fit`;
measuring on other documents, in `evaluate`; many systems side by side, in `study`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.core.config import configure, fields_of, read_recipe
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.annotations.document import Document, LabelMapping
from slonik.data.given import Given, Texts
from slonik.finetuning.config import Tuning
from slonik.models.encoder import TorchEncoder
from slonik.runtime.tagging.labels import BioLabels
from slonik.tagging.config import Distillation, First, TaggerRecipe
from slonik.tagging.data import (
    Annotated,
    as_mapping,
    hold_out,
    name_of,
    read_collection,
    read_training_texts,
    text_key,
)
from slonik.tagging.distillation import Teacher
from slonik.tagging.fit import Job, train_one
from slonik.tagging.metrics import score
from slonik.tagging.models import load_tagger
from slonik.tagging.models.ensemble_tagger import EnsembleTagger
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.outside import beside_recipe, files_outside
from slonik.tagging.tasks import SECCOLL, task_folder

DEVELOPMENT = "development set"
_MODEL = "model"
_NO_TEXTS = "none"
_BARE = {
    "crf": ("crf", None), "bilstm": ("bilstm", None), "bilstm-crf": ("bilstm", True), "ensemble": ("ensemble", None),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainedTagger(Result):
    """A tagger that was trained.

    Attributes:
        checkpoint: its folder.
        records: metrics of the development set with intervals; none for a CRF over features, which has none.
        summary: fit and stop (documents to fit, and of the development set), unlabelled (texts), steps, tokens,
            seconds, f1_stop and best_step (F1 of the development set at its best, and when that was; None without one).
            A CRF over features has fit, stop, seconds, documents, loss and iterations.
    """


def train_tagger(
    model: str | Path | TorchEncoder,
    data: Annotated | None = None,
    *,
    out: str | Path,
    data_format: str | None = None,
    data_dir: str | Path | None = None,
    mapping: str | Path | Mapping[str, Any] | LabelMapping | None = None,
    teacher: str | Path | Teacher | None = None,
    unlabelled: Texts = (),
    crf: bool | None = None,
    partial: bool | None = None,
    nested: bool | None = None,
    gazetteers: Mapping[str, str | Path | Sequence[str | Path]] | None = None,
    first: str | Path | None = None,
    members: Sequence[str | Path] = (),
    recipe: str | Path | Mapping[str, Any] | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> TrainedTagger:
    """Train a tagger: an encoder with a head, or a BiLSTM or a CRF from nothing; the same call after a crash goes on.

    Options that are not given are those of the recipe, else the defaults of `TaggerRecipe` and of the kind.

    Args:
        model: of an encoder: folder, hub id, embedded:NAME, or one that is loaded, which is not changed; else "crf",
            "bilstm", "bilstm-crf", or "ensemble".
        data: annotated texts; None: those of the recipe, or seccoll/ in `data_dir`. Of an ensemble: texts that no
            member was trained on, which calibrate its confidence; without any it stays as it is.
        out: folder for the tagger.
        data_format: brat, conll, jsonl, hf; None = guess.
        mapping: labels to merge and drop, or the recipe that says so in `mapping`.
        teacher: a tagger to distil from, with a network, or an ensemble. unlabelled: further texts on which it teaches.
        crf: learn scores of label transitions.
        partial: the texts are annotated in part: what is not marked is unknown, not "no entity".
        nested: of an encoder: entities may lie within one another.
        gazetteers: label -> files with a name a line.
        first: of a network: annotated texts of another kind to train on before; which of their labels become these is
            said by `system.first.mapping`.
        members: of an ensemble: folders of taggers.
        recipe: YAML file, or its content.
        epochs: passes over the texts. batch_size: windows of a batch. max_length: tokens of a window.
        seed: of the split, the weights and the order.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: wrong fields, bad annotations, a model that is no encoder, `out` is there already.
        MissingExtra: the packages of that kind of tagger are not installed.
    """
    at, tuning, given = fields_of(TaggerRecipe), fields_of(Tuning), Given(out)
    lesson = fields_of(Distillation, at.system.lesson)
    texts = given.texts("unlabelled", unlabelled)
    if texts and teacher is None:
        raise SlonikError("--unlabelled texts need a --teacher, which says what is in them")
    kind, chain = ("encoder", None)
    if not isinstance(model, TorchEncoder) and not Path(model).is_dir():
        kind, chain = _BARE.get(str(model), (kind, chain))
    elif str(model) in _BARE and not (Path(str(model)) / "config.json").is_file():
        raise SlonikError(
            f"{model} is a folder here, so it is taken for an encoder, and it holds none (no config.json): to train a "
            f"{model} anew, call from another folder or rename this one"
        )
    idle = {"--epochs": epochs, "--learning-rate": learning_rate, "--batch-size": batch_size}
    _check_idle(str(model), kind, chain, crf, {**idle, "--max-length": max_length, "--teacher": teacher})
    if data is not None and data_dir is not None:
        raise SlonikError("--data and --data-dir name two collections: give one of them")
    if data is None and data_dir is not None:
        data, mapping = task_folder(SECCOLL, data_dir), SECCOLL.mapping if mapping is None else mapping
    if kind != "ensemble" and data is None and not _content(recipe).get("data"):
        raise SlonikError("name your annotated texts with --data, or a folder that holds seccoll/ with --data-dir")
    bare = kind == "ensemble" and not _content(recipe).get("data")
    if bare and data is None and (mapping is not None or data_format is not None):
        raise SlonikError(
            "an ensemble reads labels and formats of the texts that calibrate it: give --data, or neither"
        )
    tuned = {
        tuning.epochs: epochs, tuning.learning_rate: learning_rate, tuning.batch_texts: batch_size,
        tuning.max_length: max_length,
    }  # fmt: skip
    fields: dict[Any, Any] = {
        at.data: name_of(data) if data is not None else _NO_TEXTS if bare else None,
        at.format: data_format, at.out: str(out), at.seed: seed,
        at.mapping: as_mapping(mapping).model_dump() if mapping is not None else None,
        at.system.name: Path(out).name, at.system.kind: kind, at.system.crf: crf if chain is None else chain,
        at.system.model: _called(model) if kind == "encoder" else None,
        at.partial: partial, at.system.nested: nested, at.system.members: [str(member) for member in members] or None,
        at.system.gazetteers: _lists(gazetteers) if gazetteers else None,
        fields_of(First, at.system.first).data: str(first) if first is not None else None,
        lesson.teacher: _called(teacher) if teacher is not None else None, lesson.unlabelled: list(texts) or None,
        **{f"{at.system.tuning}.{field}": value for field, value in tuned.items()},
    }  # fmt: skip
    config = configure(TaggerRecipe, recipe, fields, set)
    config = config.model_copy(update={"system": beside_recipe(config.system, recipe)})
    with shown(progress):
        return run_tagging(
            config, announce or (say if progress else silent), data=data, given=given,
            model=model if isinstance(model, TorchEncoder) else None,
            teacher=teacher if isinstance(teacher, NeuralTagger | EnsembleTagger) else None,
        )  # fmt: skip


def _check_idle(model: str, kind: str, chain: bool | None, crf: bool | None, given: Mapping[str, Any]) -> None:
    """Refuse options that do nothing for this kind of tagger."""
    useless = {"crf": set(given), "bilstm": {"--max-length"}, "ensemble": set(given)}.get(kind, set())
    found = [name for name, value in given.items() if name in useless and value is not None]
    if kind in ("crf", "ensemble") and crf is not None:
        found.append("--crf" if crf else "--no-crf")
    if kind == "bilstm" and chain and crf is False:
        found.append("--no-crf")
    if found:
        instead = {
            "ensemble": "it is the mean of taggers that are trained already",
            "crf": "it is fitted by L-BFGS: --set system.hand.iterations=N, system.hand.l1, system.hand.l2",
            "bilstm": "its inputs are words: --set system.sizes.window=N"
            if found == ["--max-length"]
            else "take bilstm",
        }[kind]
        raise SlonikError(f"{', '.join(found)} {'does' if len(found) == 1 else 'do'} nothing for {model}; {instead}")


def _lists(gazetteers: Mapping[str, str | Path | Sequence[str | Path]]) -> dict[str, list[str]]:
    """Label -> files, as a recipe says it."""
    return {
        label: [str(files)] if isinstance(files, str | Path) else [str(file) for file in files]
        for label, files in gazetteers.items()
    }


def _called(model: str | Path | TorchEncoder | Teacher) -> str:
    return str(model) if isinstance(model, str | Path) else model.name


def _content(recipe: str | Path | Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {} if recipe is None else recipe if isinstance(recipe, Mapping) else read_recipe(recipe)


def run_tagging(
    config: TaggerRecipe,
    announce: Announce = silent,
    *,
    data: Annotated | None = None,
    model: TorchEncoder | None = None,
    teacher: Teacher | None = None,
    given: Given | None = None,
) -> TrainedTagger:
    """Train the tagger of a recipe; see `train_tagger`.

    Args:
        data, model, teacher: in memory, instead of what the recipe names.
        given: texts in memory that the recipe names.

    Raises:
        SlonikError: as `train_tagger`.
    """
    system, given = config.system, given or Given(config.out)
    data = config.data if data is None else data
    asked = given.told(config.model_dump(mode="json"))
    reads = [data if isinstance(data, str | Path) else None, None if model is not None else system.model]
    if system.lesson is not None:
        reads += [None if teacher is not None else system.lesson.teacher]
        reads += [name for name in system.lesson.unlabelled if name not in given.said]
    reads += [*system.members, *files_outside(system)]
    with Run(config.out, command="finetune", announce=announce, reads=reads) as run:
        given.write(run)
        if system.kind == "ensemble":
            labels, documents = load_tagger(system.members[0]).labels, _unseen(data, config, announce)
        else:
            collection = read_collection(
                data, config.format, config.mapping, nested=system.nested, partial=config.partial
            )
            collection.tell(announce)
            labels, documents = tuple(collection.labels), collection.documents
        job = Job(
            system=system, labels=BioLabels.of(labels), documents=documents,
            entity_share=config.entity_share, stopping=config.stopping, overlap=config.overlap, seed=config.seed,
            asked=asked, model=model,
            teacher=teacher if teacher is not None or system.lesson is None else Path(system.lesson.teacher),
            members=[Path(member) for member in system.members], unseen=system.kind == "ensemble" and bool(documents),
        )  # fmt: skip
        for name, identity in job.identities.items():
            run.input(name, identity)

        def work(folder: Path) -> Mapping[str, Any]:
            return train_one(job, folder / _MODEL, run.scratch(), run.folder / "teacher")

        made = run.step("train", job.inputs, f"training {system.name}", work, code=["slonik.tagging.fit"])
        records = _development_records(job, made.folder / _MODEL) if system.kind not in ("crf", "ensemble") else ()
        with run.result() as folder:
            shutil.copytree(made.folder / _MODEL, folder, dirs_exist_ok=True)
            Passport.read(folder).with_records(records).write(folder)
    return TrainedTagger(checkpoint=run.out, records=records, summary=made.summary, seconds=run.seconds)


def _unseen(data: Annotated, config: TaggerRecipe, announce: Announce) -> list[Document]:
    """Of annotated texts those that no member of an ensemble was trained on: they calibrate it.

    Raises:
        SlonikError: bad annotations, or members were trained on all of them.
    """
    if isinstance(data, str) and data == _NO_TEXTS:
        return []
    collection = read_collection(data, config.format, config.mapping)
    collection.tell(announce)
    seen = frozenset[str]().union(*map(read_training_texts, config.system.members))
    unseen = [document for document in collection.documents if text_key(document.text) not in seen]
    if not any(document.spans for document in unseen):
        raise SlonikError(
            f"members were trained on every text of {name_of(data)} that has a span, and an ensemble is calibrated on "
            "texts that none of them knows: give others, or leave --data out"
        )
    if known := len(collection.documents) - len(unseen):
        announce(f"  {known:,} texts left out, which members were trained on")
    return unseen


def _development_records(job: Job, folder: Path) -> tuple[Record, ...]:
    """Records of the development set: optimistic, and said to be."""
    _, development = hold_out(job.documents, job.stopping, job.seed)
    tagger = load_tagger(folder)
    predicted = tagger.tag([document.text for document in development])
    note = "these documents chose the checkpoint: measure others for a fair score"
    return score(
        job.system.name, development, predicted, task=DEVELOPMENT, seed=job.seed, facts=tagger.describe(),
        known_labels=tagger.labels, notes=[note],
    ).records  # fmt: skip
