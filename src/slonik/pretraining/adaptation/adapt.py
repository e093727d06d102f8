"""Train a checkpoint on with the texts of a domain: RuCyBERT's story for encoders, newsGPT's for decoders; and T5s.

Source: the practice of RuCyBERT (RuBERT trained on with masked words of 500,000 security news) and newsGPT. Stages,
each done once and kept: another vocabulary where one is asked for; a language-model head where the checkpoint has
none (tied to the embeddings, trained first on general texts with the body frozen: that model is the baseline
"before"); the body on the domain. Bits per byte on held-out texts of the domain and of general language, before and
after, show what was learnt and what was forgotten. Pooling, prefixes and length of a sentence encoder survive. With a
teacher the body learns its guesses too, and may be a part of it: DistilBERT's story (see `teacher`).
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from slonik.compression.result import Announce, work_folder
from slonik.core import files
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes
from slonik.core.passport import Step
from slonik.core.records import Record
from slonik.core.run import Steps
from slonik.models.language_model import (
    LanguageModel,
    Objective,
    load_language_model,
    natural_objective,
    save_language_model,
)
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.data import AdaptTexts, adapt_texts, changed_vocabulary, training_sequences
from slonik.pretraining.adaptation.objective import denoisers_of, denoising_of, objective_of, shortened, teacher_of
from slonik.pretraining.adaptation.report import adapt_records, markdown_table
from slonik.pretraining.bits_per_byte import HeldOutBits, TextBits
from slonik.pretraining.packed import can_pack
from slonik.pretraining.sequence_loader import sequence_loader
from slonik.text.tokenizers.token_facts import token_facts
from slonik.train.loop import run
from slonik.train.train_config import TrainConfig


@dataclass(frozen=True)
class Adaptation:
    """What came out.

    Attributes:
        out: the checkpoint. records: bits per byte and its changes. table: the same as Markdown.
    """

    out: Path
    records: list[Record]
    table: str


def run_adapt(config: AdaptConfig, announce: Announce = lambda line: None) -> Adaptation:
    """Adapt `config.model` and write the checkpoint to `config.out`; the same call after a crash goes on.

    Raises:
        SlonikError: no such model, an empty or too short corpus or one in another language, a tokenizer without the
            tokens that the objective needs, a length beyond the model's, `out` is taken.
    """
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SlonikError(f"{out} is there already: choose another --out or remove it")
    config = with_objective(config)
    language = load_language_model(config.model, _kind(config), seed=config.seed)
    if config.max_length > language.max_length:
        raise SlonikError(
            f"sequences of {config.max_length} tokens are longer than the {language.max_length} positions of "
            f"{config.model}: lower max_length"
        )
    facts = token_facts(language.tokenizer, language.names)
    facts.need("mask" if config.objective == "mlm" else "eos", f"the objective {config.objective}")
    if config.objective == "denoising":
        denoising_of(config, facts)
    steps = Steps(work_folder(out), announce)
    language = changed_vocabulary(config, language)
    teacher = teacher_of(config, language)
    texts = adapt_texts(config, language.tokenizer, steps.folder)
    return _Adapting(config, language, teacher, texts, steps, announce).finish(out)


def with_objective(config: AdaptConfig) -> AdaptConfig:
    """The recipe with the model's own objective where it names none.

    Raises:
        SlonikError: no such model, or fields that this objective does not go with.
    """
    if config.objective is not None:
        return config
    found = natural_objective(config.model)
    return build_config(AdaptConfig, config.model_dump() | {"objective": found}, source=f"adapting {config.model}")


def _kind(config: AdaptConfig) -> Objective:
    assert config.objective is not None
    return config.objective


class _Adapting:
    """The stages of one adaptation on texts that are ready."""

    def __init__(
        self,
        config: AdaptConfig,
        language: LanguageModel,
        teacher: LanguageModel | None,
        texts: AdaptTexts,
        steps: Steps,
        announce: Announce,
    ) -> None:
        self.config, self.texts, self.steps, self.announce = config, texts, steps, announce
        self.teacher = teacher
        denoising = config.objective == "denoising"
        self.parent = language.weights_hash() if denoising else language.encoder().weights_hash()
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

    def finish(self, out: Path) -> Adaptation:
        """Run the stages, write the checkpoint and the report."""
        config, had_head = self.config, self.language.has_head
        if config.general is None and not had_head:
            self.announce("no general corpus was given: the head is trained, and measured, on the domain alone")
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
            stages, self.texts.domain_held, model=out.name, apart=config.apart, seed=config.seed, hashes=hashes
        )
        self._save(out, records)
        return Adaptation(out, records, markdown_table(records))

    def _stage(self, name: str, language: LanguageModel, *, body: bool) -> None:
        """Train in place, or take the weights of an earlier run of the same stage."""
        config = self.config
        inputs = self._inputs(name, language)
        scratch = self.steps.scratch(name, inputs)

        def work(folder: Path) -> Mapping[str, Any]:
            found = self._train(name, language, body, scratch)
            save_language_model(language, folder / "model")
            log = scratch / "metrics.jsonl"
            files.write_text(folder / "metrics.jsonl", log.read_text(encoding="utf-8"))
            if (curves := scratch / "tensorboard").is_dir():
                shutil.copytree(curves, folder / "tensorboard")
            return found

        title = "training the head, body frozen" if not body else f"adapting on the domain ({config.objective})"
        result = self.steps.step(name, inputs, f"{title}, {self._steps_of(body):,} steps", work)
        if not result.fresh:
            language.model = load_language_model(result.folder / "model", _kind(config)).model
        language.has_head = True

    def _steps_of(self, body: bool) -> int:
        return self.max_steps if body else self.config.head.max_steps or self.max_steps

    def _inputs(self, name: str, language: LanguageModel) -> dict[str, Any]:
        config = self.config
        asked = config.model_dump(
            mode="json", include={"objective", "max_length", "masking", "train", "head", "vocabulary", "seed"}
        )
        for operational in ("save_every_minutes", "trackers"):
            asked["train"].pop(operational)
        asked["head"].pop("compare")
        asked["steps"] = self.max_steps
        if config.objective == "denoising":
            asked["denoisers"] = [asdict(each) for each in denoisers_of(config, self.facts)]
        if self.teacher is not None:
            asked |= {"teacher": self.teacher.weights_hash(), "distilbert": config.distilbert.model_dump(mode="json")}
        return asked | {"texts": self.texts.key, "start": language.weights_hash(), "stage": name}

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
        return {"steps": summary.step, "tokens": summary.tokens, "seconds": round(summary.seconds, 1), "best": best}

    def _held_out(self, texts: Sequence[str]) -> HeldOutBits:
        config = self.config
        denoisers = denoisers_of(config, self.facts) if config.objective == "denoising" else ()
        return HeldOutBits(texts, _kind(config), max_length=config.max_length, denoisers=denoisers)

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
        inputs = {"weights": language.weights_hash(), "texts": self.texts.key, "length": self.config.max_length}
        inputs |= {"documents": self.config.measured_documents, "objective": self.config.objective}
        if self.config.objective == "denoising":
            inputs["denoisers"] = [asdict(each) for each in denoisers_of(self.config, self.facts)]

        def work(folder: Path) -> Mapping[str, Any]:
            del folder
            found = {name: self._bits(measure, language) for name, measure in self.measures.items()}
            return {name: bits.as_lists() for name, bits in found.items()}

        result = self.steps.step(f"measure_{stage}", inputs, f"measuring {stage}", work)
        return {name: TextBits.from_lists(lists) for name, lists in result.summary.items()}

    def _save(self, out: Path, records: list[Record]) -> None:
        language, config = self.language, self.config
        main = [r for r in records if r.task in ("domain", "general")]
        step = Step(
            command="adapt",
            config=config.model_dump(mode="json"),
            inputs={"parent": self.parent, "corpus": sha256_bytes(self.texts.key.encode())},
            seed=config.seed,
            summary={f"{r.task} {r.variant} {r.metric}": r.value for r in main},
        )
        passport = language.passport.with_step(step, name=out.name).with_records(records)
        language.passport, language.name = passport, out.name
        save_language_model(language, out)


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
