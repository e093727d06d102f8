"""Every setting of `slonik compress --static`, with its default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from slonik.compression.config import BlendConfig, CorpusConfig
from slonik.core.config import Config


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
    """How a table is trained."""

    epochs: int = Field(12, ge=0)
    """Passes over the sentences; 0 leaves the table as it begins."""
    batch_texts: int = Field(512, ge=8)
    learning_rate: float = Field(0.01, gt=0)
    """Of the rows, where they begin with a mean length of 1; falls to 0 along a cosine."""
    cosine: float = Field(1.0, ge=0)
    """Weight of the distance to the teacher's vector."""
    similarity_kl: float = Field(0.1, ge=0)
    """Weight of the similarities inside a batch; 1 was too strong where rows begin at random."""
    temperature: float = Field(0.05, gt=0)
    """Of the similarity rows."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of a text's tokens that are left out in training."""


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
    vocabulary: VocabularyConfig = VocabularyConfig()
    dimensions: int = Field(256, ge=8, multiple_of=8)
    """Of the vectors: the first principal axes of the teachers."""
    blend: BlendConfig = BlendConfig()
    table: TableConfig = TableConfig()
    data_dir: str | None = None
    """Benchmark data; encodechka is measured where it is found."""
    evaluate: bool = True
    speed_texts: int = Field(100, ge=1)
    """Sentences that speed is measured on."""
    seed: int = Field(0, ge=0)
