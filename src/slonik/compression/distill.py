"""Train an existing student to be like its teacher: the last part of a compression on its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import model_validator

from slonik.compression.chosen import Choice
from slonik.compression.config import BlendConfig, CorpusConfig, DistillConfig, named_once
from slonik.compression.corpus import sampled, sampling_inputs
from slonik.compression.freezing import below
from slonik.compression.headed import HeadedEncoder, name_of, open_headed
from slonik.compression.measure import agreement_records
from slonik.compression.teaching import check_teaching, teach, teaching_inputs, token_map
from slonik.compression.training import further_teachers
from slonik.core.config import Config, Seed, configure, fields_of
from slonik.core.identity import checkpoint_identity
from slonik.core.progress import shown
from slonik.core.protocols import Encoder
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.given import Given, Pairs, Texts
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import resolve
from slonik.models.opening import poolings_for


class DistillRecipe(Config):
    """What `slonik distill` reads."""

    model: str
    """The student to train on."""
    teacher: str
    out: str
    pooling: str | None = None
    """How a sentence vector is made, where the folders of student and teacher do not say: cls, mean, pooler, ..."""
    corpus: CorpusConfig = CorpusConfig()
    distill: DistillConfig = DistillConfig()
    seed: Seed = 0

    @model_validator(mode="after")
    def _teachers_differ(self) -> DistillRecipe:
        named_once((self.teacher, *self.distill.teachers))
        return self


@dataclass(frozen=True, kw_only=True)
class Distilled(Result):
    """What `distill` made.

    Attributes:
        held_out: held-out metrics of the checkpoint, which chose it.
    """

    held_out: dict[str, float] = field(default_factory=dict)


def distill(
    student: str | Path | TorchEncoder,
    *,
    teacher: str | Path | Encoder | Sequence[str | Path | Encoder] | None = None,
    out: str | Path,
    corpus: Texts = (),
    pairs: Pairs = (),
    examples: str | Path | Sequence[str | Path] = (),
    recipe: str | Path | Mapping[str, Any] | None = None,
    pooling: str | None = None,
    weights: Sequence[float] | None = None,
    output_map: bool | None = None,
    fold_prefix: bool | None = None,
    epochs: float | None = None,
    max_minutes: float | None = None,
    save_every: float | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> Distilled:
    """Train a student to agree with its teacher; the same call after a crash goes on.

    The student is any encoder. Token states are compared where its tokens are the teacher's (a trimmed or cut child of
    it, or one with the same tokenizer) and their width is; with `distill.terms.hidden` 0 whole texts alone are. A
    teacher with a head for a task teaches its answers: the student has a head that answers the same, or gets a copy of
    the teacher's.

    Options that are not given are those of the recipe, else the defaults of `DistillRecipe`.

    Args:
        student: folder, hub id, embedded:NAME, or a loaded encoder, which is trained in place.
        teacher: the same; of several, the sentence vectors of all but the first are further targets: any encoders,
            bare names of baselines too.
        out: folder for the trained checkpoint.
        corpus: files or folders of text, or texts.
        pairs: files of English-Russian pairs, or (English, Russian) tuples.
        examples: of a teacher with a head: files of rows of its task; labels are not read.
        recipe: YAML file, or its content.
        pooling: how a sentence vector is made, where the folders do not say.
        weights: of the teachers, one each: they are blended into one target that the student's own vectors are to meet.
        output_map: put a Dense behind the student's pooling that learns the target's axes and stays there.
        fold_prefix: the teacher reads its prefix and the student does not, and needs none afterwards.
        epochs: passes over the texts. max_minutes: the most minutes of training. save_every: minutes between saves.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: student and teacher do not fit, an empty corpus, `out` is there already.
    """
    given, at = Given(out), fields_of(DistillRecipe)
    several = isinstance(teacher, Sequence) and not isinstance(teacher, str)
    teachers: list[Any] = list(teacher) if several else [] if teacher is None else [teacher]  # type: ignore[arg-type]
    names = [name_of(each) for each in teachers]
    fields: dict[Any, Any] = {
        at.model: name_of(student), at.out: str(out), at.seed: seed, at.teacher: next(iter(names), None),
        at.pooling: pooling,
        at.distill.teachers: names[1:] or None,
        fields_of(BlendConfig, at.distill.blend).weights: list(weights) if weights is not None else None,
        at.distill.output_map: output_map, at.distill.fold_prefix: fold_prefix, at.distill.epochs: epochs,
        at.distill.max_minutes: max_minutes,
        at.distill.save_every_minutes: save_every, at.corpus.texts: given.texts("corpus", corpus) or None,
        at.corpus.pairs: given.pairs("pairs", pairs) or None,
        at.corpus.examples: ((str(examples),) if isinstance(examples, str | Path) else [*map(str, examples)]) or None,
    }  # fmt: skip
    loaded = {
        name: each for name, each in zip((name_of(student), *names), (student, *teachers), strict=True)
        if not isinstance(each, str | Path)
    }  # fmt: skip
    with shown(progress):
        return run_distill(
            configure(DistillRecipe, recipe, fields, set), announce or (say if progress else silent), loaded=loaded,
            given=given,
        )  # fmt: skip


def run_distill(
    config: DistillRecipe,
    announce: Announce = silent,
    *,
    loaded: Mapping[str, Any] | None = None,
    given: Given | None = None,
) -> Distilled:
    """Run a whole configuration; see `distill`.

    Args:
        announce: called with one line for the user as steps begin and end.
        loaded: name in `config` -> the encoder, where it is loaded.
        given: texts in memory that the configuration names.

    Raises:
        SlonikError: as `distill`.
    """
    given, loaded = given or Given(config.out), loaded or {}
    reads = [name for name in (config.model, config.teacher) if name not in loaded]
    files = (*config.corpus.texts, *config.corpus.pairs, *config.corpus.examples)
    reads += [name for name in files if name not in given.said]
    with Run(
        config.out, command="distill", config=given.told(config.model_dump(mode="json")), seed=config.seed,
        announce=announce, reads=reads,
    ) as run:  # fmt: skip
        given.write(run)
        teacher, student = (_opened(config, name, loaded, run) for name in ("teacher", "model"))
        student = teacher.taught(student)
        check_teaching(teacher, config.corpus, config.distill)
        below(student.encoder.model, config.distill.upper_layers)
        token_ids = token_map(student, teacher, config.distill)
        others = further_teachers(config.distill, loaded)
        inputs = sampling_inputs(config.corpus, config.seed, run)
        sample, drawn = sampled(config.corpus, config.seed, run, inputs)
        inputs |= {"pooling": config.pooling} if config.pooling else {}
        inputs |= {"sample": drawn.summary["hash"], "teacher": run.inputs["teacher"], "student": run.inputs["model"]}
        inputs |= teaching_inputs(teacher, config.corpus, config.distill, others, run)

        def work(folder: Path) -> Mapping[str, Any]:
            training = teach(
                teacher, student, token_ids, sample, config.corpus, config.distill, run.scratch(), seed=config.seed,
                further_teachers=others, announce=run.announce,
            )  # fmt: skip
            student.save(folder / "checkpoint")
            shutil.copy(training.metrics, folder / "metrics.jsonl")
            best, chosen = training.best.metrics if training.best else {}, Choice.of(training.metrics)
            return {
                "steps": training.step, "texts_seen": training.texts, "precision": training.precision,
                "held_out": best, "chosen": chosen.summary() if chosen is not None else None,
            }  # fmt: skip

        made = run.step("distill", inputs, "distilling", work, code=["slonik.compression.teaching"])
        if (chosen := Choice.of(made.folder / "metrics.jsonl")) is not None:
            run.announce(chosen.sentence())
        student = open_headed(made.folder / "checkpoint", "distilled")
        student.encoder.name = run.out.name
        records = agreement_records(teacher, student, sample, config.corpus, config.seed, config.distill)[1]
        with run.result() as folder:
            passport = student.encoder.passport.with_step(run.passport_step(made.summary), name=run.out.name)
            student.save(folder, passport.with_records(records), overwrite=True)
            shutil.copy(made.folder / "metrics.jsonl", folder / "metrics.jsonl")
    return Distilled(
        checkpoint=run.out, records=tuple(records), summary=made.summary, seconds=run.seconds,
        held_out=made.summary["held_out"],
    )  # fmt: skip


def _opened(config: DistillRecipe, field_name: str, loaded: Mapping[str, Any], run: Run) -> HeadedEncoder:
    """The student or the teacher, its identity noted."""
    name: str = getattr(config, field_name)
    files = [one for one in (config.model, config.teacher) if one not in loaded]
    chosen = dict(zip(files, poolings_for(files, config.pooling), strict=True))
    headed = open_headed(loaded.get(name, name), "distilled", **chosen.get(name, {}))
    if headed.left_out:
        run.announce(headed.left_out)
    run.input(field_name, headed.identity() if name in loaded else checkpoint_identity(resolve(name)))
    return headed
