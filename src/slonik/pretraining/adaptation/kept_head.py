"""What becomes of a head for a task when the model below it is trained on with words.

No label is read in an adaptation, so a classifier's head would stand, untaught, on an encoder that has moved: its
answers change and nobody measures how. Such a model is refused unless the user says what is wanted: to keep the head as
it is (for teaching it again), or to leave it out. A head that guesses words is what an adaptation trains; beside a kept
head for a task it has no place in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.compression.headed import check_head, in_words, left_out_of, open_headed
from slonik.compression.plan import keep_layers, whole
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.run import Announce
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import Kind, kind_of
from slonik.models.language_model import LanguageModel, save_language_model
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.text import TAGGER_FILE, TASK_FILE
from slonik.text.task_config import TaskConfig


@dataclass(frozen=True)
class KeptHead:
    """A head that the adapted model gets back as it was.

    Attributes:
        model: folder or name of the original.
        every: the first of so many layers stay; None = all.
        task: of a model that answers in words, which has no head of its own.
    """

    model: str
    every: int | None = None
    task: TaskConfig | None = None

    def save(self, language: LanguageModel, folder: Path, passport: Passport) -> None:
        """Write the adapted model with the head of the original."""
        if self.task is not None:
            save_language_model(language, folder, task=self.task, passport=passport, overwrite=True)
            return
        headed = open_headed(self.model, "distilled", device="cpu")
        body: Any = language.body
        if getattr(headed.encoder.model, "pooler", None) is None and hasattr(body, "pooler"):
            body.pooler = None  # it stands in the head
        sentence, source = headed.encoder.sentence, headed.encoder.source
        encoder = TorchEncoder(body, language.tokenizer, sentence, passport, name=language.name, source=source)
        plan = whole(headed.encoder.model, with_parent=False)
        if self.every is not None:
            plan = keep_layers(plan, plan.layers[:: self.every])
        headed.on(encoder, plan).save(folder, passport, overwrite=True)


def kept_head(config: AdaptConfig, announce: Announce) -> KeptHead | None:
    """The head to keep; None where there is none, or it is to be left out.

    Raises:
        SlonikError: a head without a word of what becomes of it, a word without a head, or no such model.
    """
    kind = kind_of(config.model)
    what = _head_in_words(kind)
    if left_out := left_out_of(kind):
        announce(left_out)
    if what is None:
        if config.task_head is not None:
            raise SlonikError(f"task_head is {config.task_head!r}, and {config.model} has no head for a task")
        return None
    if config.task_head is None:
        raise SlonikError(
            f"{config.model} is {what}: adaptation trains the model below its head and not the head, which would no "
            "longer fit. Adapt the model that it was fine-tuned from and fine-tune again, or say --task-head keep (the "
            "head stays as it is, untaught) or --task-head drop (it is left out)"
        )
    if config.task_head == "drop":
        announce(f"{config.model} is {what}: its head is left out")
        return None
    task = TaskConfig.read(kind.folder) if kind.in_words and kind.folder is not None else None
    words = "" if task is not None else ", and the head that guesses words is left out"
    announce(f"{config.model} is {what}: its head stays as it is and is not taught{words}; fine-tune it again")
    return KeptHead(config.model, config.every, task)


def _head_in_words(kind: Kind) -> str | None:
    if kind.folder is None:
        return None
    check_head(kind, "adapted")
    if (kind.folder / TAGGER_FILE).is_file():
        raise SlonikError(f"{kind.given} is a tagger without a transformer: there is nothing to adapt")
    if kind.in_words and kind.name == "head":
        raise SlonikError(
            f"{kind.given} is {kind} with a head for a task ({kind.architecture}), which adaptation would lose: adapt "
            "the model that it was fine-tuned from"
        )
    if kind.in_words:
        known = (kind.folder / TASK_FILE).is_file()
        return f"a model that answers {TaskConfig.read(kind.folder).task!r} in words" if known else None
    if kind.name not in ("task", "tagger", "head"):
        return None
    task = open_headed(kind.given, "distilled", device="cpu").task
    return None if task is None else in_words(task.config)
