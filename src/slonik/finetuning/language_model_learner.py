"""T5, FRED-T5 and decoders as learners: tasks as text to text, answered by the likelihood of the allowed answers, or
in free words.

Trained with Adafactor at a constant 1e-3 (T5's recipe) or AdamW (decoders), or asked as they are (zero and few shot).
The prompts are a data file; `<LM>` or another denoiser's prefix may stand before every prompt.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from torch import nn

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.progress import warn_once
from slonik.finetuning.config import Distillation, FinetuneRecipe, Tuning
from slonik.finetuning.items import Asked, Item
from slonik.finetuning.learner import TaskAnswerer, TrainingSplit, stopping_metrics
from slonik.finetuning.objective import AnswerWords
from slonik.finetuning.prompts import prompts_hash
from slonik.finetuning.train import adapted, train_config
from slonik.models.generation import NOT_SCORED, TextGenerator, load_generator
from slonik.models.language_model import LanguageModel, load_language_model, save_language_model
from slonik.models.loading import chosen_device
from slonik.text.answers import softmax, temperature_of
from slonik.text.task_config import TaskConfig
from slonik.text.tokenizing import encode
from slonik.train.loaders import PadFields, example_loader
from slonik.train.loop import run
from slonik.train.run_state import RunSummary

KIND = "text2text"
MODEL = "model"
LONGEST_LABEL = 256  # tokens of an allowed answer that are learned and scored
ANSWER_TOKENS = 64
_NO_LIMIT = 10**9
USUAL: dict[str, dict[str, Any]] = {
    "encoder-decoder": {
        "optimizer": "adafactor", "learning_rate": 1e-3, "schedule": "constant", "layer_decay": 1.0,
        "warmup_ratio": 0.0, "weight_decay": 0.0, "freeze": "nothing",
    },
    "decoder": {"learning_rate": 5e-5, "layer_decay": 1.0, "freeze": "nothing"},
}  # fmt: skip
"""Settings of the two families, under what the user says. The length is that of the context."""
OF_ENCODERS = ("pairs", "shape", "head", "masked_pieces", "class_weights", "label_smoothing", "encoder_dropout")
TUNING = Tuning().model_dump()
MOST_TRAINED = 2048
"""Tokens of a training example where the user names no length, whatever the context."""
FEWEST_CONTEXT = 512
"""Tokens that a model of relative positions reads at least, whatever its config says of its training."""


@dataclass(frozen=True)
class LanguageModelAnswerer:
    """A model that answers in words behind `TaskAnswerer`."""

    model: TextGenerator
    config: TaskConfig

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def max_length(self) -> int:
        return self.model.max_length

    def answer(self, items: Sequence[Item], *, batch_texts: int = 32) -> list[Any]:
        """Probabilities over each item's answers from their likelihoods, or free words; cut prompts are counted."""
        asked = self.whole([_asked(item) for item in items])
        if asked and asked[0].free:
            return self.model.answers([one.prompt for one in asked], max_tokens=self.tokens, batch_texts=batch_texts)
        return self.chances(asked, batch_texts)

    @property
    def tokens(self) -> int:
        """The most of an answer in free words."""
        return int(self.config.details.get("answer_tokens") or ANSWER_TOKENS)

    def room(self, asked: Asked) -> int:
        """Tokens that there are for its prompt: a decoder needs some for the answer, half of them where it is free."""
        whole = self.model.max_length
        if self.model.two_stacks:
            return whole
        if asked.free:
            return max(whole // 2, whole - self.tokens)
        return max(1, whole - max((len(self.model.answer_ids(one)) for one in asked.answers), default=0))

    def fits(self, asked: Asked) -> bool:
        """Whether the prompt is read whole."""
        return len(self.model.prompt_ids(asked.prompt, _NO_LIMIT)) <= self.room(asked)

    def whole(self, asked: Sequence[Asked]) -> list[Asked]:
        """The same with prompts that fit; warnings count examples that are left out, and prompts that are cut.

        Examples before a question are left out from the first on, until the rest fits.
        An encoder-decoder that answers in free words (summaries) keeps the beginning of a text; all others keep the
        end, where the question is.
        """
        made = [self._with_fewer_shots(one) for one in asked]
        left_out = sum(len(one.shots) - len(other.shots) for one, other in zip(asked, made, strict=True))
        if left_out:
            fewer = sum(len(one.shots) > len(other.shots) for one, other in zip(asked, made, strict=True))
            warn_once(
                f"{self.config.task}: {fewer:,} of {len(asked):,} prompts have no room for all of their examples in "
                f"{self.model.max_length} tokens: {left_out:,} examples were left out (--max-length; {self.model.name} "
                f"takes {self.model.max_tokens})"
            )
        long = [place for place, one in enumerate(made) if not self.fits(one)]
        first = bool(asked) and asked[0].free and self.model.two_stacks
        for place in long if first else []:
            made[place] = replace(made[place], prompt=self._beginning(made[place]))
        if long:
            kept = "beginnings are" if first else "ends are"
            warn_once(
                f"{self.config.task}: {len(long):,} of {len(asked):,} prompts are longer than {self.model.max_length} "
                f"tokens with their answers: their {kept} kept, the rest is cut (--max-length; {self.model.name} takes "
                f"{self.model.max_tokens})"
            )
        return made

    def _with_fewer_shots(self, asked: Asked) -> Asked:
        while asked.shots and not self.fits(asked):
            asked = asked.without_first_shot()
        return asked

    def _beginning(self, asked: Asked) -> str:
        """As much of a prompt's beginning as there is room for."""
        offsets = encode(self.tokenizer, asked.prompt).offsets
        ends = [end for _, end in offsets]
        room = self.room(asked)
        low, high = 0, len(ends)
        while low < high:  # tokens of a cut text may be others: what fits is looked for
            middle = (low + high + 1) // 2
            fits = len(self.model.prompt_ids(asked.prompt[: ends[middle - 1]], _NO_LIMIT)) <= room
            low, high = (middle, high) if fits else (low, middle - 1)
        return asked.prompt[: ends[low - 1]] if low else ""

    def chances(self, asked: Sequence[Asked], batch_texts: int) -> list[Any]:
        """Likelihoods of each one's answers, normalised. Without training they are compared per token."""
        trained = bool(self.config.details.get("trained"))
        prompts, answers = [one.prompt for one in asked], [one.answers for one in asked]
        ends = trained or self.model.two_stacks
        found = self.model.likelihoods(prompts, answers, per_token=not trained, ends=ends, batch_texts=batch_texts)
        heat = temperature_of(self.config)
        return [softmax(one / heat) for one in found]

    def save(self, folder: Path, passport: Passport) -> None:
        """Write the checkpoint with `task.json`."""
        assert self.model.language is not None
        save_language_model(self.model.language, folder, task=self.config, passport=passport)


class LanguageModelLearner:
    """A text-to-text model or decoder.

    Args:
        recipe: its denoiser, prompts and shots become part of the task.
        base: the model to start from; it is copied, never changed. None: the recipe's.
    """

    in_words = True
    code = __name__

    def __init__(self, recipe: FinetuneRecipe, base: LanguageModel | None = None) -> None:
        self._recipe = recipe
        self._place = chosen_device(None) if base is None else base.model.device
        self._base = base or load_language_model(recipe.model)
        self.name, self.passport, self.tokenizer = recipe.model, self._base.passport, self._base.tokenizer
        self.identity, self.max_length = self._base.identity(), TextGenerator.of(self._base).max_tokens
        self.inputs: Mapping[str, str] = {"parent": self._base.weights_hash(), "prompts": prompts_hash()}

    def settings(self, wanted: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
        """The family's settings under the user's; what a task wants of an encoder means nothing here.

        Raises:
            SlonikError: a setting that only encoders have.
        """
        idle = sorted(name for name in OF_ENCODERS if name in explicit and explicit[name] != TUNING[name])
        if idle:
            raise SlonikError(
                f"tuning.{idle[0]} is of encoders with a head: {self.name} answers in words, leave it out"
            )
        length = max(self.max_length, FEWEST_CONTEXT) if self._two_stacks else self.max_length
        length = min(length, MOST_TRAINED) if self._recipe.train else length
        return {**USUAL["encoder-decoder" if self._two_stacks else "decoder"], "max_length": length, **explicit}

    @property
    def _two_stacks(self) -> bool:
        return bool(self._base.model.config.is_encoder_decoder)

    def too_long(self, config: TaskConfig) -> None:
        """Prompts that do not fit are counted where they are read: `LanguageModelAnswerer.whole`."""

    def configured(self, config: TaskConfig, tuning: Tuning) -> TaskConfig:
        """The task in words: how it is asked stands in its details."""
        recipe = self._recipe
        details = {
            "prompts": recipe.prompts, "prompts_hash": prompts_hash(), "denoiser": recipe.denoiser,
            "shots": recipe.shots, "trained": recipe.train,
        }  # fmt: skip
        changes: dict[str, Any] = {"kind": KIND, "details": {**config.details, **details}, "head": {}}
        return config.model_copy(update={**changes, "max_length": tuning.max_length or config.max_length})

    def untrained(self, config: TaskConfig) -> LanguageModelAnswerer:
        return LanguageModelAnswerer(self._writer(self._base, config), config)

    def train(
        self, config: TaskConfig, split: TrainingSplit, tuning: Tuning, teaching: Distillation, folder: Path, seed: int
    ) -> tuple[LanguageModelAnswerer, RunSummary]:
        """See `Learner.train`. Items whose right answer is not among their answers are left out."""
        answerer = LanguageModelAnswerer(self._writer(self._copy(), config), config)
        model = answerer.model
        longest = max(LONGEST_LABEL, int(config.details.get("answer_tokens") or 0))
        known = answerer.whole([one for one in map(_asked, split.fit) if one.right is not None])
        fields = [model.fields(one.prompt, one.answers[one.right or 0], longest_answer=longest) for one in known]
        pad = PadFields({"input_ids": model.pad_id, "labels": NOT_SCORED})
        loader = example_loader(fields, pad, max_texts=tuning.batch_texts, max_tokens=tuning.batch_tokens, seed=seed)
        with adapted(model.model, tuning):
            summary = run(
                model.model,
                AnswerWords(shifted=not model.two_stacks),
                loader,
                train_config(tuning, len(loader.plan(0)), seed),
                folder,
                evaluate=_stopping_evaluation(answerer, split),
                identity={"task": config.model_dump(mode="json"), "base": self.inputs["parent"]},
            )
        return answerer, summary

    def keep(self, model: TaskAnswerer, folder: Path, tuning: Tuning) -> None:
        """Write the whole model."""
        model.save(folder / MODEL, self.passport)

    def kept(self, folder: Path, config: TaskConfig) -> LanguageModelAnswerer:
        return LanguageModelAnswerer(load_generator(folder / MODEL), config)

    def _copy(self) -> LanguageModel:
        return replace(self._base, model=copy.deepcopy(self._base.model))

    def _writer(self, language: LanguageModel, config: TaskConfig) -> TextGenerator:
        language.model.to(self._place)  # type: ignore[arg-type]
        return TextGenerator.of(language, prefix=self._recipe.denoiser, max_length=config.max_length)


def _stopping_evaluation(
    answerer: LanguageModelAnswerer, split: TrainingSplit
) -> Callable[[nn.Module], dict[str, float]]:
    """The loop's evaluation: `stopping_metrics` of the stopping items; of free words the loss per token alone."""
    asked = answerer.whole([_asked(item) for item in split.stop])
    free = any(one.free for one in asked)

    def evaluate(_: nn.Module) -> dict[str, float]:
        if free:
            prompts, answers = [one.prompt for one in asked], [one.answers for one in asked]
            found = answerer.model.likelihoods(prompts, answers, per_token=True)
            loss = -float(np.mean([scores[0] for scores in found]))
            return {"score": -loss, "loss": loss, "choice": -loss}
        chances = answerer.chances(asked, 32)
        losses = [
            -float(np.log(values[one.right] + 1e-9))
            for values, one in zip(chances, asked, strict=True)
            if one.right is not None
        ]
        return stopping_metrics(split.score(chances), float(np.mean(losses)) if losses else 0.0, len(asked), split.by)

    return evaluate


def _asked(item: Item) -> Asked:
    assert item.asked is not None
    return item.asked
