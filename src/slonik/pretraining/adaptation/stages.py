"""The stages of an adaptation, each done once: the head, the body, and what is measured before and after them."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from slonik.core.files import write_json
from slonik.core.records import Record
from slonik.core.run import Run
from slonik.models.language_model import (
    LanguageModel,
    Objective,
    load_language_model,
    save_language_model,
)
from slonik.models.lora import LowRank
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.data import AdaptTexts, NewVocabulary, training_sequences
from slonik.pretraining.adaptation.kept_head import KeptHead
from slonik.pretraining.adaptation.objective import denoisers_of, low_rank_of, objective_of, shortened
from slonik.pretraining.adaptation.report import adapt_records
from slonik.pretraining.batches import sequence_loader
from slonik.pretraining.bits_per_byte import HeldOutBits, TextBits, bits_with_interval, said_of
from slonik.pretraining.denoising import DenoiserMixture
from slonik.pretraining.denoising_batches import DenoisingPieces, denoising_loader
from slonik.pretraining.packed import can_pack, can_pack_pairs
from slonik.pretraining.shards import TokenCorpus
from slonik.text.lines import read_json
from slonik.text.tokenizers.token_facts import TokenFacts, token_facts
from slonik.train.checkpoints import load_weights, read_checkpoint
from slonik.train.loaders import BatchLoader
from slonik.train.loop import run
from slonik.train.processes import Processes
from slonik.train.protocols import TextObjective
from slonik.train.train_config import TrainConfig

LORA = "lora"
"""Folder in the checkpoint for low-rank matrices that are kept."""
_CODE = ["slonik.pretraining.adaptation.stages"]
"""What decides a stage."""


def objective_name(config: AdaptConfig) -> Objective:
    """The objective of a recipe that has been completed."""
    assert config.objective is not None
    return config.objective


@dataclass(frozen=True)
class Plan:
    """What an adaptation works on.

    Attributes:
        original: the model, with its own vocabulary. vocabulary: the one that takes its place, where one does.
        teacher: whose guesses are learned too.
        texts: in the vocabulary of the result. head_texts: in the original's, where a missing head is trained first.
        inputs: identities of what the user gave.
        keep: the head for a task that the model gets back.
    """

    original: LanguageModel
    vocabulary: NewVocabulary | None
    teacher: LanguageModel | None
    texts: AdaptTexts
    head_texts: TokenCorpus
    inputs: Mapping[str, Any]
    keep: KeptHead | None = None


class Stages:
    """The stages of one adaptation on texts that are ready; several processes train together, the first measures.

    Args:
        config: its objective known.
        frame: the run.
    """

    def __init__(self, config: AdaptConfig, plan: Plan, frame: Run, processes: Processes) -> None:
        self.config, self.plan, self.frame, self.processes = config, plan, frame, processes
        self.texts = plan.texts
        self.trained: dict[str, Path] = {}
        self.low_rank = ""
        original = plan.original
        denoising = config.objective == "denoising"
        weights = original.weights_hash() if denoising else original.encoder().weights_hash()
        self.parent = frame.input("parent", weights)
        self.max_steps = config.train.max_steps or self._steps_of_epochs()
        held = {"domain": self.texts.domain_held, "general": self.texts.general_held}
        self.measured_texts = {name: [document.text for document in some] for name, some in held.items() if some}

    def finish(self) -> tuple[list[Record], dict[str, Any]]:
        """Run the stages and write the checkpoint; records (in the first process) and the summary of the passport."""
        config, original = self.config, self.plan.original
        had_head = original.has_head
        if config.general is None and not had_head:
            self.frame.announce("no general corpus was given: the head is trained, and measured, on the domain alone")
        measured = ", ".join(f"{said_of(texts)} of the {name} texts" for name, texts in self.measured_texts.items())
        self.frame.announce(f"{said_of(self.texts.choosing)} choose the checkpoint; measured are {measured}")
        stages: dict[str, dict[str, TextBits]] = {}
        fresh = None
        if config.head.compare and not had_head:
            fresh = copy.copy(original)
            fresh.model = copy.deepcopy(original.model)
        if not had_head and config.head.first:
            self._stage("head", original, self.plan.head_texts, body=False)
        stages["before"] = self._measured("before", original)
        language = self._changed(original)
        if language is not original:
            stages["start"] = self._measured("start", language)
        self._stage("body", language, self.texts.domain, body=True)
        stages["after"] = self._measured("after", language)
        if self.plan.teacher is not None:
            stages["teacher"] = self._measured("teacher", self.plan.teacher)
        if fresh is not None:
            together = self._changed(fresh)
            self._stage("together", together, self.texts.domain, body=True)
            stages["head_not_first"] = self._measured("head_not_first", together)
        if not self.processes.main:
            return [], {}
        hashes = {"corpus": self.texts.key[:64], "parent": self.parent, "weights": language.weights_hash()}
        records = adapt_records(
            stages, self.texts.domain_held, model=self.frame.out.name, apart=config.apart, seed=config.seed,
            hashes=hashes,
        )  # fmt: skip
        summary: dict[str, Any] = {
            f"{r.task} {r.variant} {r.metric}": r.value for r in records if r.task in ("domain", "general")
        }
        if self.low_rank:
            summary["lora"] = self.low_rank
        self._save(language, records, summary)
        return records, summary

    def _changed(self, language: LanguageModel) -> LanguageModel:
        """The model that the training of the body begins with: another vocabulary, fewer layers, or just itself."""
        if self.plan.vocabulary is not None:
            language = self.plan.vocabulary.given_to(language)
        return shortened(self.config, language)

    def _steps_of_epochs(self) -> int:
        """Counted when the run begins, and kept by one that goes on with another number of processes."""
        train, plan = self.config.train, self.plan
        tokenizer, names = plan.original.tokenizer, plan.original.names
        if plan.vocabulary is not None:
            tokenizer, names = plan.vocabulary.changed.tokenizer, plan.vocabulary.names

        def count() -> int:
            asked = {"epochs": train.epochs, "tokens": [train.batch_tokens, train.accumulate], "texts": self.texts.key}
            file = self.frame.scratch("steps", {**plan.inputs, **asked}) / "steps.json"
            if (found := read_json(file, optional=True).get("steps")) is not None:
                return int(found)
            sequences = training_sequences(self.config, self.texts.domain, tokenizer, token_facts(tokenizer, names))
            per_step = train.batch_tokens * train.accumulate * self.processes.world
            steps = max(1, round(train.epochs * math.ceil(int(sequences.lengths(0).sum()) / per_step)))
            write_json(file, {"steps": steps})
            return steps

        return self.processes.from_first(count)

    def _stage(self, name: str, language: LanguageModel, corpus: TokenCorpus, *, body: bool) -> None:
        """Train in place, or take the weights of an earlier run of the same stage."""
        inputs, frame, processes = self._decides(name, language, corpus), self.frame, self.processes

        def work(folder: Path) -> Mapping[str, Any]:
            scratch = Path(processes.from_main(str(frame.scratch())))
            found = self._train(name, language, corpus, body, scratch, folder)
            save_language_model(language, folder / "model")
            shutil.copy(scratch / "metrics.jsonl", folder / "metrics.jsonl")
            if (curves := scratch / "tensorboard").is_dir():
                shutil.copytree(curves, folder / "tensorboard")
            return found

        title = "training the head, body frozen" if not body else f"adapting on the domain ({self.config.objective})"
        title += f", {self._steps_of(body):,} steps"
        done = processes.from_first(lambda: frame.is_done(name, inputs, work, code=_CODE))
        if not processes.main and not done:
            self._train(name, language, corpus, body, Path(processes.from_main("")), None)
        if not processes.main:
            processes.wait()  # until the first one has written
        result = frame.step(name, inputs, title, work, code=_CODE)
        if processes.main:
            processes.wait()
        self.trained[name] = result.folder
        self.low_rank = self.low_rank or str(result.summary.get("lora", ""))
        if not result.fresh:
            language.model = load_language_model(result.folder / "model", objective_name(self.config)).model
        language.has_head = True

    def _steps_of(self, body: bool) -> int:
        return self.max_steps if body else self.config.head.max_steps or self.max_steps

    def _decides(self, name: str, language: LanguageModel, corpus: TokenCorpus) -> dict[str, Any]:
        """Inputs of a stage of training: what the user gave, the texts and weights that were made of it, the fields."""
        config = self.config
        kept = {"objective", "max_length", "masking", "head", "vocabulary", "measured_documents", "measured_kilobytes"}
        asked = config.model_dump(mode="json", include={*kept, "lora", "seed"})
        asked["head"].pop("compare")
        body = name != "head"
        asked["train"] = self._train_config(body).identity() | {"batch_tokens": config.train.batch_tokens}
        asked["steps"] = self.max_steps
        facts = token_facts(language.tokenizer, language.names)
        if config.objective == "denoising":
            asked["denoisers"] = [asdict(each) for each in denoisers_of(config, facts)]
        if self.plan.teacher is not None:
            asked["distilbert"] = config.distilbert.model_dump(mode="json")
        made = {"texts": self.texts.key, "corpus_tokens": corpus.key, "start": language.identity(), "stage": name}
        return {**self.plan.inputs, **asked, **made}

    def _train(
        self, name: str, language: LanguageModel, corpus: TokenCorpus, body: bool, scratch: Path, folder: Path | None
    ) -> dict[str, Any]:
        """Train, in every process; `folder` is where the first one writes low-rank matrices that are to be kept."""
        config, model = self.config, language.model
        facts = token_facts(language.tokenizer, language.names)
        pack = config.max_length if can_pack(model) else None
        teacher = self.plan.teacher if body else None
        objective = objective_of(config, facts, pack, language, teacher)
        loader = self._loader(language, corpus, objective, pack)
        choosing = HeldOutBits.choosing(self.texts.choosing, objective_name(config), **self._measuring(facts))

        def evaluate(current: nn.Module) -> dict[str, float]:
            del current  # the language model wraps the very model that is trained
            return bits_with_interval(choosing.measure(language.model, language.tokenizer, facts))

        low_rank = low_rank_of(config, language) if body else None
        if low_rank is not None:
            self.frame.announce(low_rank.said())
        trained = _only_head_trains(model) if not body else _all_but_pooler_train(model)
        try:
            summary = run(
                model, objective, loader, self._train_config(body), scratch, evaluate=evaluate,
                identity={"stage": name, "start": self.parent},
            )  # fmt: skip
        finally:
            for parameter, required in trained:
                parameter.requires_grad_(required)
        if summary.weights is not None and config.train.sharding == "full" and self.processes.world > 1:
            language.model = self._whole(language, summary.weights)
        best = summary.best.metrics if summary.best else {}
        found = {
            "steps": summary.step, "tokens": summary.tokens, "seconds": round(summary.seconds, 1),
            "precision": summary.precision, "processes": self.processes.world, "best": best,
        }  # fmt: skip
        if low_rank is None:
            return found
        return found | {"lora": self._merged(low_rank, folder)}

    def _loader(
        self, language: LanguageModel, corpus: TokenCorpus, objective: TextObjective, pack: int | None
    ) -> BatchLoader:
        config, size = self.config, self.config.train.batch_tokens
        if isinstance(objective, DenoiserMixture):
            pieces = DenoisingPieces(corpus, "documents", objective, seed=config.seed)
            packs = can_pack_pairs(language.model)
            return denoising_loader(
                pieces, batch_tokens=size, input_length=config.max_length, pack=packs, seed=config.seed
            )
        facts = token_facts(language.tokenizer, language.names)
        sequences = training_sequences(config, corpus, language.tokenizer, facts)
        return sequence_loader(sequences, objective, batch_tokens=size, pack_to=pack, seed=config.seed)

    def _merged(self, low_rank: LowRank, folder: Path | None) -> str:
        """Add low-rank matrices to the weights; what the passport says of it."""
        keep = self.config.lora is not None and self.config.lora.keep
        if keep and folder is not None:
            low_rank.save(folder / LORA)
        said = low_rank.said()
        low_rank.merge()
        return f"{said}; added to the weights" + (f", and kept in {LORA}/" if keep else "")

    def _whole(self, language: LanguageModel, weights: Path) -> Any:
        """A model of one process with the weights of one that lies in parts over several."""
        model = load_language_model(self.config.model, objective_name(self.config), seed=self.config.seed).model
        remade = copy.copy(self.plan.original)
        remade.model = model
        made = self._changed(remade).model
        load_weights(made, read_checkpoint(weights.parent).tensors["model"], weights.parent)
        return made.to(self.processes.device).eval()  # type: ignore[arg-type]

    def _measuring(self, facts: TokenFacts) -> dict[str, Any]:
        denoisers = denoisers_of(self.config, facts) if self.config.objective == "denoising" else ()
        return {"max_length": self.config.max_length, "denoisers": denoisers}

    def _train_config(self, body: bool) -> TrainConfig:
        fields: dict[str, Any] = {"seed": self.config.seed}
        if not body:
            fields["learning_rate"] = self.config.head.learning_rate
        return self.config.train.loop(self._steps_of(body), **fields)

    def _measured(self, stage: str, language: LanguageModel) -> dict[str, TextBits]:
        """Bits of the held-out texts, measured once for these weights; in the first process."""
        if not self.processes.main:
            return {}
        config, facts = self.config, token_facts(language.tokenizer, language.names)
        measuring = self._measuring(facts)
        inputs: dict[str, Any] = {
            "model": language.identity(), "texts": self.texts.key, "max_length": config.max_length,
            "measured": [config.measured_documents, config.measured_kilobytes], "objective": config.objective,
        }  # fmt: skip
        if config.objective == "denoising":
            inputs["denoisers"] = [asdict(each) for each in measuring["denoisers"]]

        def work(folder: Path) -> Mapping[str, Any]:
            del folder
            language.model.to(self.processes.device)  # type: ignore[arg-type]
            found = {
                name: HeldOutBits(texts, objective_name(config), **measuring).measure(
                    language.model, language.tokenizer, facts
                )
                for name, texts in self.measured_texts.items()
            }
            return {name: bits.as_lists() for name, bits in found.items()}

        result = self.frame.step(f"measure_{stage}", inputs, f"measuring {stage}", work, code=_CODE)
        return {name: TextBits.from_lists(lists) for name, lists in result.summary.items()}

    def _save(self, language: LanguageModel, records: list[Record], summary: Mapping[str, Any]) -> None:
        """Write the checkpoint, with the log of the body's training and the curves of all stages."""
        frame = self.frame
        passport = language.passport.with_step(frame.passport_step(summary), name=frame.out.name)
        with frame.result() as folder:
            if self.plan.keep is not None:
                self.plan.keep.save(language, folder, passport.with_records(records))
            else:
                save_language_model(language, folder, passport=passport.with_records(records), overwrite=True)
            shutil.copy(self.trained["body"] / "metrics.jsonl", folder / "metrics.jsonl")
            if (kept := self.trained["body"] / LORA).is_dir():
                shutil.copytree(kept, folder / LORA)
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
