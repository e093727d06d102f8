"""Settings of the repetition study: one budget of tokens, from corpora of several sizes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import FORMAT, Config, RecipeFormat
from slonik.pretraining.corpus import CorpusSettings

ObjectiveName = Literal["mlm", "t5", "fred-t5"]


class StudyShape(Config):
    """The size of the models; an encoder for mlm, an encoder-decoder with as many layers each for t5."""

    layers: int = Field(2, ge=1)
    hidden: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    ffn: int = Field(384, ge=8)
    dropout: float = Field(0.0, ge=0, lt=1)


class StudySchedule(Config):
    """The source's own schedule: a small part of the corpus first, then all of it."""

    part: int = Field(64, ge=2)
    """The first corpus is 1 / part of the whole."""
    switch: float = Field(2 / 3, gt=0, lt=1)
    """Share of the steps on the small part."""


class RepetitionConfig(Config):
    """What `slonik study repetition` reads."""

    format: RecipeFormat = FORMAT
    """Of the recipe file; a recipe of another version is refused."""
    out: str
    corpus: CorpusSettings
    vocab_size: int = Field(2_000, ge=400)
    """Of the byte-level BPE that is trained on the corpus for all runs."""
    objectives: tuple[ObjectiveName, ...] = ("mlm", "t5", "fred-t5")
    parts: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Runs on 1 / part of the corpus, repeated so often that all see the same number of tokens."""
    schedule: StudySchedule | None = StudySchedule()
    seeds: tuple[int, ...] = (0, 1)
    steps: int = Field(200, ge=10)
    batch_tokens: int = Field(2048, ge=64)
    """Tokens of text per step, the same for every objective."""
    length: int = Field(64, ge=16)
    """Tokens of a sequence (of the input, in an encoder-decoder)."""
    shape: StudyShape = StudyShape()
    learning_rate: float = Field(2e-3, gt=0)
    """Constant after the warm-up: a decaying rate would hide a jump at the switch."""
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    evaluations: int = Field(10, ge=2)
    measured_sequences: int = Field(64, ge=4)
    """Held-out sequences, and as many of the training corpus, whose loss is followed."""
    measured_kilobytes: float = Field(50, gt=0)
    """Of held-out documents, whose bits per byte are followed: none is taken once so many are reached."""
    precision: Literal["fp32", "bf16"] = "fp32"
    save_every_minutes: float = Field(2.0, ge=0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.corpus.files:
            raise ValueError("give at least one file in corpus.files")
        if 1 not in self.parts or min(self.parts) < 1:
            raise ValueError("parts must be whole numbers from 1 up, and 1 (the whole corpus) must be among them")
        if not self.objectives or not self.seeds:
            raise ValueError("give at least one objective and one seed")
        return self
