"""Before and after, the same way: size, speed, memory, agreement with the original, encodechka where its data is.

Models on the way are measured too: the vocabulary trimmed alone, and int8 files of it and of the result.
Does not: make tables (see `report.tables`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from slonik import models, runtime
from slonik.compression.config import CompressConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.report.tables import Stage
from slonik.core.hashing import sha256_texts
from slonik.core.paths import data_dir
from slonik.core.protocols import FloatArray
from slonik.core.records import Record
from slonik.evaluation import agreement as agree
from slonik.evaluation.resources.measure import bench_texts, measure
from slonik.evaluation.statistics import Mean, interval, replicates, value_of
from slonik.models.encoder import TorchEncoder

SUITE = "agreement"


@dataclass
class Measured:
    """Records of the original, of the result, and of their paired differences."""

    before: list[Record] = field(default_factory=list)
    after: list[Record] = field(default_factory=list)
    differences: list[Record] = field(default_factory=list)


def measure_both(
    teacher: TorchEncoder,
    student: TorchEncoder,
    sample: CorpusSample,
    config: CompressConfig,
    announce: Callable[[str], None],
) -> Measured:
    """Measure the original and the result."""
    announce("measuring speed, memory and agreement ...")
    found = Measured()
    data = data_dir(Path(config.data_dir) if config.data_dir else None)
    texts = bench_texts(data_dir=data if (data / "encodechka").is_dir() else None, limit=config.speed_texts)
    for encoder, records in ((teacher, found.before), (student, found.after)):
        records += measure(encoder, texts, rounds=3)
    before, after = agreement_records(teacher, student, sample, config.seed)
    found.before += before
    found.after += after
    if config.evaluate and (data / "encodechka").is_dir():
        announce("measuring encodechka, before and after ...")
        _add_encodechka(found, teacher, student, data)
    return found


def _add_encodechka(found: Measured, teacher: TorchEncoder, student: TorchEncoder, data: Path) -> None:
    from slonik.evaluation.encodechka.comparison import compare
    from slonik.evaluation.encodechka.run import evaluate

    evaluations = [evaluate(encoder, data) for encoder in (teacher, student)]
    found.before += evaluations[0].records
    found.after += evaluations[1].records
    found.differences += compare(evaluations)


def agreement_records(
    teacher: TorchEncoder, student: TorchEncoder, sample: CorpusSample, seed: int
) -> tuple[list[Record], list[Record]]:
    """Agreement on held-out sentences, and translations found among held-out pairs, each with its interval."""
    held = sample.held_texts
    vectors = {encoder.name: agree.unit(encoder.encode(held)) for encoder in (teacher, student)}
    theirs, ours = vectors[teacher.name], vectors[student.name]
    hashes = {"texts": sha256_texts(held)}
    after = [_record(student.name, "held_out", "neighbours", agree.neighbour_overlap(ours, theirs), seed, hashes)]
    if ours.shape == theirs.shape:
        after.append(_record(student.name, "held_out", "agreement", agree.centred_cosines(ours, theirs), seed, hashes))
        after.append(_record(student.name, "held_out", "cosine", (ours * theirs).sum(1), seed, hashes))
    before: list[Record] = []
    if sample.held_pairs:
        hashes = {"texts": sha256_texts(text for pair in sample.held_pairs for text in pair)}
        for encoder, records in ((teacher, before), (student, after)):
            english, russian = (encoder.encode([pair[side] for pair in sample.held_pairs]) for side in (0, 1))
            hits = agree.translation_hits(russian, english)
            records.append(_record(encoder.name, "translations", "accuracy", hits, seed, hashes))
    return before, after


def _record(
    model: str, task: str, metric: str, items: FloatArray | Sequence[float], seed: int, hashes: dict[str, str]
) -> Record:
    statistic = Mean(np.asarray(items, dtype=np.float64))
    found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=task))
    return Record(
        suite=SUITE, task=task, model=model, metric=metric, value=found.value, low=found.low, high=found.high,
        n=statistic.n, seed=seed, hashes=hashes,
    )  # fmt: skip


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
    from slonik.exporting.run import export

    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "checkpoint", Path(place) / "onnx"
        models.save(encoder, source)
        report = export(source, target, measure_speed=False)
        small: Any = runtime.load(target)
        small.name = f"{encoder.name} int8"
        stage = Stage(name, None, report.sizes["int8"])
        return replace(stage, records=_scores(teacher, small, sample, config))


def _scores(teacher: TorchEncoder, encoder: Any, sample: CorpusSample, config: CompressConfig) -> list[Record]:
    records = agreement_records(teacher, encoder, sample, config.seed)[1]
    data = data_dir(Path(config.data_dir) if config.data_dir else None)
    if config.evaluate and (data / "encodechka").is_dir():
        from slonik.evaluation.encodechka.run import evaluate

        records += evaluate(encoder, data).records
    return [record for record in records if record.suite in _SUITES]
