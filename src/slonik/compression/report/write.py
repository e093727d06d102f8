"""What a compression leaves for people: an HTML page, a model card, the command that does it again, how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.compression.chosen import Choice
from slonik.compression.config import CompressConfig
from slonik.compression.headed import HeadedEncoder
from slonik.compression.report.curve import CurvePoint
from slonik.compression.report.page import CompressionFacts, compression_page
from slonik.compression.report.tables import Stage
from slonik.core.passport import Passport, Step
from slonik.core.records import Record
from slonik.evaluation.encodechka.tasks import PUBLISHED
from slonik.models.describe import describe_folder
from slonik.models.kinds import names_head
from slonik.reporting.model_card import model_card
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import TaskConfig
from slonik.train.run_log import read_metrics

REPORT_NAME = "report.html"


def write_report(
    before: Sequence[Record],
    after: Sequence[Record],
    differences: Sequence[Record],
    facts: CompressionFacts,
    folder: Path,
) -> Path:
    """Write `report.html` and the model card (README.md) into `folder`, which holds the whole checkpoint."""
    path = folder / REPORT_NAME
    compression_page(before, after, facts, differences=differences, path=path)
    found = describe_folder(folder)
    model_card(
        Passport.read(folder), found.facts, SentenceConfig.read(folder), loader=found.loader,
        commands=facts.commands, folder=folder, task=TaskConfig.read(folder) if names_head(folder) else None,
    )  # fmt: skip
    return path


def facts_of(
    config: CompressConfig,
    after: Sequence[Record],
    *,
    lineage: Sequence[Step],
    seconds: Mapping[str, float],
    trimming: Mapping[str, Any] | None,
    stages: Sequence[Stage],
    metrics: Path | None,
    command: str | None = None,
    teacher: HeadedEncoder | None = None,
) -> CompressionFacts:
    """What the report tells beside the records.

    Args:
        after: records of the result. metrics: log of the distillation.
        command: the line that does it again, where it is another than that of `config`.
        teacher: the original, whose head is told of.
    """
    measured = any(record.suite == "encodechka" for record in after)
    note = "encodechka was not measured: give its data with --data-dir (slonik fetch encodechka)."
    head = _about_head(teacher, config)
    choice = Choice.of(metrics)
    said = (choice.sentence(),) if choice is not None and choice.unchanged else ()
    out = Path(config.out)
    return CompressionFacts(
        before=config.model,
        after=out.name,
        lineage=lineage,
        seconds=seconds,
        trimming=trimming,
        curve=_curve(metrics),
        curve_unit="seconds",
        commands=(command or command_line(config),),
        usage=usage(out, teacher),
        notes=(*said, *(head or (() if measured else (note,)))),
        chosen=choice,
        published=_published() if measured else (),
        stages=stages,
    )


def _about_head(teacher: HeadedEncoder | None, config: CompressConfig) -> tuple[str, ...]:
    """What became of the head, in sentences; none without a head."""
    if teacher is None or (teacher.task is None and teacher.words is None):
        return ()
    if teacher.words is not None:
        return (
            "The head that guesses masked words was cut along and not taught: train it on with slonik adapt before "
            "words are guessed with it.",
        )
    how = "not taught: distillation was left out" if config.distill is None else "taught to answer as the original's"
    return (
        f"The original is {teacher.kind}; its head was cut along and {how}, without labels. How far the answers agree "
        "is measured on held-out inputs.",
    )


def usage(out: Path, teacher: HeadedEncoder | None = None) -> str:
    """Lines of shell and Python that use the checkpoint."""
    if teacher is not None and teacher.task is not None:
        if teacher.task.config.target == "tags":
            return f"slonik show {out}\nslonik tag {out} FILE"
        return f"slonik show {out}\nslonik predict {shlex.quote(teacher.task.config.task)} {out} < ROWS.jsonl"
    return (
        f"slonik show {out}\n"
        f"slonik export {out} --out {out}-onnx\n"
        f'python -c "import slonik; print(slonik.load({str(out)!r}).encode([{"слонёнок"!r}]).shape)"'
    )


def command_line(config: CompressConfig) -> str:
    """The command that makes the same checkpoint; fields without an option of their own go into --set."""
    words = ["slonik", "compress", config.model]
    for name in config.corpus.texts:
        words += ["--corpus", name]
    for name in config.corpus.pairs:
        words += ["--pairs", name]
    for name in config.corpus.examples:
        words += ["--examples", name]
    words += ["--out", config.out]
    changed = config.model_dump(mode="json", exclude_defaults=True)
    for section in ("corpus", "trim", "prune", "distill"):
        content = changed.get(section, {})
        if content is None:
            words += ["--set", f"{section}=null"]
            continue
        fields = {name: value for name, value in content.items() if name not in ("texts", "pairs", "examples")}
        for name, value in fields.items():
            words += ["--set", f"{section}.{name}={_yaml(value)}"]
    if config.init:
        words += ["--init", config.init]
    if config.data_dir:
        words += ["--data-dir", config.data_dir]
    if config.seed:
        words += ["--seed", str(config.seed)]
    return shlex.join(words)


def _yaml(value: object) -> str:
    import yaml

    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("\n...\n").strip()
    )


def _curve(metrics: Path | None) -> list[CurvePoint]:
    if metrics is None or not metrics.exists():
        return []
    lines = [line for line in read_metrics(metrics) if "evaluation" in line]
    return [CurvePoint(compute=line["seconds"], metrics=line["evaluation"]) for line in lines]


def _published() -> list[Record]:
    return [
        Record(
            suite="encodechka", task=task, variant="compatible", model=row.model, metric="published", value=value,
            detail={"published": True, "source": row.source},
        )
        for row in PUBLISHED
        for task, value in row.scores.items()
    ]  # fmt: skip
