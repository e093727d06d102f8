"""Before and after, the same way: size, speed, memory, agreement with the original, encodechka where its data is.

Models on the way are measured too: the vocabulary trimmed alone, and int8 files of it and of the result.
Does not: make tables (see `report.tables`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from slonik import runtime
from slonik.compression.config import CompressConfig, CorpusConfig, DistillConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.headed import HeadedEncoder, open_headed
from slonik.compression.report.tables import Stage
from slonik.compression.task_texts import names_of, task_texts
from slonik.compression.task_training import HeldOutAnswers
from slonik.core.hashing import sha256_texts
from slonik.core.paths import data_dir
from slonik.core.protocols import Encoder, FloatArray
from slonik.core.records import Record
from slonik.evaluation import agreement as agree
from slonik.evaluation.prefix import applied_prefix
from slonik.evaluation.resources.measure import bench_texts, measure_in_turns
from slonik.evaluation.statistics import Mean, Statistic, interval, replicates, value_of
from slonik.models.encoder import TorchEncoder

SUITE = "agreement"


@dataclass
class Measured:
    """Records of the original, of the result, and of their paired differences."""

    before: list[Record] = field(default_factory=list)
    after: list[Record] = field(default_factory=list)
    differences: list[Record] = field(default_factory=list)


@dataclass(frozen=True)
class HeldVectors:
    """What an encoder makes of the held-out texts of a corpus sample.

    Attributes:
        name, prefix: of the encoder, and what it put before each text.
        texts: (N, E) unit vectors of the sentences.
        english, russian: (P, E) vectors of the two sides of the pairs.
    """

    name: str
    prefix: str
    texts: FloatArray
    english: FloatArray | None
    russian: FloatArray | None

    @classmethod
    def of(cls, encoder: Encoder, sample: CorpusSample) -> HeldVectors:
        """Encode them."""
        english = russian = None
        if sample.held_pairs:
            english, russian = (encoder.encode([pair[side] for pair in sample.held_pairs]) for side in (0, 1))
        texts = agree.unit(encoder.encode(sample.held_texts))
        return cls(encoder.name, applied_prefix(encoder), texts, english, russian)


def measure_both(
    teacher: HeadedEncoder,
    student: HeadedEncoder,
    sample: CorpusSample,
    config: CompressConfig,
    announce: Callable[[str], None],
) -> Measured:
    """Measure the original and the result.

    A model with a head for a task is no sentence encoder: the agreement of its answers is measured, and no benchmark of
    sentence vectors.
    """
    announce("measuring speed, memory and agreement ...")
    found = Measured()
    data = data_dir(Path(config.data_dir) if config.data_dir else None)
    texts = bench_texts(data_dir=data if (data / "encodechka").is_dir() else None, limit=config.speed_texts)
    found.before, found.after = measure_in_turns([teacher.encoder, student.encoder], texts)
    before, after = _agreement(teacher, student, sample, config)
    found.before += before
    found.after += after
    if teacher.task is not None:
        if config.evaluate and config.data_dir:
            announce(f"{teacher.name} is {teacher.kind}, no sentence encoder: encodechka is not measured")
    elif config.evaluate and (data / "encodechka").is_dir():
        announce("measuring encodechka, before and after ...")
        _add_encodechka(found, teacher.encoder, student.encoder, data)
    return found


def _add_encodechka(found: Measured, teacher: TorchEncoder, student: TorchEncoder, data: Path) -> None:
    from slonik.evaluation.encodechka.comparison import compare
    from slonik.evaluation.encodechka.run import evaluate

    evaluations = [evaluate(teacher, data), evaluate(student, data, beside=teacher)]
    found.before += evaluations[0].records
    found.after += evaluations[1].records
    found.differences += compare(evaluations)


def _agreement(
    teacher: HeadedEncoder, student: HeadedEncoder, sample: CorpusSample, config: CompressConfig
) -> tuple[list[Record], list[Record]]:
    return agreement_records(teacher, student, sample, config.corpus, config.seed, config.distill)


def _same_axes(distill: DistillConfig | None) -> bool:
    """Whether a student's dimensions are its first teacher's; those of a blend are axes of their own."""
    return distill is None or distill.blend is None


def agreement_records(
    teacher: HeadedEncoder,
    student: HeadedEncoder,
    sample: CorpusSample,
    corpus: CorpusConfig,
    seed: int,
    distill: DistillConfig | None = None,
) -> tuple[list[Record], list[Record]]:
    """How far the student agrees with its teacher on held-out inputs: answers of models with a head, else vectors.

    Args:
        distill: how the student was taught: how many texts an input of a classifier has, whether its dimensions are
            its teacher's.

    Returns:
        Records of the teacher and of the student.
    """
    if teacher.task is None or student.task is None:
        theirs, ours = (HeldVectors.of(headed.encoder, sample) for headed in (teacher, student))
        return vector_records(theirs, ours, sample, seed, same_axes=_same_axes(distill))
    texts = distill.texts_of_input if distill is not None else None
    asked = task_texts(teacher.task.config, sample, corpus, seed, texts=texts)
    held = HeldOutAnswers(teacher.task, student.task, asked.held, names_of(teacher.task))
    hashes = {"texts": sha256_texts(str(one.rows) for one in asked.held)}
    detail = {"inputs": "the user's rows" if asked.held_own else asked.about}
    found = [
        _statistic(student.name, "held_out", name, statistic, seed, hashes, detail)
        for name, statistic in held.compared().items()
        if not np.isnan(value_of(statistic))
    ]
    return [], found


def vector_records(
    teacher: HeldVectors, student: HeldVectors, sample: CorpusSample, seed: int, *, same_axes: bool = True
) -> tuple[list[Record], list[Record]]:
    """Agreement on held-out sentences, and translations found among held-out pairs, each with its interval.

    Args:
        same_axes: False where the student's dimensions mean something else (those of a blend): only what compares
            across dimensions is measured.
    """
    theirs, ours = teacher.texts, student.texts
    hashes = {"texts": sha256_texts(sample.held_texts)}
    items = {"neighbours": agree.neighbour_overlap(ours, theirs)}
    if same_axes and ours.shape == theirs.shape:
        items |= {"agreement": agree.centred_cosines(ours, theirs), "cosine": (ours * theirs).sum(1)}
    detail = {"prefix": student.prefix, "teacher": teacher.name, "prefix_of_teacher": teacher.prefix}
    after = [
        _record(student.name, "held_out", metric, values, seed, hashes, detail) for metric, values in items.items()
    ]
    before: list[Record] = []
    hashes = {"texts": sha256_texts(text for pair in sample.held_pairs for text in pair)}
    for held, records in ((teacher, before), (student, after)):
        if held.english is not None and held.russian is not None:
            hits = agree.translation_hits(held.russian, held.english)
            told = {"prefix": held.prefix}
            records.append(_record(held.name, "translations", "accuracy", hits, seed, hashes, told))
    return before, after


def _record(
    model: str, task: str, metric: str, items: FloatArray | Sequence[float], seed: int, hashes: dict[str, str],
    detail: dict[str, Any],
) -> Record:  # fmt: skip
    return _statistic(model, task, metric, Mean(np.asarray(items, dtype=np.float64)), seed, hashes, detail)


def _statistic(
    model: str, task: str, metric: str, statistic: Statistic, seed: int, hashes: dict[str, str],
    detail: dict[str, Any] | None = None,
) -> Record:  # fmt: skip
    found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=task))
    return Record(
        suite=SUITE, task=task, model=model, metric=metric, value=found.value, low=found.low, high=found.high,
        n=statistic.n, seed=seed, hashes=hashes, detail=detail or {},
    )  # fmt: skip


_SUITES = ("agreement", "encodechka")


@dataclass
class _Original:
    """What all stages are compared with; it encodes the held-out texts once."""

    teacher: HeadedEncoder
    sample: CorpusSample

    @cached_property
    def held(self) -> HeldVectors:
        return HeldVectors.of(self.teacher.encoder, self.sample)


def measure_stages(
    teacher: HeadedEncoder,
    trimmed: Path | None,
    student: HeadedEncoder,
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
    original = _Original(teacher, sample)
    stages = [_stage("the original", teacher, known[0])]
    if trimmed is not None:
        announce("measuring the trimmed model alone ...")
        alone = open_headed(trimmed)
        alone.encoder.name = f"{config.out_name} (trimmed alone)"
        stages.append(_stage("vocabulary trimmed", alone, _scores(original, alone, config)))
        if config.stages == "int8":
            stages.append(_int8("vocabulary trimmed, int8", alone, original, config))
    stages.append(_stage("the result", student, known[1]))
    if config.stages == "int8":
        announce("measuring int8 files ...")
        stages.append(_int8("the result, int8", student, original, config))
    return stages


def _stage(name: str, encoder: HeadedEncoder, records: Sequence[Record]) -> Stage:
    facts = encoder.encoder.describe()
    kept = [record for record in records if record.suite in _SUITES]
    return Stage(name, int(facts["parameters"]), int(facts["bytes"]), kept)


def _int8(name: str, encoder: HeadedEncoder, original: _Original, config: CompressConfig) -> Stage:
    """The same model as an int8 file, read by the torch-free runtime; of one with a head, its size alone."""
    from slonik.exporting.run import export

    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "checkpoint", Path(place) / "onnx"
        encoder.save(source)
        report = export(source, target, measure_speed=False)
        if encoder.task is not None:
            return Stage(name, None, report.sizes["int8"])
        small: Any = runtime.load(target)
        small.name = f"{encoder.name} int8"
        stage = Stage(name, None, report.sizes["int8"])
        return replace(stage, records=_scores(original, small, config))


def _scores(original: _Original, encoder: Any, config: CompressConfig) -> list[Record]:
    sample = original.sample
    if isinstance(encoder, HeadedEncoder):
        if encoder.task is not None:
            return _agreement(original.teacher, encoder, sample, config)[1]
        encoder = encoder.encoder
    ours = HeldVectors.of(encoder, sample)
    records = vector_records(original.held, ours, sample, config.seed, same_axes=_same_axes(config.distill))[1]
    data = data_dir(Path(config.data_dir) if config.data_dir else None)
    if config.evaluate and (data / "encodechka").is_dir():
        from slonik.evaluation.encodechka.run import evaluate

        records += evaluate(encoder, data).records
    return [record for record in records if record.suite in _SUITES]
