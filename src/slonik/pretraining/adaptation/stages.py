"""The stages of an adaptation, each done once: the head, the body, and what is measured before and after them."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from slonik.core.records import Record
from slonik.core.run import Run
from slonik.models.language_model import (
    LanguageModel,
    Objective,
    load_language_model,
    save_language_model,
)
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.data import AdaptTexts, training_sequences
from slonik.pretraining.adaptation.kept_head import KeptHead
from slonik.pretraining.adaptation.objective import denoisers_of, objective_of, shortened
from slonik.pretraining.adaptation.report import adapt_records
from slonik.pretraining.batches import sequence_loader
from slonik.pretraining.bits_per_byte import HeldOutBits, TextBits
from slonik.pretraining.packed import can_pack
from slonik.text.tokenizers.token_facts import token_facts
from slonik.train.loop import run
from slonik.train.train_config import TrainConfig

_CODE = ["slonik.pretraining.adaptation.stages"]
"""What decides a stage."""


def objective_name(config: AdaptConfig) -> Objective:
    """The objective of a recipe that has been completed."""
    assert config.objective is not None
    return config.objective


class Stages:
    """The stages of one adaptation on texts that are ready.

    Args:
        config: its objective known. language: with its vocabulary changed. teacher: where there is one.
        frame: the run. inputs: identities of what the user gave.
        keep: the head for a task that the model gets back.
    """

    def __init__(
        self,
        config: AdaptConfig,
        language: LanguageModel,
        teacher: LanguageModel | None,
        texts: AdaptTexts,
        frame: Run,
        inputs: Mapping[str, Any],
        keep: KeptHead | None = None,
    ) -> None:
        self.keep = keep
        self.config, self.texts, self.frame, self.inputs = config, texts, frame, inputs
        self.teacher = teacher
        self.trained: dict[str, Path] = {}
        denoising = config.objective == "denoising"
        parent = language.weights_hash() if denoising else language.encoder().weights_hash()
        self.parent = frame.input("parent", parent)
        self.language = language = shortened(config, language)
        self.facts = token_facts(language.tokenizer, language.names)
        self.pack = config.max_length if can_pack(language.model) else None
        domain = training_sequences(config, texts.domain, language.tokenizer, self.facts)
        tokens = int(domain.lengths(0).sum())
        per_epoch = max(1, math.ceil(tokens / config.train.batch_tokens))
        self.max_steps = config.train.max_steps or max(1, round(config.train.epochs * per_epoch))
        held = {"domain": texts.domain_held, "general": texts.general_held}
        self.measures = {
            name: self._held_out([document.text for document in some]) for name, some in held.items() if some
        }

    def finish(self) -> tuple[list[Record], dict[str, Any]]:
        """Run the stages and write the checkpoint; records and the summary of the passport."""
        config, had_head = self.config, self.language.has_head
        if config.general is None and not had_head:
            self.frame.announce("no general corpus was given: the head is trained, and measured, on the domain alone")
        stages: dict[str, dict[str, TextBits]] = {}
        fresh = copy.copy(self.language) if config.head.compare and not had_head else None
        if fresh is not None:
            fresh.model = copy.deepcopy(fresh.model)
        if not had_head and config.head.first:
            self._stage("head", self.language, body=False)
        stages["before"] = self._measured("before", self.language)
        self._stage("body", self.language, body=True)
        stages["after"] = self._measured("after", self.language)
        if self.teacher is not None:
            stages["teacher"] = self._measured("teacher", self.teacher)
        if fresh is not None:
            self._stage("together", fresh, body=True)
            stages["head_not_first"] = self._measured("head_not_first", fresh)
        hashes = {"corpus": self.texts.key[:64], "parent": self.parent, "weights": self.language.weights_hash()}
        records = adapt_records(
            stages, self.texts.domain_held, model=self.frame.out.name, apart=config.apart, seed=config.seed,
            hashes=hashes,
        )  # fmt: skip
        summary = {f"{r.task} {r.variant} {r.metric}": r.value for r in records if r.task in ("domain", "general")}
        self._save(records, summary)
        return records, summary

    def _stage(self, name: str, language: LanguageModel, *, body: bool) -> None:
        """Train in place, or take the weights of an earlier run of the same stage."""
        inputs = self._decides(name, language)

        def work(folder: Path) -> Mapping[str, Any]:
            scratch = self.frame.scratch()
            found = self._train(name, language, body, scratch)
            save_language_model(language, folder / "model")
            shutil.copy(scratch / "metrics.jsonl", folder / "metrics.jsonl")
            if (curves := scratch / "tensorboard").is_dir():
                shutil.copytree(curves, folder / "tensorboard")
            return found

        title = "training the head, body frozen" if not body else f"adapting on the domain ({self.config.objective})"
        result = self.frame.step(name, inputs, f"{title}, {self._steps_of(body):,} steps", work, code=_CODE)
        self.trained[name] = result.folder
        if not result.fresh:
            language.model = load_language_model(result.folder / "model", objective_name(self.config)).model
        language.has_head = True

    def _steps_of(self, body: bool) -> int:
        return self.max_steps if body else self.config.head.max_steps or self.max_steps

    def _decides(self, name: str, language: LanguageModel) -> dict[str, Any]:
        """Inputs of a stage of training: what the user gave, the texts and weights that were made of it, the fields."""
        config = self.config
        asked = config.model_dump(
            mode="json",
            include={"objective", "max_length", "masking", "train", "head", "vocabulary", "measured_documents", "seed"},
        )
        for operational in ("save_every_minutes", "trackers"):
            asked["train"].pop(operational)
        asked["head"].pop("compare")
        asked["steps"] = self.max_steps
        if config.objective == "denoising":
            asked["denoisers"] = [asdict(each) for each in denoisers_of(config, self.facts)]
        if self.teacher is not None:
            asked["distilbert"] = config.distilbert.model_dump(mode="json")
        return {**self.inputs, **asked, "texts": self.texts.key, "start": language.identity(), "stage": name}

    def _train(self, name: str, language: LanguageModel, body: bool, folder: Path) -> dict[str, Any]:
        config, model = self.config, language.model
        corpus = self.texts.domain if body else self.texts.general
        sequences = training_sequences(config, corpus, language.tokenizer, self.facts)
        teacher = self.teacher if body else None
        objective = objective_of(config, self.facts, self.pack, language, teacher)
        loader = sequence_loader(
            sequences, objective, batch_tokens=config.train.batch_tokens, pack_to=self.pack, seed=config.seed
        )
        choosing = self._held_out(self.texts.choosing)

        def evaluate(current: nn.Module) -> dict[str, float]:
            del current  # the language model wraps the very model that is trained
            return {"bits_per_byte": self._bits(choosing, language).per_byte}

        trained = _only_head_trains(model) if not body else _all_but_pooler_train(model)
        try:
            summary = run(
                model, objective, loader, self._train_config(body), folder, evaluate=evaluate,
                identity={"stage": name, "start": self.parent},
            )  # fmt: skip
        finally:
            for parameter, required in trained:
                parameter.requires_grad_(required)
        best = summary.best.metrics if summary.best else {}
        return {
            "steps": summary.step, "tokens": summary.tokens, "seconds": round(summary.seconds, 1),
            "precision": summary.precision, "best": best,
        }  # fmt: skip

    def _held_out(self, texts: Sequence[str]) -> HeldOutBits:
        config = self.config
        denoisers = denoisers_of(config, self.facts) if config.objective == "denoising" else ()
        return HeldOutBits(texts, objective_name(config), max_length=config.max_length, denoisers=denoisers)

    def _bits(self, measure: HeldOutBits, language: LanguageModel) -> TextBits:
        return measure.measure(language.model, language.tokenizer, token_facts(language.tokenizer, language.names))

    def _train_config(self, body: bool) -> TrainConfig:
        train, steps = self.config.train, self._steps_of(body)
        return TrainConfig(
            max_steps=steps,
            seed=self.config.seed,
            learning_rate=train.learning_rate if body else self.config.head.learning_rate,
            warmup_ratio=train.warmup_ratio,
            weight_decay=train.weight_decay,
            betas=(0.9, 0.98),
            precision=train.precision,
            evaluate_every_steps=max(1, steps // train.evaluations),
            best_metric="bits_per_byte",
            higher_is_better=False,
            save_every_minutes=train.save_every_minutes,
            trackers=train.trackers,
            embeddings="dense",
        )

    def _measured(self, stage: str, language: LanguageModel) -> dict[str, TextBits]:
        """Bits of the held-out texts, measured once for these weights."""
        inputs: dict[str, Any] = {
            "model": language.identity(), "texts": self.texts.key, "max_length": self.config.max_length,
            "measured_documents": self.config.measured_documents, "objective": self.config.objective,
        }  # fmt: skip
        if self.config.objective == "denoising":
            inputs["denoisers"] = [asdict(each) for each in denoisers_of(self.config, self.facts)]

        def work(folder: Path) -> Mapping[str, Any]:
            del folder
            found = {name: self._bits(measure, language) for name, measure in self.measures.items()}
            return {name: bits.as_lists() for name, bits in found.items()}

        result = self.frame.step(f"measure_{stage}", inputs, f"measuring {stage}", work, code=_CODE)
        return {name: TextBits.from_lists(lists) for name, lists in result.summary.items()}

    def _save(self, records: list[Record], summary: Mapping[str, Any]) -> None:
        """Write the checkpoint, with the log of the body's training and the curves of all stages."""
        language, frame = self.language, self.frame
        passport = language.passport.with_step(frame.passport_step(summary), name=frame.out.name)
        with frame.result() as folder:
            if self.keep is not None:
                self.keep.save(language, folder, passport.with_records(records))
            else:
                save_language_model(language, folder, passport=passport.with_records(records), overwrite=True)
            shutil.copy(self.trained["body"] / "metrics.jsonl", folder / "metrics.jsonl")
            for name, made in self.trained.items():
                if (curves := made / "tensorboard").is_dir():
                    shutil.copytree(curves, folder / "tensorboard" / name)


def _only_head_trains(model: Any) -> list[tuple[nn.Parameter, bool]]:
    """Freeze the encoder (and a table that the head shares with it); returns the flags as they were."""
    return _freeze(model.base_model.parameters())


def _all_but_pooler_train(model: Any) -> list[tuple[nn.Parameter, bool]]:
    """Freeze the pooler, which no language-model loss reaches."""
    pooler = getattr(model.base_model, "pooler", None)
    return _freeze(pooler.parameters() if pooler is not None else ())


def _freeze(parameters: Iterable[nn.Parameter]) -> list[tuple[nn.Parameter, bool]]:
    found = [(parameter, parameter.requires_grad) for parameter in parameters]
    for parameter, _ in found:
        parameter.requires_grad_(False)
    return found
