"""Compression: corpus, vocabulary, structure, distillation, measurement, report.

A checkpoint goes in, a much smaller one comes out, with a table that proves what it cost. Each step is written down
and skipped when it was done before, and training goes on from its last save: the same command after a crash ends with
the same weights. Benchmarks are measured after everything has been chosen, never to choose.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik import models
from slonik.compression.config import CompressConfig
from slonik.compression.corpus import CorpusSample, draw, read_sample
from slonik.compression.distill import train_student
from slonik.compression.pruning import prune
from slonik.compression.result import Announce, Compression, work_folder
from slonik.compression.trim import apply_trim, plan_trim
from slonik.core.errors import SlonikError
from slonik.core.files import new_folder, write_json
from slonik.core.passport import Step
from slonik.core.protocols import Encoder
from slonik.core.records import write_records
from slonik.core.run import StepResult, Steps
from slonik.models.encoder import TorchEncoder
from slonik.models.shared_vocabulary import matching_ids, with_vocabulary_of


def compress(config: CompressConfig, announce: Announce = lambda line: None) -> Compression:
    """Run the pipeline of the recipe.

    Args:
        announce: called with one line for the user as steps begin and end.

    Raises:
        SlonikError: anything that the user can mend; finished steps stay and are not repeated.
    """
    out = Path(config.out)
    _check_out(out)
    made = Compression(out)
    teacher = models.load(config.model)
    steps = Steps(work_folder(out), announce)
    inputs: dict[str, Any] = {"corpus": _corpus_identity(config), "seed": config.seed}
    drawn = steps.step("corpus", inputs, "sampling the corpus", lambda to: draw(config.corpus, config.seed, to))
    _note(made, "corpus", drawn)
    sample = read_sample(drawn.folder)
    inputs = {"sample": drawn.summary["hash"], "teacher": teacher.weights_hash(), "seed": config.seed}
    pipeline = _Pipeline(config, teacher, sample, steps, made, inputs)
    student = _distilled(pipeline, _pruned(pipeline, _trimmed(pipeline)))
    _measured(pipeline, student)
    _finish(config, student, made)
    return made


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SlonikError(f"{out} is there already: choose another --out or remove it")


def _corpus_identity(config: CompressConfig) -> dict[str, Any]:
    """Settings and sizes of the corpus files: enough to notice a changed file without reading it twice."""
    files = [Path(name) for name in (*config.corpus.texts, *config.corpus.pairs)]
    sizes = [file.stat().st_size if file.is_file() else None for file in files]
    settings = config.corpus.model_dump(mode="json", exclude={"texts", "pairs", "max_tokens", "without_prefix"})
    return settings | {"files": [file.name for file in files], "bytes": sizes}


def _note(made: Compression, name: str, result: StepResult) -> None:
    made.summaries[name] = result.summary
    made.seconds[name] = result.seconds
    made.folders.append(result.folder.name)


@dataclass
class _Pipeline:
    """What the steps of one run share; `inputs` grows from step to step, as each depends on all before it."""

    config: CompressConfig
    teacher: TorchEncoder
    sample: CorpusSample
    steps: Steps
    made: Compression
    inputs: dict[str, Any]

    def step(self, name: str, title: str, work: Callable[[Path], Mapping[str, Any]]) -> Path:
        """Do it, or find it done; its folder."""
        result = self.steps.step(name, self.inputs, title, work)
        _note(self.made, name, result)
        return result.folder


def _trimmed(pipeline: _Pipeline) -> TorchEncoder:
    """The teacher with a smaller vocabulary."""
    config, teacher, trim = pipeline.config, pipeline.teacher, pipeline.config.trim
    if trim is None:
        return teacher
    pipeline.inputs |= {"trim": trim.model_dump(mode="json")}

    def work(folder: Path) -> Mapping[str, Any]:
        plan = plan_trim(teacher, config.corpus, trim, pipeline.sample)
        models.save(apply_trim(teacher, plan), folder / "checkpoint")
        return plan.report.model_dump(mode="json")

    return models.load(pipeline.step("trim", "trimming the vocabulary", work) / "checkpoint")


def _pruned(pipeline: _Pipeline, student: TorchEncoder) -> TorchEncoder:
    """The trimmed encoder with structures removed, or an earlier student to start from."""
    config = pipeline.config
    if config.init is not None:
        earlier = models.load(config.init)
        pipeline.inputs |= {"init": earlier.weights_hash()}
        student = earlier if config.trim is None else with_vocabulary_of(earlier, student)
    refit = config.distill is None if config.prune.refit is None else config.prune.refit
    settings = config.prune.model_copy(update={"refit": refit})
    pipeline.inputs |= {"prune": settings.model_dump(mode="json")}

    def work(folder: Path) -> Mapping[str, Any]:
        pruned, plan, summary = prune(pipeline.teacher, student, settings, pipeline.sample, config.seed)
        models.save(pruned, folder / "checkpoint")
        plan.write(folder)
        return summary

    return models.load(pipeline.step("prune", "cutting structures", work) / "checkpoint")


def _distilled(pipeline: _Pipeline, student: TorchEncoder) -> TorchEncoder:
    """The student after distillation, with its passport's new step."""
    config, teacher, settings = pipeline.config, pipeline.teacher, pipeline.config.distill
    if settings is None:
        return student
    pipeline.inputs |= {"distill": settings.model_dump(mode="json", exclude={"save_every_minutes"})}
    pipeline.inputs |= {"max_tokens": config.corpus.max_tokens, "without_prefix": config.corpus.without_prefix}
    scratch = pipeline.steps.scratch("distill", pipeline.inputs)

    def work(folder: Path) -> Mapping[str, Any]:
        others: dict[str, Encoder] = {name: models.load_any(name) for name in settings.teachers}
        run = train_student(
            teacher, student, matching_ids(student, teacher), pipeline.sample, config.corpus, settings, scratch,
            seed=config.seed, further_teachers=others,
        )  # fmt: skip
        models.save(student, folder / "checkpoint")
        shutil.copy(run.metrics, folder / "metrics.jsonl")
        best = run.best
        return {
            "steps": run.step, "texts_seen": run.texts, "tokens_seen": run.tokens, "training_seconds": run.seconds,
            "best_step": best.step if best else run.step, "held_out": best.figures if best else {},
        }  # fmt: skip

    folder = pipeline.step("distill", "distilling", work)
    pipeline.made.summaries["distill"]["metrics"] = str(folder / "metrics.jsonl")
    return models.load(folder / "checkpoint")


def _measured(pipeline: _Pipeline, student: TorchEncoder) -> None:
    from slonik.compression.measure import measure_both, measure_stages

    config, teacher, sample, made = pipeline.config, pipeline.teacher, pipeline.sample, pipeline.made
    announce = pipeline.steps.announce
    student.name = made.out.name
    started = time.perf_counter()
    found = measure_both(teacher, student, sample, config, announce)
    made.before, made.after, made.differences = found.before, found.after, found.differences
    steps = [work_folder(made.out) / name for name in made.folders]
    trimmed = next((folder / "checkpoint" for folder in steps if folder.name.startswith("trim-")), None)
    known = (made.before, made.after)
    made.stages = measure_stages(teacher, trimmed, student, sample, config, known, announce)
    made.seconds["measure"] = time.perf_counter() - started


def _finish(config: CompressConfig, student: TorchEncoder, made: Compression) -> None:
    """Write the checkpoint with its passport, plan, records and report; then the steps are no longer needed."""
    from slonik.compression.report.write import write_report

    step = Step(
        command="compress",
        config=config.model_dump(mode="json"),
        inputs={"corpus": made.summaries["corpus"]["hash"]},
        seed=config.seed,
        seconds=sum(made.seconds.values()),
        summary={name: value for name, value in made.summaries.items() if name != "trim"},
    )
    passport = student.passport.with_step(step, name=made.out.name).with_records([*made.after, *made.differences])
    made.lineage = passport.lineage
    with new_folder(made.out) as unfinished:
        models.save(student, unfinished, passport, overwrite=True)
        measured = {id(record) for record in (*made.before, *made.after)}
        on_the_way = [r for stage in made.stages for r in stage.records if id(r) not in measured]
        write_records(unfinished / "records.json", [*made.before, *made.after, *made.differences, *on_the_way])
        write_json(unfinished / "steps.json", {"seconds": made.seconds, "summaries": made.summaries})
        for name in ("plan.json", "metrics.jsonl"):
            for found in work_folder(made.out).glob(f"*-*/{name}"):
                if found.parent.name in made.folders:
                    shutil.copy(found, unfinished / name)
        write_report(config, made, unfinished)
