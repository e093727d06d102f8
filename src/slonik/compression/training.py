"""Train a small encoder to be like the one it was made from: targets, loader, objective, loop, choice of checkpoint.

Used by `slonik compress` and `slonik distill`. Held-out agreement with the teacher chooses the checkpoint; no
benchmark is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slonik.compression.config import CorpusConfig, DistillConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.objective import Distillation
from slonik.compression.training_texts import TrainingTexts, pooled, teacher_states, tokenize_texts, training_texts
from slonik.core.hashing import derive_seed, sha256_bytes, sha256_json
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder, FloatArray
from slonik.core.run import Run
from slonik.evaluation.agreement import agreement, near_correlation, translation_hits
from slonik.models.encoder import TorchEncoder
from slonik.models.opening import open_encoder
from slonik.models.precision import Precision, precision_on
from slonik.train.loaders import Column, partner_rows, rows, text_loader, token_rows
from slonik.train.loop import run
from slonik.train.ragged import Ragged
from slonik.train.run_state import RunSummary
from slonik.train.teacher_cache import teacher_vectors
from slonik.train.train_config import TrainConfig


def further_teachers(config: DistillConfig, loaded: Mapping[str, Encoder] | None = None) -> dict[str, Encoder]:
    """The encoders whose sentence vectors are targets beside the teacher's.

    Args:
        loaded: those that need not be loaded, by name.

    Raises:
        SlonikError: there is no such encoder.
    """
    known = loaded or {}
    return {name: known[name] if name in known else open_encoder(name) for name in config.teachers}


def distilling_inputs(
    corpus: CorpusConfig, config: DistillConfig, others: Mapping[str, Encoder], frame: Run
) -> dict[str, Any]:
    """What decides a distillation beside sample, teacher and student."""
    return {
        "distill": config.model_dump(mode="json", exclude={"save_every_minutes"}),
        "max_tokens": corpus.max_tokens,
        "without_prefix": corpus.without_prefix,
        "teachers": {name: frame.input(f"teacher {name}", encoder.identity()) for name, encoder in others.items()},
    }


def train_student(
    teacher: TorchEncoder,
    student: TorchEncoder,
    token_ids: NDArray[np.int64],
    sample: CorpusSample,
    corpus: CorpusConfig,
    config: DistillConfig,
    folder: Path,
    *,
    seed: int = 0,
    kept: Sequence[int] | None = None,
    further_teachers: Mapping[str, Encoder] | None = None,
) -> RunSummary:
    """Train `student` in place; a call with the same arguments after a crash goes on where it was saved.

    Args:
        teacher: the original. student: shares its dimension (or some of it: `kept`), and its segmentation through
            `token_ids`.
        token_ids: (V,) the teacher's id of each student id.
        folder: for checkpoints and the metrics log.
        kept: hidden dimensions of the teacher that the student has, in order: its targets; None = all.
        further_teachers: name -> encoder whose sentence vectors are targets too.

    Returns:
        The summary; the student holds the weights with the best held-out agreement.
    """
    pipeline = student.pipeline
    targets = _targets(teacher, student, token_ids, sample, corpus, config, seed, kept, further_teachers or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "heads"))  # those of further teachers begin at random
        objective = Distillation(
            config.terms,
            pool=pipeline.unnormalised,
            pad_id=student.pad_id,
            dimension=student.dimension,
            teachers=targets.dimensions,
        )
    loader = text_loader(
        targets.ids,
        objective,
        max_texts=512,
        max_tokens=config.batch_tokens,
        columns=targets.columns,
        groups=targets.groups,
        seed=seed,
        key=targets.identity,
    )
    identity = {"teacher": targets.identity, "terms": config.terms.model_dump(mode="json")}
    return run(
        _trained(student),
        objective,
        loader,
        train_config(config, len(loader.plan(0)), seed),
        folder,
        evaluate=HeldOut(teacher, student, sample),
        identity=identity | {"start": student.weights_hash()},
    )


class _WithPipeline(nn.Module):
    """An encoder that is trained together with the modules behind it; called as the encoder alone."""

    def __init__(self, encoder: TorchEncoder) -> None:
        super().__init__()
        self.transformer, self.pipeline = encoder.model, encoder.pipeline

    def forward(self, **inputs: Any) -> Any:
        return self.transformer(**inputs)


def _trained(student: TorchEncoder) -> nn.Module:
    """What the loop trains: modules that learn nothing need not be there."""
    learns = any(True for _ in student.pipeline.parameters())
    return _WithPipeline(student) if learns else student.model


@dataclass(frozen=True)
class _Targets:
    """Token ids of the training texts, what the teachers say about them, and the hash of all that."""

    ids: Ragged
    groups: NDArray[np.int64]
    columns: dict[str, Column]
    dimensions: dict[str, int]
    identity: str


def _targets(
    teacher: TorchEncoder,
    student: TorchEncoder,
    token_ids: NDArray[np.int64],
    sample: CorpusSample,
    corpus: CorpusConfig,
    config: DistillConfig,
    seed: int,
    kept: Sequence[int] | None,
    further_teachers: Mapping[str, Encoder],
) -> _Targets:
    chosen = training_texts(sample, corpus, teacher.sentence.prefix(None), seed)
    cache = cache_dir() / "training"
    precision = precision_on(teacher.device, config.precision)
    ids, states, identity = token_targets(teacher, student, token_ids, chosen.texts, corpus.max_tokens, precision)
    prompts = _prompts(teacher, chosen)
    same = kept is None or student.dimension == teacher.dimension
    dimensions_of = list(range(teacher.hidden_size)) if same or kept is None else list(kept)
    cut = teacher.sentence if same else teacher.sentence.cut(kept, teacher.hidden_size)
    vectors = pooled(states, cut, dimensions_of, prompts)
    identity = sha256_json([identity, cut.content()["modules"], None if kept is None else list(kept)])
    columns: dict[str, Column] = {"teacher": rows(vectors), "teacher_partner": partner_rows(vectors, chosen.partners)}
    columns["group"] = rows(chosen.groups)
    if config.terms.hidden:
        every = token_rows(states)
        columns["teacher_hidden"] = every if kept is None else lambda texts: every(texts)[..., list(kept)]
    if prompts is not None:
        columns["prompt"] = rows(prompts)
    dimensions = {"teacher": vectors.shape[1]}
    for number, (name, encoder) in enumerate(further_teachers.items(), start=2):
        found = teacher_vectors(encoder, chosen.plain, cache / "vectors")
        columns[f"teacher{number}"] = rows(found.vectors)
        dimensions[f"teacher{number}"] = encoder.dimension
        identity = sha256_json([identity, name, found.key])
    return _Targets(ids, chosen.groups, columns, dimensions, identity)


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


def _prompts(teacher: TorchEncoder, chosen: TrainingTexts) -> NDArray[np.int64] | None:
    """(N,) how many first tokens of each text are a prefix's; None where they are pooled as any others."""
    length = teacher.prompt_length(None)
    if not length:
        return None
    given = [text != plain for text, plain in zip(chosen.texts, chosen.plain, strict=True)]
    return np.where(given, length, 0).astype(np.int64)


class HeldOut:
    """The evaluation function of the loop: agreement on held-out sentences and pairs, on the student's own vectors."""

    def __init__(self, teacher: TorchEncoder, student: TorchEncoder, sample: CorpusSample) -> None:
        self._student = student
        self._texts = sample.held_texts
        self._english = [english for english, _ in sample.held_pairs]
        self._russian = [russian for _, russian in sample.held_pairs]
        self._near = [text for pair in sample.held_near for text in pair]
        cache = cache_dir() / "training" / "vectors"
        everything = self._texts + self._english + self._russian
        self._teacher: FloatArray = teacher_vectors(teacher, everything, cache).vectors.astype(np.float32)
        if self._near:
            self._teacher_near = teacher_vectors(teacher, self._near, cache).vectors.astype(np.float32)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Metrics of `agreement`; `translations`: share of held-out pairs whose translation is found; `near`:
        correlation of the similarities of very similar texts; `choice`: the mean of `agreement` and `near`, which
        chooses the checkpoint, for agreement alone does not see what similarity terms gain."""
        del model  # the student encoder wraps the very model that is trained
        with torch.autocast(self._student.device.type, torch.bfloat16):
            vectors = self._student.encode(self._texts + self._english + self._russian)
        metrics = agreement(vectors, self._teacher)
        if self._russian:
            first, count = len(self._texts), len(self._english)
            english, russian = vectors[first : first + count], vectors[first + count :]
            metrics["translations"] = float(translation_hits(russian, english).mean())
        if self._near:
            with torch.autocast(self._student.device.type, torch.bfloat16):
                near = self._student.encode(self._near)
            metrics["near"] = near_correlation(near, self._teacher_near)
        agreed = metrics.get("agreement", metrics["similarity"])  # the latter of a student with fewer dimensions
        metrics["choice"] = (agreed + metrics.get("near", agreed)) / 2
        return metrics


def train_config(config: DistillConfig, batches: int, seed: int) -> TrainConfig:
    """Settings of the loop for a recipe's; `batches` of one pass over the texts."""
    # Minutes alone drive the schedule; only a run counted in steps can be repeated exactly.
    steps = config.max_steps or max(1, round(config.epochs * batches))
    by_time = config.max_minutes is not None and config.max_steps is None
    return TrainConfig(
        max_steps=None if by_time else steps,
        max_minutes=config.max_minutes,
        seed=seed,
        learning_rate=config.learning_rate,
        warmup_ratio=config.warmup_ratio,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.98),
        optimizer=config.optimizer,
        embeddings=config.embeddings,
        dropout=config.dropout,
        precision=config.precision,
        best_metric="choice",
        evaluate_every_steps=max(1, steps // config.evaluations),
        evaluate_every_minutes=config.max_minutes / config.evaluations if by_time and config.max_minutes else None,
        save_every_minutes=config.save_every_minutes,
    )
