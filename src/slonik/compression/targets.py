"""What teachers say of a student's training texts, computed once: vectors of texts, states of tokens, a blend of them.

The first teacher is read token by token where the student's tokens are its own (all of them or some); further ones, and
a first one with other tokens, give vectors of whole texts. Several are either a target each, or blended into one (see
`blend`). A prefix that the teacher wants can be folded in: the teacher reads it and the student does not.
Does not: train (see `training`), draw texts (`corpus`), or say how far a student is from its targets (`losses`).

Shapes: N texts, T tokens, E dimensions of a teacher, D of the student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from slonik.compression.blend import BlendMap, fit_blend
from slonik.compression.config import BlendConfig, CorpusConfig, DistillConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.training_texts import TrainingTexts, pooled, teacher_states, tokenize_texts, training_texts
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder, FloatArray
from slonik.models.encoder import TorchEncoder
from slonik.models.precision import Precision, precision_on
from slonik.train.loaders import Column, partner_rows, rows, token_rows
from slonik.train.ragged import Ragged
from slonik.train.teacher_cache import teacher_vectors

TargetOf = Callable[[Sequence[str]], FloatArray]
"""Texts -> what the student's vectors of them should be."""

_MAP_TEXTS = 20_000
_RIDGE = 1e-3
_WORD = "слово"


@dataclass(frozen=True)
class Teaching:
    """Who teaches whom, and how.

    Attributes:
        teacher: the first one.
        token_ids: (V,) the teacher's id of each student id; None = other tokens, so it gives vectors alone.
        kept: hidden dimensions of the teacher that the student has, in order; None = all.
        others: name -> further teachers.
    """

    teacher: TorchEncoder
    student: TorchEncoder
    token_ids: NDArray[np.int64] | None
    sample: CorpusSample
    corpus: CorpusConfig
    config: DistillConfig
    seed: int = 0
    kept: Sequence[int] | None = None
    others: Mapping[str, Encoder] = field(default_factory=dict)

    @property
    def teachers(self) -> tuple[Encoder, ...]:
        """All of them, the first one first."""
        return (self.teacher, *self.others.values())


@dataclass(frozen=True)
class Targets:
    """Training texts as a student reads them, and what its teachers say of them.

    Attributes:
        ids: token ids of the student.
        groups: (N,) equal for the two texts of a near pair, -1 for all others.
        columns: of the batches: `teacher` (B, E), `teacher_partner`, `teacher_hidden`, `teacher2`, ...
        dimensions: column of each teacher of sentence vectors -> E.
        identity: hash of everything that decides them.
        blend: how the teachers were made one; None where they were not.
        output_map: (D + 1, E) least-squares map from the first teacher's pooled states, a 1 behind them, to the target;
            None where none was asked for.
    """

    ids: Ragged
    groups: NDArray[np.int64]
    columns: dict[str, Column]
    dimensions: dict[str, int]
    identity: str
    blend: BlendMap | None = None
    output_map: FloatArray | None = None


@dataclass(frozen=True)
class _First:
    """What the first teacher says: the student's ids, vectors (N, E), states of tokens where they are compared.

    `own` are the vectors of those dimensions that the student has.
    """

    ids: Ragged
    vectors: NDArray[np.float16]
    own: NDArray[np.float16]
    states: Column | None
    prompts: NDArray[np.int64] | None
    identity: str


def make_targets(teaching: Teaching) -> Targets:
    """Compute everything that a training compares with, or find it in the cache.

    Raises:
        SlonikError: a teacher without usable vectors, a prefix that cannot be folded in.
    """
    config, corpus = teaching.config, teaching.corpus
    if config.output_map:
        _check_map(teaching)
    prefix = teaching.teacher.sentence.prefix(None)
    read = corpus.model_copy(update={"without_prefix": 0.0}) if config.fold_prefix else corpus
    chosen = training_texts(teaching.sample, read, prefix, teaching.seed)
    first = _by_texts(teaching, chosen) if teaching.token_ids is None else _by_tokens(teaching, chosen)
    others = {name: teacher_vectors(each, chosen.plain, _vectors()) for name, each in teaching.others.items()}
    identity = sha256_json([first.identity, config.fold_prefix, [[name, found.key] for name, found in others.items()]])
    columns: dict[str, Column] = {"group": rows(chosen.groups)}
    if first.states is not None and config.terms.hidden:
        columns["teacher_hidden"] = first.states
    if first.prompts is not None:
        columns["prompt"] = rows(first.prompts)
    parts = [first.vectors, *(found.vectors for found in others.values())]
    blend = None
    if config.blend is not None:
        blend = _fitted(config.blend, parts, chosen, _width(teaching))
        parts, identity = [_blended(blend, parts)], sha256_json([identity, blend.identity()])
    dimensions = {}
    for number, vectors in enumerate(parts, start=1):
        name = "teacher" if number == 1 else f"teacher{number}"
        columns[name], dimensions[name] = rows(vectors), vectors.shape[1]
    columns["teacher_partner"] = partner_rows(parts[0], chosen.partners)
    output_map = _least_squares(first.own, parts[0]) if config.output_map else None
    return Targets(first.ids, chosen.groups, columns, dimensions, identity, blend, output_map)


def _check_map(teaching: Teaching) -> None:
    """An output map stands right behind the pooling."""
    for encoder in (teaching.teacher, teaching.student):
        if not encoder.sentence.plain:
            raise SlonikError(
                f"{encoder.name} makes its vector by more than one pooling ({encoder.sentence.in_words()}), and an "
                "output map would replace that: leave out output_map"
            )


def target_of(teaching: Teaching, blend: BlendMap | None) -> TargetOf:
    """The vectors that a student should give to any texts: the first teacher's, or the blend's; cached."""

    def vectors(texts: Sequence[str]) -> FloatArray:
        if blend is None:
            return teacher_vectors(teaching.teacher, texts, _vectors()).vectors.astype(np.float32)
        return blend([teacher_vectors(each, texts, _vectors()).vectors for each in teaching.teachers])

    return vectors


def token_targets(
    teacher: TorchEncoder,
    student: TorchEncoder,
    token_ids: NDArray[np.int64],
    texts: Sequence[str],
    max_tokens: int,
    precision: Precision,
) -> tuple[Ragged, Ragged, str]:
    """Token ids of the student, the teacher's state of each, and the hash of what decides them; from the cache."""
    cache = cache_dir() / "training"
    tokenizer_hash = sha256_bytes(student.tokenizer.to_str().encode("utf-8"))
    ids = tokenize_texts(student, texts, max_tokens, cache / "tokens", tokenizer_hash)
    identity = sha256_json([teacher.identity(), tokenizer_hash, token_ids.tolist(), max_tokens])
    states = teacher_states(
        teacher, student, token_ids, texts, ids.lengths, max_tokens, cache / "states", identity, precision
    )
    return ids, states, identity


def _by_tokens(teaching: Teaching, chosen: TrainingTexts) -> _First:
    """The teacher reads the student's tokens: its vectors are pooled from their states."""
    teacher, student, kept = teaching.teacher, teaching.student, teaching.kept
    assert teaching.token_ids is not None
    precision = precision_on(teacher.device, teaching.config.precision)
    ids, states, identity = token_targets(
        teacher, student, teaching.token_ids, chosen.texts, teaching.corpus.max_tokens, precision
    )
    prompts = _prompts(teacher, chosen)
    same = kept is None or student.dimension == teacher.dimension
    dimensions = list(range(teacher.hidden_size)) if same or kept is None else list(kept)
    cut = teacher.sentence if same else teacher.sentence.cut(kept, teacher.hidden_size)
    own = vectors = pooled(states, cut, dimensions, prompts)
    if not same and teaching.config.blend is not None:  # a blend is of everything that its teachers know
        vectors = pooled(states, teacher.sentence, list(range(teacher.hidden_size)), prompts)
    identity = sha256_json([identity, cut.content()["modules"], None if kept is None else list(kept)])
    folded = teacher.sentence.prefix(None) if teaching.config.fold_prefix else ""
    extra = _length_of(student, folded) if folded else 0
    if extra:
        ids, prompts = _without_start(ids, extra, folded, student.name), None
    every = _rest_of(states, extra) if extra else token_rows(states)
    column = every if kept is None else lambda texts: every(texts)[..., list(kept)]
    return _First(ids, vectors, own, column, prompts, identity)


def _by_texts(teaching: Teaching, chosen: TrainingTexts) -> _First:
    """The student has tokens of its own and its own prefix; the teacher says what whole texts mean."""
    student, teacher = teaching.student, teaching.teacher
    prefix = "" if teaching.config.fold_prefix else student.sentence.prefix(None)
    tokenizer_hash = sha256_bytes(student.tokenizer.to_str().encode("utf-8"))
    texts = [prefix + text for text in chosen.plain]
    folder = cache_dir() / "training" / "tokens"
    ids = tokenize_texts(student, texts, teaching.corpus.max_tokens, folder, tokenizer_hash)
    found = teacher_vectors(teacher, chosen.plain, _vectors())
    return _First(ids, found.vectors, found.vectors, None, None, sha256_json([found.key, tokenizer_hash, prefix]))


def _width(teaching: Teaching) -> int:
    """D that a blend is turned into: the student's own."""
    return teaching.student.hidden_size if teaching.config.output_map else teaching.student.dimension


def _fitted(config: BlendConfig, parts: Sequence[NDArray[np.float16]], chosen: TrainingTexts, wanted: int) -> BlendMap:
    """The blend of the teachers, its means and axes from the first texts that no other text was made of."""
    single = np.flatnonzero(chosen.groups < 0)[: config.fit_texts]
    some = [np.asarray(part[single], dtype=np.float32) for part in parts]
    total = sum(part.shape[1] for part in some)
    return fit_blend(
        some, config.weights or [1.0] * len(some), centre=config.centre, scale=config.scale,
        dimension=min(wanted, total),
    )  # fmt: skip


def _blended(blend: BlendMap, parts: Sequence[NDArray[np.float16]], chunk: int = 8192) -> NDArray[np.float16]:
    count = len(parts[0])
    made = np.zeros((count, blend.dimension), dtype=np.float16)
    for start in range(0, count, chunk):
        made[start : start + chunk] = blend([part[start : start + chunk] for part in parts])
    return made


def _least_squares(features: NDArray[np.float16], target: NDArray[np.float16]) -> FloatArray:
    """(D + 1, E): the linear map from pooled states to the target, fitted to the first texts, slightly shrunk."""
    x = np.asarray(features[:_MAP_TEXTS], dtype=np.float64)
    y = np.asarray(target[:_MAP_TEXTS], dtype=np.float64)
    middle, wanted = x.mean(0), y.mean(0)
    square = (x - middle).T @ (x - middle)
    square += np.eye(len(square)) * _RIDGE * np.trace(square) / len(square)
    weight = np.linalg.solve(square, (x - middle).T @ (y - wanted))
    return np.concatenate([weight, (wanted - middle @ weight)[None]]).astype(np.float32)


def _length_of(student: TorchEncoder, prefix: str) -> int:
    """How many tokens a prefix has in front of a word."""
    bare, prefixed = student.tokenize([_WORD, prefix + _WORD], "", 512)
    return len(prefixed) - len(bare)


def _without_start(ids: Ragged, extra: int, prefix: str, name: str) -> Ragged:
    """Rows without their tokens 1 .. extra, which must be the prefix in all of them."""
    places = np.asarray(ids.offsets[:-1])[:, None] + np.arange(1, extra + 1)
    short = ids.lengths < extra + 2
    found = np.asarray(ids.values)[np.minimum(places, len(ids.values) - 1)]
    odd = np.flatnonzero(short | (found != found[0]).any(1))
    if len(odd):
        raise SlonikError(
            f"the prefix {prefix!r} cannot be folded in: {name} joins its end with the first word of a text "
            f"(training text {odd[0]}), so their tokens cannot be told apart; leave out fold_prefix"
        )
    kept = np.ones(len(ids.values), dtype=bool)
    kept[places.ravel()] = False
    offsets = np.asarray(ids.offsets) - extra * np.arange(len(ids.offsets))
    return Ragged(np.asarray(ids.values)[kept], offsets, sha256_json([ids.key, "without", prefix]))


def _rest_of(states: Ragged, extra: int) -> Column:
    """Token states without those of tokens 1 .. extra."""

    def column(texts: NDArray[np.int64]) -> Tensor:
        rest = [np.concatenate([states[text][:1], states[text][1 + extra :]]) for text in texts]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rest])]).astype(np.int64)
        return token_rows(Ragged(np.concatenate(rest), offsets))(np.arange(len(rest)))

    return column


def _prompts(teacher: TorchEncoder, chosen: TrainingTexts) -> NDArray[np.int64] | None:
    """(N,) how many first tokens of each text are a prefix's; None where they are pooled as any others."""
    length = teacher.prompt_length(None)
    if not length:
        return None
    given = [text != plain for text, plain in zip(chosen.texts, chosen.plain, strict=True)]
    return np.where(given, length, 0).astype(np.int64)


def _vectors() -> Path:
    return cache_dir() / "training" / "vectors"
