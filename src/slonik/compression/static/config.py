"""Every setting of `slonik compress --static`, with its default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from slonik.compression.config import BlendConfig, CorpusConfig, named_once
from slonik.core.config import Config, Seed


class VocabularyConfig(Config):
    """The tokens that have a row in the table."""

    kind: Literal["unigram", "teacher"] = "unigram"
    """Learnt from the corpus, or the first teacher's, trimmed to the corpus."""
    tokens: int = Field(30_000, ge=100)
    """How many."""
    lowercase: bool = True
    """Forget case: the rows go into words instead of their capitals."""
    texts: int = Field(150_000, ge=100)
    """Sentences to learn them from, at most, and as many sides of pairs."""


class TableConfig(Config):
    """How a table is fitted."""

    iterations: int = Field(8, ge=0)
    """Of conjugate gradients, at most; 0 leaves the teachers' vectors of single tokens as they are."""
    ridge: float = Field(0.1, gt=0)
    """How strongly rows are held where they began: as by so many texts of the token alone."""
    sif: float = Field(1e-3, gt=0)
    """Tokens of this probability count half as much as rare ones at the beginning."""


class StaticRecipe(Config):
    """What `slonik compress --static` reads."""

    model: str
    """The original: the first teacher."""
    teachers: tuple[str, ...] = ()
    """Further teachers; all of them stand side by side, as `blend` says."""
    out: str
    pooling: str | None = None
    """How a sentence vector of a teacher is made, where its folder does not say: cls, mean, pooler, ..."""
    corpus: CorpusConfig = CorpusConfig()
    further: CorpusConfig | None = None
    """More texts, which all teachers but the original read, and single tokens with them: for an original that is much
    slower than the others. Of the files of `corpus` where it names none."""
    vocabulary: VocabularyConfig = VocabularyConfig()
    dimensions: int = Field(256, ge=8, multiple_of=8)
    """Of the vectors: the first principal axes of the teachers."""
    blend: BlendConfig = BlendConfig()
    """How the teachers stand side by side. `scale` is the length of all vectors: 1, or more where linear classifiers
    read them, whose penalty sees the length."""
    table: TableConfig = TableConfig()
    cuts: tuple[int, ...] = (128, 64)
    """Leading dimensions that are measured alone too, where fewer than all."""
    data_dir: str | None = None
    """Benchmark data; encodechka is measured where it is found."""
    evaluate: bool = True
    speed_texts: int = Field(100, ge=1)
    """Sentences that speed is measured on."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _teachers_differ(self) -> StaticRecipe:
        named_once((self.model, *self.teachers))
        return self
