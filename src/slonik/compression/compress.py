"""Compression: corpus, vocabulary, structure, distillation, measurement, report.

A checkpoint goes in, a much smaller one comes out, with a table that proves what it cost. Each step is written down
and skipped when it was done before with the same inputs, and training goes on from its last save: the same command
after a crash ends with the same weights. Benchmarks are measured after everything has been chosen, never to choose.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.compression.chosen import Choice
from slonik.compression.config import CompressConfig, DistillConfig, TrimConfig
from slonik.compression.corpus import CorpusSample, sampled, sampling_inputs
from slonik.compression.freezing import below, check_upper_layers
from slonik.compression.headed import HeadedEncoder, name_of, open_headed
from slonik.compression.measure import Measured, measure_both, measure_stages
from slonik.compression.plan import Plan
from slonik.compression.pruning import check_depth, check_pruning, prune
from slonik.compression.report.page import CompressionFacts, compression_tables
from slonik.compression.report.tables import Stage
from slonik.compression.report.write import facts_of, write_report
from slonik.compression.teaching import check_teaching, teach, teaching_inputs, token_map
from slonik.compression.training import further_teachers
from slonik.compression.trim import plan_trim, trimmed_by
from slonik.core.config import configure, fields_of
from slonik.core.files import write_json
from slonik.core.identity import checkpoint_identity
from slonik.core.passport import Passport, Step
from slonik.core.progress import shown
from slonik.core.protocols import Encoder
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Result, Run, StepResult, say, silent
from slonik.data.given import Given, Pairs, Texts
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import resolve
from slonik.models.task_model import TaskModel
from slonik.reporting.table import Table


@dataclass(frozen=True, kw_only=True)
class Compression(Result):
    """What `compress` made.

    Attributes:
        before, after: everything measured on the original and on the result, the same way.
        differences: after minus before, paired where items can be paired.
        facts: what the report tells beside the records: lineage, models on the way, time by step, usage.
        summary: step -> what it found.
    """

    facts: CompressionFacts
    before: tuple[Record, ...] = ()
    after: tuple[Record, ...] = ()
    differences: tuple[Record, ...] = ()

    def tables(self) -> list[Table]:
        """The tables of the report."""
        return compression_tables(self.before, self.after, self.facts, self.differences)


def compress(
    model: str | Path | TorchEncoder | TaskModel | Any,
    *,
    out: str | Path,
    corpus: Texts = (),
    pairs: Pairs = (),
    examples: str | Path | Sequence[str | Path] = (),
    recipe: str | Path | Mapping[str, Any] | None = None,
    layers: int | None = None,
    heads: float | None = None,
    ffn: float | None = None,
    hidden: float | None = None,
    target_parameters: int | None = None,
    target_flops: float | None = None,
    target_latency: float | None = None,
    uneven: bool | None = None,
    trim_vocab: str | Sequence[str] | None = None,
    max_pieces: int | None = None,
    init: str | Path | None = None,
    pooling: str | None = None,
    train_texts: int | None = None,
    epochs: float | None = None,
    max_minutes: float | None = None,
    save_every: float | None = None,
    data_dir: str | Path | None = None,
    evaluate: bool | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> Compression:
    """Make an encoder smaller and faster, and prove what it cost; the same call after a crash goes on.

    What stands on the encoder stays: a classifier, a tagger, a span reader is cut with its head and taught to answer as
    before, without labels; a masked-language model keeps its head, cut along.

    Options that are not given are those of the recipe, else the defaults of `CompressConfig`.

    Args:
        model: folder, hub id, embedded:NAME, or a loaded encoder, classifier or tagger.
        out: folder for the new checkpoint.
        corpus: files or folders of text, or texts.
        pairs: files of English-Russian pairs, or (English, Russian) tuples.
        examples: of a model with a head: files of rows of its task, to teach it on beside the corpus; labels are not
            read.
        recipe: YAML file, or its content.
        layers: how many stay. heads, ffn, hidden: share that stays, above 0 and at most 1.
        target_parameters: the most parameters. target_flops, target_latency: share that may stay.
        uneven: may layers differ in heads and neurons?
        trim_vocab: languages whose tokens stay (("ru", "en") or "ru,en"); "none" leaves the vocabulary whole.
        max_pieces: the most tokens of the vocabulary.
        init: an earlier student to start from.
        pooling: how a sentence vector is made, where the model's folder does not say.
        train_texts: sentences to distil on. epochs: passes over them; 0 skips distillation.
        max_minutes: the most minutes of training. save_every: minutes between saves.
        data_dir: benchmark data; with evaluate (default) encodechka is measured where it is there.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: anything that the user can mend; finished steps stay and are not repeated.
    """
    given, at = Given(out), fields_of(CompressConfig)
    trim, distill = fields_of(TrimConfig, at.trim), fields_of(DistillConfig, at.distill)
    whole_vocabulary = trim_vocab == "none"
    languages = trim_vocab.split(",") if isinstance(trim_vocab, str) else trim_vocab or ()
    fields: dict[Any, Any] = {
        at.model: name_of(model), at.out: str(out), at.init: str(init) if init else None, at.seed: seed,
        at.pooling: pooling,
        at.evaluate: evaluate, at.data_dir: str(data_dir) if data_dir else None,
        at.corpus.texts: given.texts("corpus", corpus) or None, at.corpus.pairs: given.pairs("pairs", pairs) or None,
        at.corpus.examples: _files(examples) or None, at.corpus.train_texts: train_texts,
        trim.scripts: None if whole_vocabulary else [name.strip() for name in languages] or None,
        trim.max_pieces: max_pieces,
        at.prune.layers: layers, at.prune.heads: heads, at.prune.ffn: ffn, at.prune.hidden: hidden,
        at.prune.uneven: uneven, at.prune.target_parameters: target_parameters, at.prune.target_flops: target_flops,
        at.prune.target_latency: target_latency, distill.epochs: epochs or None, distill.max_minutes: max_minutes,
        distill.save_every_minutes: save_every,
    }  # fmt: skip
    config = configure(CompressConfig, recipe, fields, set)
    left_out = ({"trim": None} if whole_vocabulary else {}) | ({"distill": None} if epochs == 0 else {})
    loaded = None if isinstance(model, str | Path) else model
    in_memory = loaded is not None or bool(given.said)
    with shown(progress):
        return run_compress(
            config.model_copy(update=left_out), announce or (say if progress else silent),
            teacher=loaded, given=given,
            command="slonik.compress(...)  # in Python, with a model or texts in memory" if in_memory else None,
        )  # fmt: skip


def _files(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    return (str(given),) if isinstance(given, str | Path) else tuple(str(name) for name in given)


def run_compress(
    config: CompressConfig,
    announce: Announce = silent,
    *,
    teacher: Any = None,
    given: Given | None = None,
    command: str | None = None,
) -> Compression:
    """Run a whole configuration; see `compress`.

    Args:
        announce: called with one line for the user as steps begin and end.
        teacher: the model, where it is loaded.
        given: texts in memory that the configuration names.
        command: the line that does it again, where it is another than `slonik compress`.

    Raises:
        SlonikError: as `compress`.
    """
    given = given or Given(config.out)
    reads = [config.model if teacher is None else None, config.init, *config.corpus.texts, *config.corpus.pairs]
    reads += config.corpus.examples
    with Run(
        config.out, command="compress", config=given.told(config.model_dump(mode="json")), seed=config.seed,
        announce=announce, reads=[path for path in reads if path not in given.said],
    ) as run:  # fmt: skip
        given.write(run)
        opened = open_headed(config.model if teacher is None else teacher, pooling=config.pooling)
        if opened.left_out:
            run.announce(opened.left_out)
        known = checkpoint_identity(resolve(config.model)) if teacher is None else opened.identity()
        check_teaching(opened, config.corpus, config.distill)
        check_pruning(opened, config.prune)
        others = further_teachers(config.distill) if config.distill is not None else {}
        inputs = sampling_inputs(config.corpus, config.seed, run)
        pipeline = _Pipeline(config, opened, run, inputs)
        pipeline.earlier, pipeline.others = _earlier(config, opened), others
        layers = check_depth((pipeline.earlier or opened).encoder.model, config.prune)
        check_upper_layers(config.distill.upper_layers if config.distill is not None else None, layers)
        sample = pipeline.sample()
        pipeline.inputs |= {"teacher": run.input("teacher", known)}
        pipeline.inputs |= {"pooling": config.pooling} if config.pooling else {}
        student = _distilled(pipeline, sample, _pruned(pipeline, sample, _trimmed(pipeline, sample)))
        return _finished(pipeline, student, sample, command)


def _earlier(config: CompressConfig, teacher: HeadedEncoder) -> HeadedEncoder | None:
    """The earlier student to start from, with a head where the teacher has one."""
    if config.init is None:
        return None
    return teacher.taught(open_headed(config.init))


@dataclass
class _Pipeline:
    """What the steps of one run share; `inputs` grows from step to step, as each depends on all before it."""

    config: CompressConfig
    teacher: HeadedEncoder
    run: Run
    inputs: dict[str, Any]
    results: dict[str, StepResult] = field(default_factory=dict)
    earlier: HeadedEncoder | None = None
    others: dict[str, Encoder] = field(default_factory=dict)

    def step(self, name: str, title: str, work: Callable[[Path], Mapping[str, Any]], code: str) -> Path:
        """Do it, or find it done; its folder."""
        result = self.run.step(name, self.inputs, title, work, code=[f"slonik.compression.{code}"])
        self.results[name] = result
        return result.folder

    def completed(self, passport: Passport, started: float | None = None, *, seconds: float | None = None) -> Passport:
        """The passport with what its last step lacks: inputs of the run, seed, and seconds (or when it `started`)."""
        *before, last = passport.lineage
        inputs = self.run.inputs | {"sample": str(self.inputs["sample"])} | last.inputs
        spent = time.perf_counter() - started if started is not None else seconds
        told = {"inputs": inputs, "seed": self.config.seed, "seconds": None if spent is None else round(spent, 3)}
        return passport.model_copy(update={"lineage": (*before, last.model_copy(update=told))})

    def sample(self) -> CorpusSample:
        """The sampled corpus, which all later steps depend on."""
        sample, self.results["corpus"] = sampled(self.config.corpus, self.config.seed, self.run, self.inputs)
        self.inputs["sample"] = self.results["corpus"].summary["hash"]
        return sample


def _trimmed(pipeline: _Pipeline, sample: CorpusSample) -> HeadedEncoder:
    """The teacher with a smaller vocabulary."""
    config, teacher, trim = pipeline.config, pipeline.teacher, pipeline.config.trim
    if trim is None:
        return teacher
    pipeline.inputs |= {"trim": trim}

    def work(folder: Path) -> Mapping[str, Any]:
        started = time.perf_counter()
        plan = plan_trim(teacher.encoder, config.corpus, trim, sample)
        trimmed = trimmed_by(teacher, plan)
        trimmed.save(folder / "checkpoint", pipeline.completed(trimmed.encoder.passport, started))
        return plan.report.model_dump(mode="json")

    return open_headed(pipeline.step("trim", "trimming the vocabulary", work, "trim") / "checkpoint")


def _pruned(pipeline: _Pipeline, sample: CorpusSample, student: HeadedEncoder) -> HeadedEncoder:
    """The trimmed model with structures removed, or an earlier student to start from."""
    config, earlier = pipeline.config, pipeline.earlier
    if config.init is not None and earlier is not None:
        pipeline.inputs |= {"init": pipeline.run.input("init", checkpoint_identity(resolve(config.init)))}
        student = earlier if config.trim is None else earlier.with_vocabulary_of(student)
    refit = config.distill is None if config.prune.refit is None else config.prune.refit
    settings = config.prune.model_copy(update={"refit": refit})
    pipeline.inputs |= {"prune": settings}

    def work(folder: Path) -> Mapping[str, Any]:
        started = time.perf_counter()
        encoder, plan, summary = prune(
            pipeline.teacher.encoder, student.encoder, settings, sample, config.seed, head=student.task
        )
        cut = student.on(encoder, plan)
        cut.save(folder / "checkpoint", pipeline.completed(cut.encoder.passport, started))
        plan.write(folder)
        return summary

    return open_headed(pipeline.step("prune", "cutting structures", work, "pruning") / "checkpoint")


def _distilled(pipeline: _Pipeline, sample: CorpusSample, student: HeadedEncoder) -> HeadedEncoder:
    """The student after distillation."""
    config, teacher, settings = pipeline.config, pipeline.teacher, pipeline.config.distill
    if settings is None:
        return student
    below(student.encoder.model, settings.upper_layers)  # a target may have left fewer layers than were known of
    pipeline.inputs |= teaching_inputs(teacher, config.corpus, settings, pipeline.others, pipeline.run)
    kept = Plan.read(pipeline.results["prune"].folder).hidden
    parent = student.encoder.weights_hash()

    def work(folder: Path) -> Mapping[str, Any]:
        ids = token_map(student, teacher, settings, narrower=kept is not None)
        training = teach(
            teacher, student, ids, sample, config.corpus, settings, pipeline.run.scratch(), seed=config.seed,
            kept=kept, further_teachers=pipeline.others, announce=pipeline.run.announce,
        )  # fmt: skip
        shutil.copy(training.metrics, folder / "metrics.jsonl")
        best, chosen = training.best, Choice.of(training.metrics)
        summary = {
            "steps": training.step, "texts_seen": training.texts, "tokens_seen": training.tokens,
            "training_seconds": training.seconds, "precision": training.precision,
            "best_step": best.step if best else training.step, "held_out": best.metrics if best else {},
            "chosen": chosen.summary() if chosen is not None else None,
        }  # fmt: skip
        step = Step(
            command="distill", config={"distill": settings.model_dump(mode="json")}, inputs={"parent": parent},
            summary=summary,
        )  # fmt: skip
        passport = pipeline.completed(student.encoder.passport.with_step(step), seconds=training.seconds)
        student.save(folder / "checkpoint", passport)
        return summary

    folder = pipeline.step("distill", "distilling", work, "teaching")
    if (chosen := Choice.of(folder / "metrics.jsonl")) is not None:
        pipeline.run.announce(chosen.sentence())
    return open_headed(folder / "checkpoint")


def _measured(pipeline: _Pipeline, student: HeadedEncoder, sample: CorpusSample) -> tuple[Measured, list[Stage]]:
    """Records of the original and of the result, and the models on the way."""
    config, teacher, announce = pipeline.config, pipeline.teacher, pipeline.run.announce
    found = measure_both(teacher, student, sample, config, announce)
    trim = pipeline.results.get("trim")
    trimmed = trim.folder / "checkpoint" if trim is not None else None
    return found, measure_stages(teacher, trimmed, student, sample, config, (found.before, found.after), announce)


def _finished(pipeline: _Pipeline, student: HeadedEncoder, sample: CorpusSample, command: str | None) -> Compression:
    """Measure, and write the checkpoint with its passport, plan, records and report."""
    config, run, results = pipeline.config, pipeline.run, pipeline.results
    student.encoder.name = run.out.name
    started = time.perf_counter()
    found, stages = _measured(pipeline, student, sample)
    seconds = {name: result.seconds for name, result in results.items()} | {"measure": time.perf_counter() - started}
    summary = {name: result.summary for name, result in results.items()}
    kept = {name: value for name, value in summary.items() if name != "trim"}
    passport = student.encoder.passport.with_step(run.passport_step(kept), name=run.out.name)
    passport = passport.with_records([*found.after, *found.differences])
    facts = facts_of(
        config, found.after, lineage=passport.lineage, seconds=seconds, trimming=summary.get("trim"), stages=stages,
        metrics=results["distill"].folder / "metrics.jsonl" if "distill" in results else None, command=command,
        teacher=pipeline.teacher,
    )  # fmt: skip
    measured = (*found.before, *found.after, *found.differences)
    with run.result() as folder:
        student.save(folder, passport, overwrite=True)
        known = {id(record) for record in measured}
        on_the_way = [record for stage in stages for record in stage.records if id(record) not in known]
        write_records(folder / "records.json", [*measured, *on_the_way])
        write_json(folder / "steps.json", {"seconds": seconds, "summaries": summary})
        for made in (result.folder / name for result in results.values() for name in ("plan.json", "metrics.jsonl")):
            if made.is_file():
                shutil.copy(made, folder / made.name)
        report = write_report(found.before, found.after, found.differences, facts, folder)
    return Compression(
        checkpoint=run.out, records=measured, report=run.out / report.name, summary=summary, seconds=run.seconds,
        facts=facts, before=tuple(found.before), after=tuple(found.after), differences=tuple(found.differences),
    )  # fmt: skip
