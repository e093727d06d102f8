"""Train a small encoder to be like the one it was made from: targets, loader, objective, loop, choice of checkpoint.

Used by `slonik compress` and `slonik distill`. Held-out agreement with the teacher chooses the checkpoint; no
benchmark is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slonik.compression.config import CorpusConfig, DistillConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.freezing import below, frozen
from slonik.compression.objective import Distillation
from slonik.compression.targets import TargetOf, Targets, Teaching, make_targets, target_of
from slonik.core.hashing import derive_seed
from slonik.core.protocols import Encoder
from slonik.core.run import Run
from slonik.evaluation.agreement import agreement, near_correlation, translation_hits
from slonik.models.encoder import TorchEncoder
from slonik.models.opening import open_encoder
from slonik.models.precision import Precision, autocast, precision_on
from slonik.text.pipeline import Dense, Module, Normalize, split
from slonik.text.sentence_config import SentenceConfig
from slonik.train.loaders import text_loader
from slonik.train.loop import run
from slonik.train.run_state import RunSummary
from slonik.train.train_config import TrainConfig

IDENTITY = "torch.nn.modules.linear.Identity"


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


def train_student(teaching: Teaching, folder: Path) -> RunSummary:
    """Train the student in place; a call with the same arguments after a crash goes on where it was saved.

    With a blend or an output map its sentence modules are changed too: what it gives afterwards is the blend's vector.

    Args:
        folder: for checkpoints and the metrics log.

    Returns:
        The summary; the student holds the weights with the best held-out agreement.
    """
    student, config, seed = teaching.student, teaching.config, teaching.seed
    start = student.weights_hash()
    lower = below(student.model, config.upper_layers)
    targets = make_targets(teaching)
    student.sentence = taught_sentence(student, config, targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "heads"))  # those of further teachers begin at random
        objective = Distillation(
            config.terms,
            pool=student.pipeline.unnormalised,
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
    precision = precision_on(student.device, config.precision)
    with frozen(lower):
        return run(
            _trained(student),
            objective,
            loader,
            train_config(config, len(loader.plan(0)), seed),
            folder,
            evaluate=HeldOut(target_of(teaching, targets.blend), student, teaching.sample, precision),
            identity=identity | {"start": start, "upper_layers": config.upper_layers},
        )


def taught_sentence(student: TorchEncoder, config: DistillConfig, targets: Targets) -> SentenceConfig:
    """The student's sentence settings while it is trained and afterwards: what it learns by `config` is its own."""
    sentence = student.sentence
    if config.fold_prefix:
        sentence = replace(sentence, prefixes={}, default_prefix=None)
    if targets.output_map is not None:
        before, pooling, _ = split(sentence.modules)
        linear = Dense(targets.output_map[:-1].T.copy(), targets.output_map[-1].copy(), IDENTITY)
        norm = [] if config.blend is not None and config.blend.scale != 1.0 else [Normalize()]
        sentence = replace(sentence, modules=(*before, pooling, linear, *norm), truncate_dim=None)
    elif config.blend is not None and config.blend.scale != 1.0:
        sentence = replace(sentence, modules=_without_norm(sentence.modules))
    return sentence


def _without_norm(modules: Sequence[Module]) -> tuple[Module, ...]:
    """Modules whose last is no division by the norm: the length of the vectors is learned."""
    kept = list(modules)
    while isinstance(kept[-1], Normalize):
        kept.pop()
    return tuple(kept)


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


class HeldOut:
    """The evaluation function of the loop: agreement on held-out sentences and pairs, on the student's own vectors.

    Args:
        target: what the student's vectors should be.
    """

    def __init__(self, target: TargetOf, student: TorchEncoder, sample: CorpusSample, precision: Precision) -> None:
        self._student, self._precision = student, precision
        self._texts = sample.held_texts
        self._english = [english for english, _ in sample.held_pairs]
        self._russian = [russian for _, russian in sample.held_pairs]
        self._near = [text for pair in sample.held_near for text in pair]
        self._target = target(self._texts + self._english + self._russian)
        if self._near:
            self._target_near = target(self._near)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Metrics of `agreement`; `translations`: share of held-out pairs whose translation is found; `near`:
        correlation of the similarities of very similar texts; `choice`: the mean of `agreement` and `near`, which
        chooses the checkpoint, for agreement alone does not see what similarity terms gain."""
        del model  # the student encoder wraps the very model that is trained
        with autocast(self._student.device, self._precision):
            vectors = self._student.encode(self._texts + self._english + self._russian)
        metrics = agreement(vectors, self._target)
        if self._russian:
            first, count = len(self._texts), len(self._english)
            english, russian = vectors[first : first + count], vectors[first + count :]
            metrics["translations"] = float(translation_hits(russian, english).mean())
        if self._near:
            with autocast(self._student.device, self._precision):
                near = self._student.encode(self._near)
            metrics["near"] = near_correlation(near, self._target_near)
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
        averaging=config.averaging,
        dropout=config.dropout,
        precision=config.precision,
        best_metric="choice",
        evaluate_every_steps=max(1, steps // config.evaluations),
        evaluate_every_minutes=config.max_minutes / config.evaluations if by_time and config.max_minutes else None,
        save_every_minutes=config.save_every_minutes,
    )
