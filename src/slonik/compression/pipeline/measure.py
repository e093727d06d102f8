"""Before and after, the same way: size, speed, memory, agreement with the original, encodechka where its data is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slonik.compression.pipeline.config import CompressConfig
from slonik.compression.pipeline.corpus import CorpusSample
from slonik.core.hashing import sha256_texts
from slonik.core.paths import data_dir
from slonik.core.protocols import FloatArray
from slonik.core.records import Record
from slonik.evaluation import agreement as agree
from slonik.evaluation.resources.measure import measure
from slonik.evaluation.resources.sample_texts import bench_texts
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
    from slonik.evaluation.encodechka import compare, evaluate

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
