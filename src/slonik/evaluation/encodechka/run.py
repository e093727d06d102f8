"""One encoder on encodechka: which tasks can be scored, one encoding pass, scores, intervals, averages.

The order is: speed (before anything is warm), one pass over the unique sentences of all tasks, classifiers, word
tasks, bootstrap. Tasks whose files are not there are named and left out, and so is every average that needs them.
Loading encoders, comparing and showing them is the suite's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.array_store import ArrayStore, prune_store
from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_json
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder, TokenEncoder
from slonik.core.records import Record
from slonik.data import fetch as data
from slonik.evaluation.encodechka.embeddings import (
    LARGEST_BYTES,
    SentenceVectors,
    limited,
    vectors_identity,
    weights_of,
)
from slonik.evaluation.encodechka.readers import numbers, read_documents, read_labelled, read_pairs, read_sentences
from slonik.evaluation.encodechka.scoring import (
    Score,
    SpeedBeside,
    score_classification,
    score_correlation,
    score_inference,
    score_speed,
    speed_beside,
)
from slonik.evaluation.encodechka.tasks import AVERAGES, MAX_LENGTH, PROTOCOL, SUITE, TASKS, VARIANTS, Task
from slonik.evaluation.encodechka.words import WordVectors, longest, score_words
from slonik.evaluation.long_texts import told_cut
from slonik.evaluation.prefix import applied_prefix
from slonik.evaluation.statistics import Array, Interval, interval, replicates
from slonik.text.matryoshka import check_dimensions


@dataclass(frozen=True)
class Measured:
    """A task or an average under one variant: its record, and replicates for comparisons."""

    record: Record
    values: Array


@dataclass
class EncoderScores:
    """All that was found out about one encoder.

    Attributes:
        model: its name.
        measured: (variant, task or average) -> what was measured.
        missing: task -> files that are not there.
        notes: warnings (a data file with another hash).
        embedding_seconds: encoding of sentences and words; 0 for what came from the cache.
        classifier_seconds: classifiers, metrics and their cross-validation.
        encoded, reused: texts encoded, and taken from the cache.
        cut: what texts are longer than the encoder reads, in sentences.
        beside: variant -> the speed measured in turns with another encoder.
    """

    model: str
    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    embedding_seconds: float = 0.0
    classifier_seconds: float = 0.0
    encoded: int = 0
    reused: int = 0
    cut: list[str] = field(default_factory=list)
    beside: dict[str, SpeedBeside] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        """One record per (task, variant), averages after their tasks."""
        return [measured.record for measured in self.measured.values()]


@dataclass(frozen=True)
class _Part:
    """A task whose data is there: content of its files, and their hashes."""

    task: Task
    content: Any
    hashes: dict[str, str]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Texts that the task needs sentence vectors of."""
        if self.task.kind in ("pair_correlation", "pair_classification"):
            return (*self.content.first, *self.content.second)
        if self.task.kind in ("accuracy", "roc_auc"):
            train, test = self.content
            return (*train.texts, *test.texts)
        return ()


def evaluate(
    encoder: Encoder,
    folder: Path,
    *,
    tasks: Sequence[str] | None = None,
    variants: Sequence[str] = VARIANTS,
    prefix: str | None = None,
    use_cache: bool = True,
    seed: int = 0,
    on_task: Callable[[str], None] | None = None,
    beside: Encoder | None = None,
    dimensions: int | None = None,
) -> EncoderScores:
    """Score `encoder` on the tasks whose data is in `folder / "encodechka"`.

    Args:
        folder: the data folder.
        tasks: ids to score; None = all.
        variants: of "compatible", "fixed".
        prefix: put before every text; None = the encoder's default for sentences, and none for words.
        use_cache: keep embeddings in the user's cache folder, and take them from there.
        seed: of the bootstrap; the published classifiers keep their own.
        on_task: called with a task's id before it is scored.
        beside: the encoder that it will be compared with: their speeds are measured in turns.
        dimensions: score so many leading dimensions of its sentence vectors, under a name that says so: the sentence
            tasks alone, for a cut takes as long as a whole vector, and words are read by token vectors.

    Raises:
        SlonikError: unknown task or variant, damaged data, no data at all, or more dimensions than there are.
    """
    chosen = [lookup(name, TASKS, "task") for name in tasks or TASKS]
    if dimensions is not None:
        check_dimensions(dimensions, encoder.dimension, encoder.name)
        chosen = [task for task in chosen if task.kind not in ("speed", "words")]
    for variant in variants:
        lookup(variant, dict.fromkeys(VARIANTS), "variant")
    evaluation = EncoderScores(encoder.name if dimensions is None else f"{encoder.name} ({dimensions} dimensions)")
    parts = _read_parts(chosen, folder, evaluation)
    run = _Run(encoder, tuple(variants), prefix, seed, use_cache, evaluation, on_task or (lambda _: None), dimensions)
    run.speed([part for part in parts if part.task.kind == "speed"], beside)
    run.sentences([part for part in parts if part.sentences])
    run.words([part for part in parts if part.task.kind == "words"])
    run.averages()
    order = [(variant, name) for variant in VARIANTS for name in (*TASKS, *AVERAGES)]
    evaluation.measured = {key: evaluation.measured[key] for key in order if key in evaluation.measured}
    if use_cache:
        prune_store(cache_dir() / "embeddings", LARGEST_BYTES)
    return evaluation


def _read_parts(tasks: Sequence[Task], folder: Path, evaluation: EncoderScores) -> list[_Part]:
    parts = []
    files: dict[str, data.LocalFile] = {}
    for task in tasks:
        absent = tuple(file for file in task.files if not data.is_present(SUITE, file, folder))
        if absent:
            evaluation.missing[task.id] = absent
            continue
        for file in task.files:
            if file not in files:
                files[file] = data.locate(SUITE, file, folder)
                if not files[file].is_original:
                    evaluation.notes.append(
                        f"{files[file].path} is not the published file (its sha256 is {files[file].sha256}): "
                        f"values of {task.id} compare with nothing published"
                    )
        hashes = {file: files[file].sha256 for file in task.files}
        parts.append(_Part(task, _read(task, {file: files[file].path for file in task.files}), hashes))
    if not parts:
        data.locate(SUITE, next(iter(evaluation.missing.values()))[0], folder)  # raises, and says what to do
    return parts


def _read(task: Task, paths: dict[str, Path]) -> Any:
    test = paths[task.test]
    if task.kind in ("pair_correlation", "pair_classification"):
        return read_pairs(test, task)
    if task.kind == "words":
        return read_documents(test)
    if task.kind == "speed":
        return read_sentences(test)
    assert task.train is not None
    train = read_labelled(paths[task.train], task.train_column, task.target)
    return train, read_labelled(test, task.columns[0], task.target)


@dataclass
class _Run:
    """One encoder's way through the tasks."""

    encoder: Encoder
    variants: tuple[str, ...]
    prefix: str | None
    seed: int
    use_cache: bool
    evaluation: EncoderScores
    on_task: Callable[[str], None]
    dimensions: int | None = None

    def __post_init__(self) -> None:
        self.weights = str(weights_of(self.encoder))

    def speed(self, parts: Sequence[_Part], beside: Encoder | None) -> None:
        for part in parts:
            self.on_task(part.task.id)
            vectors = SentenceVectors(self.encoder, self.prefix)
            for variant in self.variants:
                self._keep(part, variant, score_speed(part.content, vectors, variant), 0.0)
            if beside is not None:
                other = SentenceVectors(beside, self.prefix)
                for variant in self.variants:
                    self.evaluation.beside[variant] = speed_beside(part.content, other, vectors, variant)

    def sentences(self, parts: Sequence[_Part]) -> None:
        if not parts:
            return
        reading = limited(self.encoder, MAX_LENGTH)
        for part in parts if self.dimensions is None else ():  # of leading dimensions the texts are the same
            self.evaluation.cut += told_cut(reading, part.sentences, self.prefix, what=f"texts of {part.task.id}")
        store = self._store(reading, self.prefix)
        vectors = SentenceVectors(self.encoder, self.prefix, store, self.dimensions)
        vectors.prepare(text for part in parts for text in part.sentences)
        sizes = {part.task.id: sum(map(len, set(part.sentences))) for part in parts}
        for part in parts:
            self.on_task(part.task.id)
            share = vectors.seconds * sizes[part.task.id] / max(1, sum(sizes.values()))
            for variant, score in _score_sentences(part, vectors, self.variants).items():
                self._keep(part, variant, score, share)
        self._count(vectors)

    def words(self, parts: Sequence[_Part]) -> None:
        if not parts:
            return
        prefix = self.prefix or ""
        vectors = WordVectors(self.encoder, prefix, self._store(longest(self.encoder), prefix, score_words.__module__))
        for part in parts:
            self.on_task(part.task.id)
            for variant in self.variants:
                before = vectors.seconds
                score = score_words(part.content, vectors, variant)
                score.detail["prefix"] = prefix
                score.detail["vectors"] = "pieces" if isinstance(self.encoder, TokenEncoder) else "each word alone"
                self._keep(part, variant, score, vectors.seconds - before)
        self._count(vectors)

    def averages(self) -> None:
        """Means over tasks, each task's replicates being its own."""
        measured = self.evaluation.measured
        for variant in self.variants:
            for name, tasks in AVERAGES.items():
                if not all((variant, task) in measured for task in tasks):
                    continue
                members = [measured[variant, task].record for task in tasks]
                values = np.mean([measured[variant, task].values for task in tasks], axis=0)
                bounds = interval(float(np.mean([member.value for member in members])), values)
                self._add(
                    name, variant, "mean", bounds, values,
                    n=sum(member.n or 0 for member in members),
                    seconds=sum(member.seconds or 0.0 for member in members),
                    detail={"tasks": list(tasks), "prefix": _common([one.detail["prefix"] for one in members])},
                    hashes={kind: sha256_json([one.hashes[kind] for one in members]) for kind in ("data", "protocol")},
                )  # fmt: skip

    def _store(self, encoder: Encoder, prefix: str | None, *code: str) -> ArrayStore | None:
        if not self.use_cache or not hasattr(encoder, "tokenizer"):
            return None  # what has no tokenizer is encoded faster than read
        return ArrayStore(cache_dir() / "embeddings", vectors_identity(encoder, prefix, *code))

    def _count(self, vectors: SentenceVectors | WordVectors) -> None:
        self.evaluation.embedding_seconds += vectors.seconds
        self.evaluation.encoded += vectors.encoded
        self.evaluation.reused += vectors.reused

    def _keep(self, part: _Part, variant: str, score: Score, embedding_seconds: float) -> None:
        task = part.task
        start = time.perf_counter()
        values = replicates(score.statistic, seed=self.seed, sample=task.test)
        bounds = interval(score.value, values)
        bootstrap_seconds = time.perf_counter() - start
        if task.kind != "speed":
            self.evaluation.classifier_seconds += score.seconds + bootstrap_seconds
        protocol = sha256_json([PROTOCOL, variant, task.id, task.metric, task.columns, task.target])
        spent = {"embedding_seconds": round(embedding_seconds, 3), "classifier_seconds": round(score.seconds, 3)}
        self._add(
            task.id, variant, task.metric, bounds, values, n=score.statistic.n,
            seconds=embedding_seconds + score.seconds, detail={**score.detail, **spent},
            hashes={"data": sha256_json(part.hashes), "protocol": protocol},
        )  # fmt: skip

    def _add(
        self, task: str, variant: str, metric: str, bounds: Interval, values: Array, *, detail: dict[str, Any],
        hashes: dict[str, str], **fields: Any,
    ) -> None:  # fmt: skip
        detail = {"prefix": applied_prefix(self.encoder, self.prefix)} | detail
        detail |= {} if self.dimensions is None else {"dimensions": self.dimensions}
        record = Record(
            suite=SUITE, task=task, variant=variant, model=self.evaluation.model, metric=metric, seed=self.seed,
            detail=detail, hashes=hashes | {"weights": self.weights}, **bounds.fields,
            **fields,
        )  # fmt: skip
        self.evaluation.measured[variant, task] = Measured(record, values)


def _common(prefixes: Sequence[str]) -> str | list[str]:
    """The prefix of all, or those that there are, in the order of the tasks."""
    found = list(dict.fromkeys(prefixes))
    return found[0] if len(found) == 1 else found


def _score_sentences(part: _Part, vectors: SentenceVectors, variants: Sequence[str]) -> dict[str, Score]:
    task = part.task
    if task.kind == "pair_correlation":
        return score_correlation(part.content, numbers(part.content.targets, Path(task.test)), vectors, variants)
    if task.kind == "pair_classification":
        return score_inference(part.content, vectors, variants)
    train, test = part.content
    if task.kind == "roc_auc":
        numbers((*train.labels, *test.labels), Path(task.test))
    if len(set(train.labels)) < 2:
        raise SlonikError(f"{task.train} has fewer than two classes in {task.target!r}: fetch it again")
    return score_classification(task, train, test, vectors, variants)
