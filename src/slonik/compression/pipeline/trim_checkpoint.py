"""Trim the vocabulary of a whole checkpoint: count a corpus, choose pieces, cut tokenizer and model, save, report.

The vocabulary half of the compression story alone: no layer is touched and nothing is trained.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import Field

from slonik.compression.pipeline.trimming import apply_trim, plan_by_rules
from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.passport import Step
from slonik.core.records import Record
from slonik.data.readers import corpus_files, read_texts
from slonik.data.sampling import Sample, set_aside
from slonik.models import load, save
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizers.rules import TrimRules
from slonik.text.tokenizers.trim import TrimPlan, TrimReport

SUITE = "tokenizer"


class TrimCheckpointConfig(Config):
    """What to trim, and by which texts.

    Attributes:
        model: folder, hub id or embedded:NAME.
        corpus: text files that show which pieces are needed.
        column: field or column that holds the texts, for files with several.
        out: folder for the trimmed checkpoint.
        rules: which pieces stay; the model's own prefixes always do.
        held_out: texts of the corpus to set aside, at most, and compare the cuts on.
        overwrite: replace `out` if it is there.
    """

    model: str
    corpus: tuple[str, ...] = Field(min_length=1)
    column: str | None = None
    out: str
    rules: TrimRules = TrimRules()
    held_out: int = Field(2_000, ge=1)
    overwrite: bool = False


def trim_checkpoint(config: TrimCheckpointConfig) -> tuple[TrimPlan, list[Record]]:
    """Write the trimmed checkpoint; returns the plan with its report, and the report as records.

    Raises:
        SlonikError: no such model or corpus, an empty corpus, a limit that cannot be met, or `out` is taken.
    """
    started = time.perf_counter()
    out = Path(config.out)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not config.overwrite):
        raise SlonikError(f"the folder {out} is there already and is not empty: choose another --out or remove it")
    files = corpus_files(config.corpus)
    texts = read_texts(files, column=config.column)
    encoder = load(config.model, device="cpu")
    held_out = Sample[str](config.held_out)
    plan = plan_by_rules(encoder, config.rules, set_aside(texts, held_out), held_out.items)
    hashes = {path.name: sha256_file(path) for path in files}
    trimmed = apply_trim(encoder, plan)
    lineage = trimmed.passport.lineage
    seconds = round(time.perf_counter() - started, 1)
    last = lineage[-1].model_copy(update={"inputs": lineage[-1].inputs | hashes, "seconds": seconds})
    passport = trimmed.passport.model_copy(update={"lineage": (*lineage[:-1], last)})
    records = trim_records(config, encoder, trimmed, plan.report, last)
    save(trimmed, out, passport.with_records(records), overwrite=config.overwrite)
    return plan, records


def trim_records(
    config: TrimCheckpointConfig, before: TorchEncoder, after: TorchEncoder, report: TrimReport, step: Step
) -> list[Record]:
    """The figures of a report as records: suite `tokenizer`, task `trim`, variant the script of held-out texts."""
    common: dict[str, Any] = {"suite": SUITE, "task": "trim", "model": config.out, "hashes": step.inputs}
    common["seconds"] = step.seconds
    sizes = {
        "pieces_before": report.pieces_before,
        "pieces": report.pieces_after,
        "parameters_before": before.model.num_parameters(),
        "parameters": after.model.num_parameters(),
    }
    records = [Record(metric=name, value=value, **common) for name, value in sizes.items()]
    for script, cut in report.held_out.items():
        variant = "" if script == "all" else script
        figures = {
            "identical": cut.identical_share,
            "token_growth": cut.token_growth,
            "unknown_rate_before": cut.unknown_rate_before,
            "unknown_rate": cut.unknown_rate_after,
        }
        records += [
            Record(metric=name, value=value, variant=variant, n=cut.texts, **common) for name, value in figures.items()
        ]
    return records
