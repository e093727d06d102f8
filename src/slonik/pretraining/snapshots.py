"""A pretrained model as a checkpoint that loads: the result of a run, and what is kept of it on the way.

Does: write weights, tokenizer, sentence settings and passport; keep the best model so far, or that of every evaluation.
Does not: decide when it is evaluated, or save what a run goes on from (`slonik.train`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from slonik.core.files import new_folder
from slonik.core.passport import Passport
from slonik.core.run import Run
from slonik.models.checkpoint_files import read_tensors
from slonik.models.loading import quiet_transformers
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.tokenizer import Vocabulary
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import write_tokenizer
from slonik.train.loop import OnBest

BEST = "best"
"""Folder in OUT.steps."""
SNAPSHOTS = "snapshots"
"""Folder in OUT.steps, later in OUT, for the models of every evaluation."""
_WRITERS = ("gpt2", "t5", "fred-t5")


class Snapshots:
    """What `snapshots` of a recipe asks for.

    Args:
        passport: of the model before this run.
        begins: the training begins anew, and snapshots of another one that was given up are not its own.
    """

    def __init__(
        self, config: PretrainConfig, vocabulary: Vocabulary, passport: Passport, frame: Run, *, begins: bool
    ) -> None:
        self._config, self._vocabulary, self._passport, self._frame = config, vocabulary, passport, frame
        self._folder = frame.folder / SNAPSHOTS
        if begins and frame.main:
            for stale in (self._folder, frame.folder / BEST):
                shutil.rmtree(stale, ignore_errors=True)

    @property
    def watching(self) -> dict[str, OnBest]:
        """Arguments of the loop that calls for them."""
        watching: dict[str, dict[str, OnBest]] = {
            "best": {"on_best": lambda *at: self._write(self._frame.folder / BEST, *at)},
            "all": {"on_evaluated": lambda model, step, found: self._write(self.place(step), model, step, found)},
        }
        return watching.get(self._config.snapshots, {})

    def place(self, step: int) -> Path:
        """Where the model after so many steps is put."""
        return self._folder / f"step-{step}"

    def give(self, folder: Path) -> None:
        """Put the models of every evaluation into the result, without a second copy where the disk can do that."""
        if self._config.snapshots == "all":
            shutil.copytree(self._folder, folder / SNAPSHOTS, copy_function=_linked)

    def _write(self, place: Path, model: nn.Module, step: int, metrics: Mapping[str, float]) -> None:
        facts = {"steps": step, **{name: round(value, 4) for name, value in metrics.items()}}
        passport = self._passport.with_step(self._frame.passport_step(facts))
        with new_folder(place, overwrite=True) as folder:
            write_checkpoint(model, self._vocabulary, self._config, passport, folder)  # type: ignore[arg-type]


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_checkpoint(
    model: PreTrainedModel, vocabulary: Vocabulary, config: PretrainConfig, passport: Passport, folder: Path
) -> None:
    """Write weights, tokenizer and passport into `folder`; encoders with their sentence settings.

    Raises:
        SlonikError: full disk.
    """
    with quiet_transformers():
        model.save_pretrained(folder)
    write_tokenizer(
        vocabulary.tokenizer,
        folder,
        names=vocabulary.names,
        max_length=config.model.max_length,
        types=int(getattr(model.config, "type_vocab_size", 0) or 0) > 1,
    )
    if config.model.family not in _WRITERS:
        SentenceConfig(max_length=config.model.max_length).write(folder, config.model.hidden)
    passport.write(folder)
    read_tensors(folder)
