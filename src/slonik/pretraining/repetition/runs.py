"""One run of the repetition study: a fresh small model, an objective, a part of the corpus, a seed; its curves.

All objectives read the same documents with the same vocabulary. Losses are followed on held-out sequences and on as
many sequences of the training corpus, both corrupted once and for all, so that the gap between them is over-fitting
and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from slonik.core.hashing import derive_seed, sha256_json
from slonik.models.fresh import Shape, TokenIds, build
from slonik.pretraining.batches import sequence_loader
from slonik.pretraining.bits_per_byte import HeldOutBits
from slonik.pretraining.denoising import FRED_T5, PRESETS, DenoiserMixture
from slonik.pretraining.objectives import MaskedLanguageModel
from slonik.pretraining.repetition.config import ObjectiveName, RepetitionConfig
from slonik.pretraining.sequences import Specials, TokenSequences
from slonik.pretraining.shards import TokenCorpus
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.loaders import BatchLoader
from slonik.train.loop import run
from slonik.train.protocols import Batch, IntArray, Loader
from slonik.train.run_log import read_metrics
from slonik.train.train_config import TrainConfig

Goal = MaskedLanguageModel | DenoiserMixture


_ROUNDS = 2
"""Of bits per byte: the same two words of seven each time, at every evaluation."""


@dataclass(frozen=True)
class HeldOut:
    """What is never trained on.

    Attributes:
        texts: whole documents. tokens: the same as sequences are cut of them.
    """

    texts: list[str]
    tokens: TokenCorpus


@dataclass(frozen=True)
class RunPlan:
    """Which run: `part` of the corpus (1 = all of it), and `then_all` = the source's schedule."""

    objective: ObjectiveName
    part: int
    seed: int
    then_all: bool = False

    @property
    def name(self) -> str:
        """mlm-1of64-seed0, or mlm-1of64-then-all-seed0."""
        return f"{self.objective}-1of{self.part}{'-then-all' if self.then_all else ''}-seed{self.seed}"


def plans(config: RepetitionConfig) -> list[RunPlan]:
    """All runs: those of one seed together, so that an unfinished study is whole for some seeds."""
    found = []
    for seed in config.seeds:
        for objective in config.objectives:
            found += [RunPlan(objective, part, seed) for part in config.parts]
            if config.schedule is not None:
                found.append(RunPlan(objective, config.schedule.part, seed, then_all=True))
    return found


def train_run(
    plan: RunPlan,
    config: RepetitionConfig,
    corpus: TokenCorpus,
    held_out: HeldOut,
    tokenizer: Tokenizer,
    facts: TokenFacts,
    folder: Path,
) -> dict[str, Any]:
    """Train, and return the curves.

    Returns:
        `train`: (step, loss of the batch) of every step; `evaluations`: (step, held-out loss, loss on the training
        corpus) in nats per predicted token; `bits`: (step, bits per byte of the held-out texts); unique tokens and
        passes over them.
    """
    goal = _objective(plan.objective, config, facts)
    small = part_of(corpus, plan.part, plan.seed)
    sequences = _sequences(small, goal, config, facts)
    first = config.steps
    if plan.then_all and config.schedule is not None:
        first = round(config.steps * config.schedule.switch)
    parts = [(_loader(sequences, goal, config, plan.seed), first)]
    if first < config.steps:
        whole = _sequences(corpus, goal, config, facts)
        parts.append((_loader(whole, goal, config, plan.seed), config.steps - first))
    loader = SwitchingLoader(parts)
    model = build(_shape(plan.objective, config), _token_ids(facts), seed=plan.seed)
    samples = {
        "held_out": _fixed(_sequences(held_out.tokens, goal, config, facts), goal, config),
        "train_sample": _fixed(sequences, goal, config),
    }

    denoisers = goal.denoisers if isinstance(goal, DenoiserMixture) else ()
    kind = "denoising" if denoisers else "mlm"
    whole_texts = HeldOutBits(held_out.texts, kind, max_length=config.length, denoisers=denoisers, rounds=_ROUNDS)

    def evaluate(current: nn.Module) -> dict[str, float]:
        losses = {name: _loss(goal, current, batches) for name, batches in samples.items()}
        return losses | {"bits_per_byte": whole_texts.measure(current, tokenizer, facts).per_byte}

    run(
        model, goal, loader, _train_config(config, plan.seed), folder, evaluate=evaluate,
        identity={"run": plan.name, "samples": config.measured_sequences},
    )  # fmt: skip
    lines = read_metrics(folder / "metrics.jsonl")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "unique_tokens": small.token_count,
        "passes": loader.epochs[0],
        "switch": first if first < config.steps else None,
        "train": [[line["step"], line["loss"]] for line in lines if "loss" in line],
        "evaluations": [
            [line["step"], line["evaluation"]["held_out"], line["evaluation"]["train_sample"]]
            for line in lines
            if "evaluation" in line
        ],
        "bits": [[line["step"], line["evaluation"]["bits_per_byte"]] for line in lines if "evaluation" in line],
    }


def part_of(corpus: TokenCorpus, part: int, seed: int) -> TokenCorpus:
    """A random 1 / part of the documents, by tokens; the parts of one seed contain each other."""
    order = np.random.default_rng(derive_seed(seed, "part")).permutation(len(corpus))
    sizes = np.diff(corpus.document_starts)[order]
    count = max(1, int(np.searchsorted(np.cumsum(sizes), corpus.token_count / part, "left")) + 1)
    return corpus.subset(order[:count].tolist(), key=f"{corpus.key} 1/{part} seed {seed}")


def _objective(name: ObjectiveName, config: RepetitionConfig, facts: TokenFacts) -> Goal:
    if name == "mlm":
        return MaskedLanguageModel(facts)
    preset = FRED_T5 if name == "fred-t5" else PRESETS[name]
    return DenoiserMixture(facts, preset, input_length=config.length)


def _sequences(corpus: TokenCorpus, goal: Goal, config: RepetitionConfig, facts: TokenFacts) -> TokenSequences:
    """Full blocks, documents parted by the end token; as long as the objective wants them."""
    end = (facts.need("eos", "the study"),)
    if isinstance(goal, MaskedLanguageModel):
        specials = Specials((facts.need("bos", "masked-language modelling"),), end, separator=end)
        return TokenSequences(corpus, "blocks", config.length, specials, min_tokens=2)
    return TokenSequences(corpus, "blocks", goal.text_length, Specials(separator=end), min_tokens=2)


def _loader(sequences: TokenSequences, goal: Goal, config: RepetitionConfig, seed: int) -> BatchLoader:
    return sequence_loader(sequences, goal, batch_tokens=config.batch_tokens, seed=seed)


def _shape(name: ObjectiveName, config: RepetitionConfig) -> Shape:
    sizes: Mapping[str, Any] = config.shape.model_dump()
    # A target of a half-corrupted text may be as long as its input, sentinels included.
    return Shape(family="bert" if name == "mlm" else "fred-t5", max_length=2 * config.length, **sizes)


def _token_ids(facts: TokenFacts) -> TokenIds:
    roles = {role: getattr(facts, role) for role in ("bos", "eos", "cls", "sep", "mask")}
    return TokenIds(size=facts.size, pad=facts.pad, **roles)


def _fixed(sequences: TokenSequences, goal: Goal, config: RepetitionConfig) -> list[Batch]:
    """Up to `measured_sequences` sequences, drawn and corrupted once, the same in every run on this corpus."""
    rng = np.random.default_rng(derive_seed(0, "measured"))
    total = len(sequences.table(0))
    numbers = rng.permutation(total)[: config.measured_sequences]
    per_batch = max(1, config.batch_tokens // sequences.length)
    rows = [sequences.row(0, int(number)) for number in numbers]
    return [goal.corrupt(rows[start : start + per_batch], rng) for start in range(0, len(rows), per_batch)]


@torch.no_grad()
def _loss(goal: Goal, model: nn.Module, batches: list[Batch]) -> float:
    """Mean over the predicted tokens of all batches."""
    found = [goal.loss(model, batch) for batch in batches]
    return sum(float(loss.total) * loss.weight for loss in found) / sum(loss.weight for loss in found)


def _train_config(config: RepetitionConfig, seed: int) -> TrainConfig:
    return TrainConfig(
        max_steps=config.steps,
        seed=seed,
        learning_rate=config.learning_rate,
        schedule="constant",
        warmup_ratio=config.warmup_ratio,
        betas=(0.9, 0.98),
        precision=config.precision,
        device="cpu" if not torch.cuda.is_available() else "auto",
        evaluate_every_steps=max(1, config.steps // config.evaluations),
        best_metric="held_out",
        higher_is_better=False,
        log_every_steps=1,
        save_every_minutes=config.save_every_minutes,
        explosion_factor=100.0,
        embeddings="dense",
    )


class SwitchingLoader:
    """Batches of several loaders one after another: a schedule of corpora as one stream.

    FRED-T5 saw a small part of its corpus for two thirds of the steps and everything afterwards; this is that schedule.
    Each loader goes through its own epochs; the whole run is one epoch of the stream, so positions can be resumed.

    Args:
        parts: (loader, how many batches of it), in order; a loader starts anew where its epoch ends.
    """

    def __init__(self, parts: Sequence[tuple[Loader, int]]) -> None:
        self._parts = list(parts)
        self._places: list[tuple[int, int, int]] = []  # (part, epoch, index) of each batch
        self._texts: list[IntArray] = []
        for part, (loader, batches) in enumerate(self._parts):
            for (epoch, index, texts), _ in zip(_endless(loader), range(batches), strict=False):
                self._places.append((part, epoch, index))
                self._texts.append(texts)
        self.fingerprint = sha256_json([[loader.fingerprint, batches] for loader, batches in self._parts])

    def plan(self, epoch: int) -> list[IntArray]:
        """The texts of every batch; the same in every epoch of the whole."""
        del epoch
        return self._texts

    def batch(self, epoch: int, index: int, texts: IntArray) -> Batch:
        """The batch of the loader whose turn it is."""
        del epoch
        part, own_epoch, own_index = self._places[index]
        return self._parts[part][0].batch(own_epoch, own_index, texts)

    @property
    def epochs(self) -> list[int]:
        """How many passes (begun) each loader makes."""
        return [
            1 + max((epoch for part, epoch, _ in self._places if part == number), default=-1)
            for number in range(len(self._parts))
        ]


def _endless(loader: Loader) -> Iterator[tuple[int, int, IntArray]]:
    epoch = 0
    while True:
        for index, texts in enumerate(loader.plan(epoch)):
            yield epoch, index, texts
        epoch += 1
