"""What the user sees of a compression: tables in the terminal, one HTML page, and lines that use the result."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from slonik.compression.config import CompressConfig
from slonik.compression.report.curve import CurvePoint
from slonik.compression.report.page import CompressionFacts, compression_page, compression_tables
from slonik.compression.result import Compression
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.evaluation.encodechka.tasks import PUBLISHED
from slonik.models.folder_facts import folder_facts
from slonik.reporting.model_card import model_card
from slonik.reporting.table import print_table
from slonik.text.sentence_config import SentenceConfig
from slonik.train.run_log import read_metrics

REPORT_NAME = "report.html"


def write_report(config: CompressConfig, made: Compression, folder: Path) -> Path:
    """Write `report.html` and the model card (README.md) into `folder`, which holds the whole checkpoint."""
    path = folder / REPORT_NAME
    compression_page(made.before, made.after, facts(config, made), differences=made.differences, path=path)
    found = folder_facts(folder)
    model_card(
        Passport.read(folder), found["facts"], SentenceConfig.read(folder), loader=found["loader"],
        commands=(command_line(config),), folder=folder,
    )  # fmt: skip
    return path


def print_report(config: CompressConfig, made: Compression) -> None:
    """The report's tables on standard output, then where the page is."""
    for table in compression_tables(made.before, made.after, facts(config, made), made.differences):
        print_table(table)
    sys.stdout.write(f"\nreport: {made.out / REPORT_NAME}\n")


def usage(out: Path) -> str:
    """Lines of shell and Python that use the checkpoint."""
    return (
        f"slonik show {out}\n"
        f"slonik export {out} --out {out}-onnx\n"
        f'python -c "import slonik; print(slonik.load({str(out)!r}).encode([{"слонёнок"!r}]).shape)"'
    )


def facts(config: CompressConfig, made: Compression) -> CompressionFacts:
    """What the report tells beside the records."""
    curve, notes = _curve(made), list[str]()
    if not any(record.suite == "encodechka" for record in made.after):
        notes.append("encodechka was not measured: give its data with --data-dir (slonik fetch encodechka).")
    return CompressionFacts(
        before=config.model,
        after=made.out.name,
        lineage=made.lineage,
        seconds=made.seconds,
        trimming=made.summaries.get("trim"),
        curve=curve,
        curve_unit="seconds",
        commands=(command_line(config),),
        usage=usage(made.out),
        notes=notes,
        published=_published(made),
        stages=made.stages,
    )


def command_line(config: CompressConfig) -> str:
    """The command that makes the same checkpoint; fields without an option of their own go into --set."""
    words = ["slonik", "compress", config.model]
    for name in config.corpus.texts:
        words += ["--corpus", name]
    for name in config.corpus.pairs:
        words += ["--pairs", name]
    words += ["--out", config.out]
    changed = config.model_dump(mode="json", exclude_defaults=True)
    for section in ("corpus", "trim", "prune", "distill"):
        content = changed.get(section) if isinstance(changed.get(section), Mapping) else {}
        assert isinstance(content, Mapping)
        fields = {name: value for name, value in content.items() if name not in ("texts", "pairs")}
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


def _curve(made: Compression) -> list[CurvePoint]:
    path = made.summaries.get("distill", {}).get("metrics")
    if not path or not Path(path).exists():
        return []
    lines = [line for line in read_metrics(Path(path)) if "evaluation" in line]
    return [CurvePoint(compute=line["seconds"], metrics=line["evaluation"]) for line in lines]


def _published(made: Compression) -> list[Record]:
    if not any(record.suite == "encodechka" for record in made.after):
        return []
    return [
        Record(
            suite="encodechka", task=task, variant="compatible", model=row.model, metric="published", value=value,
            detail={"published": True, "source": row.source},
        )
        for row in PUBLISHED
        for task, value in row.scores.items()
    ]  # fmt: skip
