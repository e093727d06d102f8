"""Teach an existing student from a teacher: the last part of the compression story on its own.

The student is any encoder whose pieces are the teacher's pieces (a trimmed or cut child of it, or one with the same
tokenizer) and whose dimension is the teacher's.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from slonik import models
from slonik.compression.pipeline.compress import Announce, work_folder
from slonik.compression.pipeline.config import CorpusConfig, DistillConfig
from slonik.compression.pipeline.corpus import draw, read_sample
from slonik.compression.pipeline.distilling import distill
from slonik.compression.pipeline.measure import agreement_records
from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.passport import Step
from slonik.core.protocols import Encoder
from slonik.core.steps import Steps
from slonik.models.shared_vocabulary import matching_ids


class DistillRecipe(Config):
    """What `slonik distill` reads."""

    model: str
    """The student to train on."""
    teacher: str
    out: str
    corpus: CorpusConfig = CorpusConfig()
    distill: DistillConfig = DistillConfig()
    seed: int = Field(0, ge=0)


def run_distill(config: DistillRecipe, announce: Announce = lambda line: None) -> dict[str, Any]:
    """Train the student and write it to `config.out`; the same call after a crash goes on.

    Returns:
        Held-out figures before and after, and what the training did.

    Raises:
        SlonikError: student and teacher do not fit, an empty corpus, `out` is there already.
    """
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SlonikError(f"{out} is there already: choose another --out or remove it")
    teacher, student = models.load(config.teacher), models.load(config.model)
    token_ids = matching_ids(student, teacher)
    steps = Steps(work_folder(out), announce)
    inputs: dict[str, Any] = {"corpus": config.corpus.model_dump(mode="json"), "seed": config.seed}
    drawn = steps.run("corpus", inputs, "sampling the corpus", lambda to: draw(config.corpus, config.seed, to))
    sample = read_sample(drawn.folder)
    inputs = {"sample": drawn.summary["hash"], "distill": config.distill.model_dump(mode="json"), "seed": config.seed}
    inputs |= {"teacher": teacher.weights_hash(), "student": student.weights_hash()}
    scratch = steps.scratch("distill", inputs)

    def work(folder: Path) -> Mapping[str, Any]:
        others: dict[str, Encoder] = {name: models.load_any(name) for name in config.distill.teachers}
        found = distill(
            teacher, student, token_ids, sample, config.corpus, config.distill, scratch,
            seed=config.seed, further_teachers=others,
        )  # fmt: skip
        summary = {"steps": found.step, "texts_seen": found.texts, "held_out": found.best.figures if found.best else {}}
        step = Step(
            command="distill", config=config.model_dump(mode="json"), seed=config.seed, summary=summary,
            inputs={"teacher": teacher.weights_hash(), "corpus": drawn.summary["hash"]}, seconds=found.seconds,
        )  # fmt: skip
        passport = student.passport.with_step(step, name=out.name)
        student.name = out.name
        passport = passport.with_records(agreement_records(teacher, student, sample, config.seed)[1])
        models.save(student, folder / "checkpoint", passport)
        shutil.copy(found.metrics, folder / "checkpoint" / "metrics.jsonl")
        return summary

    result = steps.run("distill", inputs, "distilling", work)
    shutil.copytree(result.folder / "checkpoint", out, dirs_exist_ok=True)
    return result.summary
