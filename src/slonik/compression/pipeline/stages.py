"""Measure the models on the way of a compression: the vocabulary trimmed alone, and int8 files of it and of the result.

Does: agreement with the original, and encodechka where its data is; sizes on disk.
Does not: speed (see `compress_measure`), or tables (see `slonik.compression.report.stages`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import slonik
from slonik import models
from slonik.compression.pipeline.config import CompressConfig
from slonik.compression.pipeline.corpus import CorpusSample
from slonik.compression.pipeline.measure import agreement_records
from slonik.compression.report.stages import Stage
from slonik.core.paths import data_dir
from slonik.core.records import Record
from slonik.models.encoder import TorchEncoder

_SUITES = ("agreement", "encodechka")


def measure_stages(
    teacher: TorchEncoder,
    trimmed: Path | None,
    student: TorchEncoder,
    sample: CorpusSample,
    config: CompressConfig,
    known: tuple[Sequence[Record], Sequence[Record]],
    announce: Callable[[str], None],
) -> list[Stage]:
    """The original, the trimmed model, the result, and int8 files where `config.stages` asks for them.

    Args:
        trimmed: folder of the model whose vocabulary alone was cut; None where nothing was trimmed.
        known: records of the original and of the result, which are not measured again.
    """
    if config.stages == "none":
        return []
    stages = [_stage("the original", teacher, known[0])]
    if trimmed is not None:
        announce("measuring the trimmed model alone ...")
        alone = models.load(trimmed)
        alone.name = f"{config.out_name} (trimmed alone)"
        stages.append(_stage("vocabulary trimmed", alone, _scores(teacher, alone, sample, config)))
        if config.stages == "int8":
            stages.append(_int8("vocabulary trimmed, int8", alone, teacher, sample, config))
    stages.append(_stage("the result", student, known[1]))
    if config.stages == "int8":
        announce("measuring int8 files ...")
        stages.append(_int8("the result, int8", student, teacher, sample, config))
    return stages


def _stage(name: str, encoder: TorchEncoder, records: Sequence[Record]) -> Stage:
    facts = encoder.describe()
    kept = [record for record in records if record.suite in _SUITES]
    return Stage(name, int(facts["parameters"]), int(facts["bytes"]), kept)


def _int8(
    name: str, encoder: TorchEncoder, teacher: TorchEncoder, sample: CorpusSample, config: CompressConfig
) -> Stage:
    """The same model as an int8 file, read by the torch-free runtime."""
    from slonik.exporting import export

    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "checkpoint", Path(place) / "onnx"
        models.save(encoder, source)
        report = export(source, target, measure_speed=False)
        runtime: Any = slonik.load(target)
        runtime.name = f"{encoder.name} int8"
        stage = Stage(name, None, report.sizes["int8"])
        return replace(stage, records=_scores(teacher, runtime, sample, config))


def _scores(teacher: TorchEncoder, encoder: Any, sample: CorpusSample, config: CompressConfig) -> list[Record]:
    records = agreement_records(teacher, encoder, sample, config.seed)[1]
    data = data_dir(Path(config.data_dir) if config.data_dir else None)
    if config.evaluate and (data / "encodechka").is_dir():
        from slonik.evaluation.encodechka import evaluate

        records += evaluate(encoder, data).records
    return [record for record in records if record.suite in _SUITES]
